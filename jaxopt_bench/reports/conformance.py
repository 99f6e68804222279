"""The measured behaviour of an optimizer, in words and tables for a terminal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from rich import box
from rich.table import Table
from rich.text import Text

from jaxopt_bench.formatting import format_bytes, format_percent, join_words
from jaxopt_bench.optimizers import Conformance, ParameterGroup
from jaxopt_bench.optimizers.conformance import KINDS, ArrayFacts, DecayFacts, Kind, MeasuredDecayForm
from jaxopt_bench.optimizers.text import describe_parameter_group, describe_rules

ARRAYS_NOTE = (
    "updates: the kind of the first updates. update / rate: the root mean square (RMS) of the first update, divided by "
    "the learning rate. update / parameters: the same RMS, divided by that of the parameters (kernels: He's "
    "initialisation; other arrays: 0.1). –: not known, such as the kind for a single number."
)
"""The meaning of the columns of `arrays_table`."""

_MOST_NAMES = 4
"""The maximum number of array names in a sentence; more are counted."""
_FORMS: Mapping[MeasuredDecayForm, str] = {
    "absent": "none, at any value of weight_decay",
    "coupled": "coupled (it acts as a part of the gradient)",
    "decoupled": "decoupled (it acts on the parameters beside the rescaled gradient)",
    "momentum": "enters the momentum beside the rescaled gradient",
}
_SHORT: Mapping[str, str] = {
    "gradient": "as SGD's",
    "sign": "as Lion's",
    "first_sign": "as Adam's",
    "orthogonal": "as Muon's",
    "other": "others",
    "single": "–",
    "none": "NOT TRAINED",
    "not_finite": "NOT FINITE",
}
_SCALING = {
    "invariant": "the same updates",
    "linear": "updates multiplied by the same factor",
    "neither": "other updates, but not in proportion",
    "not_finite": "updates that are not finite",
}


def facts_table(facts: Conformance) -> Table:
    """Returns the measured facts, one row per fact."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, words in describe_facts(facts).items():
        table.add_row(name, Text(words))
    return table


def describe_facts(facts: Conformance) -> dict[str, str]:
    """Returns the measured facts in words, by topic."""
    words = {
        "inner rules": describe_rules(facts.rules) or "a single rule for all parameters",
        "first updates": _shares(facts.kinds),
        "learning rate": _learning_rate(facts),
        "schedule": _schedule(facts),
        "weight decay": _decay(facts.decay),
        "own decay": f"even at weight_decay 0: {_decay(facts.own_decay)}",
        "gradient scale": _scale(facts),
        "zero gradients": "finite updates" if facts.finite_at_zero else "UPDATES THAT ARE NOT FINITE",
        "state": f"{facts.bytes_per_number:.2f} bytes for each number among the parameters, "
        f"{format_bytes(facts.state_bytes)} in total",
        "determinism": _determinism(facts),
        "compilation": _compilation(facts),
    }
    if facts.called is not None:
        words["how it is called"] = facts.called
    if facts.own_decay.form == "absent":
        del words["own decay"]
    if facts.unused:
        steps = "in the steps that were made"
        words["no effect"] = f"{join_words(facts.unused)}: other values change no update {steps}"
    return words


def describe_missed_arrays(facts: Conformance) -> str | None:
    """Returns the warning about convolutions that a rule for matrices leaves out; None if there are none."""
    if not facts.missed:
        return None
    share = sum(math.prod(array.shape) for array in facts.missed) / facts.numbers
    kernels = "1 convolution kernel" if len(facts.missed) == 1 else f"{len(facts.missed)} convolution kernels"
    kinds = join_words(sorted({KINDS[array.kind] for array in facts.missed}))
    return (
        f"Warning: {kernels}, with {format_percent(share)} of the network's numbers, are not updated as matrices. "
        f"Their first updates are {kinds}. Muon and similar rules must be told which dimensions of a kernel make it a "
        "matrix."
    )


def arrays_table(title: str, arrays: Sequence[ArrayFacts]) -> Table:
    """Returns a row for each kind of array: how it is updated, and the size of its updates.

    Arrays are in one row if the last part of their names, their number of dimensions, their rule and the kind of their
    updates are the same.
    """
    table = Table(title=title, box=box.SIMPLE, title_justify="left", pad_edge=False, collapse_padding=True)
    ruled = any(array.rule for array in arrays)
    table.add_column("parameters", min_width=14, overflow="fold")
    for name in (*(["rule"] if ruled else []), "updates"):
        table.add_column(name, no_wrap=name == "updates", overflow="fold")
    for name in ("arrays", "numbers", "update /\nrate", "update /\nparameters"):
        table.add_column(name, justify="right", no_wrap=True)
    for (label, rule, kind), group in _groups(arrays).items():
        numbers = sum(math.prod(array.shape) for array in group)
        sizes = [_range([getattr(array, which) for array in group]) for which in ("first", "relative")]
        name = group[0].name if len(group) == 1 else label
        shown = f"{name} {'×'.join(map(str, group[0].shape))}".rstrip() if len(group) == 1 else name
        cells = [shown, *([rule or ""] if ruled else []), _SHORT[kind], str(len(group)), f"{numbers:,}", *sizes]
        table.add_row(*map(Text, cells))
    return table


def _groups(arrays: Sequence[ArrayFacts]) -> dict[tuple[str, str | None, str], list[ArrayFacts]]:
    groups: dict[tuple[str, str | None, str], list[ArrayFacts]] = {}
    for array in arrays:
        label = f"{array.name.rpartition('/')[2]}, {len(array.shape)}-D"
        groups.setdefault((label, array.rule, array.kind), []).append(array)
    return groups


def _range(values: Iterable[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    low, high = f"{min(known):.2g}", f"{max(known):.2g}"
    return low if low == high else f"{low}–{high}"


def _shares(shares: Sequence[ParameterGroup]) -> str:
    ordered = sorted(shares, key=lambda share: -share.share)
    return "\n".join(f"{describe_parameter_group(share)}: {KINDS[cast(Kind, share.name)]}" for share in ordered)


def _learning_rate(facts: Conformance) -> str:
    rate = facts.learning_rate
    several = [array for array in facts.arrays if math.prod(array.shape) > 1 and array.kind != "none"]
    if not several:
        return "not measured, as no array is trained"
    if rate.argument is None:
        lead = "no argument is the learning rate; the field learning_rate multiplies its updates"
    else:
        lead = f"the argument {rate.argument} ({rate.value:g})"
    doubles = rate.doubles.get("learning_rate", 0)
    said = [f"{lead}: doubling it doubles the first update of {doubles} of {len(several)} arrays"]
    others = [f"{name} ({count} of {len(several)})" for name, count in rate.doubles.items() if name != "learning_rate"]
    if others:
        said.append(f"so does doubling {join_words(others)}")
    return "; ".join(said)


def _schedule(facts: Conformance) -> str:
    first, later = facts.learning_rate.first_step, facts.learning_rate.later_step
    if not later:
        return "not measured, as no array is trained"
    obeyed = [name for name in later if _near(first.get(name), 0.5) and _near(later[name], 0.5)]
    ignored = [name for name in later if _near(first.get(name), 1.0) and _near(later[name], 1.0)]
    if len(obeyed) == len(later):
        return "obeyed: a multiplier of 1/2 halves the updates, in the first step and later"
    if len(ignored) == len(later):
        return "IGNORED: a multiplier of 1/2 changes no update"
    if all(_near(first.get(name), 0.5) and _near(ratio, 1.0) for name, ratio in later.items()):
        return (
            "IGNORED after the first step: a multiplier of 1/2 halves the updates only if it is that of the first step"
        )
    said = []
    if obeyed:
        said.append(f"obeyed by {_names(obeyed)}")
    if ignored:
        said.append(f"IGNORED by {_names(ignored)}")
    partly = [name for name in later if name not in obeyed and name not in ignored]
    if partly:
        start = _range([first.get(name) for name in partly])
        change = _range([later[name] for name in partly])
        arrays = "all arrays" if len(partly) == len(later) else _names(partly)
        said.append(
            f"obeyed in part by {arrays}: a multiplier of 1/2 multiplies updates by {start} in the first step, and by "
            f"{change} where it changes from 1 to 1/2 later"
        )
    return "; ".join(said)


def _near(value: float | None, expected: float) -> bool:
    return value is not None and abs(value - expected) < 0.02 * expected


def _decay(decay: DecayFacts) -> str:
    if decay.form == "absent":
        return _FORMS["absent"]
    at = f"at weight_decay {decay.weight_decay:g}"
    at += " (as in the settings)" if decay.weight_decay == decay.default else f" ({decay.default:g} in the settings)"
    said = [_FORMS[decay.form]]
    if decay.both:
        said[0] = "coupled; for this optimizer that is the same as decoupled"
    if decay.form in ("decoupled", "momentum"):
        known = {"learning rate": decay.times_learning_rate, "schedule": decay.times_schedule}
        words = {True: "multiplied by the {}", False: "NOT multiplied by the {}"}
        said += [words[value].format(name) for name, value in known.items() if value is not None]
    if decay.shrinks is not None:
        said.append(f"the first step shrinks parameters by {100 * decay.shrinks:.3g}%")
    said.append(f"it leaves out {_names(decay.left_out)}" if decay.left_out else "it leaves out nothing")
    if decay.weight_decay:
        said.append(f"measured {at}")
    return "; ".join(said)


def _scale(facts: Conformance) -> str:
    """Returns the effect of scaled gradients; steps and arrays are listed separately only if they differ."""
    if not facts.scale:
        return "not measured, as no array is trained"
    found: dict[tuple[str, str], list[str]] = {}
    for name, scale in facts.scale.items():
        found.setdefault((scale.first, scale.last), []).append(name)
    said = []
    for (first, last), names in found.items():
        what = _SCALING[first] if first == last else f"{_SCALING[first]} at first, {_SCALING[last]} later"
        said.append(what if len(found) == 1 else f"{what} ({_names(names)})")
    return f"gradients × 1000 and × 1/1000 give {'; '.join(said)}"


def _determinism(facts: Conformance) -> str:
    same = "the same inputs give the same bits" if facts.deterministic else "THE SAME INPUTS GIVE OTHER BITS"
    draws = "it draws no random numbers"
    if facts.draws:
        draws = "it draws random numbers from the run's key"
    elif facts.own_draws:
        draws = (
            "it draws RANDOM NUMBERS THAT ARE THE SAME FOR ALL SEEDS (an argument key=None would give it the run's key)"
        )
    return f"{same}; {draws}"


def _compilation(facts: Conformance) -> str:
    tried = f"({facts.settings} settings, {facts.programs} {'program' if facts.programs == 1 else 'programs'})"
    if not facts.static:
        return f"one program serves all settings {tried}"
    return f"each value of {join_words(facts.static)} is compiled by itself {tried}"


def _names(names: Sequence[str]) -> str:
    """Returns the names of arrays; only the first ones if there are many."""
    if len(names) <= _MOST_NAMES:
        return join_words(names)
    return f"{', '.join(itertools.islice(names, _MOST_NAMES))} and {len(names) - _MOST_NAMES} more"
