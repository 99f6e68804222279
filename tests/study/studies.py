"""A small study, and Hypothesis strategies that draw other studies."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from jaxopt_bench.data import Augmentation
from jaxopt_bench.experiment import Workload
from jaxopt_bench.measures import DERIVED
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import OPTIMIZERS, SCHEDULES, SGD, Adam, Axis, Choice, MultiStep, Space
from jaxopt_bench.problems import Classification
from jaxopt_bench.runs import SPLITS
from jaxopt_bench.study import Association, Claim, Comparison, Contender, Study, Target

WORKLOAD = Workload(name="cnn", problem=Classification(dataset="digits", model=CNN()), epochs=10)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"], include_characters="\n\t"))
RATE = Space({"optimizer.learning_rate": Axis(1e-3, 1.0, "log")})


def small_study(**fields: Any) -> Study:
    """Returns a study of a tuned and an untuned contender on one workload."""
    contenders = (
        Contender(name="sgd", optimizer=SGD(), space=RATE),
        Contender(name="adam", optimizer=Adam(), schedule=MultiStep(boundaries=(1, 2.5)), space=Space()),
    )
    return Study(
        **{"name": "two", "workloads": (WORKLOAD,), "contenders": contenders, "trials": 2, "seeds": 2} | fields
    )


def claim(*contenders: str) -> Claim:
    """Returns a claim about one or two contenders."""
    if len(contenders) == 2:
        parts: Any = {"comparisons": (Comparison(measure="test_loss", lower=contenders[0], higher=contenders[1]),)}
    else:
        part = Association(measure="validation_loss", contender=contenders[0], field="optimizer.learning_rate")
        parts = {"associations": (part,)}
    return Claim(text=f"so it is with {' and '.join(contenders)}", source="someone", **parts)


workloads = st.builds(
    Workload,
    name=st.sampled_from(["one", "two", "three"]),
    problem=st.builds(
        Classification,
        dataset=st.sampled_from(["digits", "cifar10"]),
        model=st.builds(CNN, channels=st.lists(st.integers(1, 64), min_size=1, max_size=3).map(tuple)),
        augmentation=st.builds(Augmentation, flip=st.booleans(), rotation=st.floats(0, 30)),
        validation_fraction=st.floats(0.05, 0.5),
    ),
    epochs=st.integers(1, 5),
)
more = st.fixed_dictionaries(
    {},
    optional={
        "optimizer.accumulate": st.just(Choice((1, 2, 4))),
        "optimizer.decay_mask": st.just(Choice(("all", "kernels"))),
        "optimizer.clip_norm": st.floats(0.1, 1).map(lambda low: Axis(low, 2.0, "linear", "ours")),
    },
)
# The weight decay of these optimizers accepts no mask.
UNMASKED = ("dadapt_adamw", "mechanic_adam", "momo", "momo_adam", "novograd", "prodigy")


@st.composite
def contenders(draw: st.DrawFn) -> Contender:
    """Draws an optimizer of the table, a schedule, and some of the fields that can be searched."""
    name = draw(st.sampled_from(sorted(OPTIMIZERS)))
    own = {f"optimizer.{field}": axis for field, axis in OPTIMIZERS[name].search_space().items()}
    kept = draw(st.sets(st.sampled_from(sorted(own)))) if own else set()
    space = {field: axis for field, axis in own.items() if field in kept} | draw(more)
    if name in UNMASKED:
        space.pop("optimizer.decay_mask", None)
    schedule = SCHEDULES[draw(st.sampled_from(sorted(SCHEDULES)))]
    if isinstance(schedule, MultiStep):
        space["schedule.boundaries"] = Choice(((1.0, 2.0), (3.0,)))
    whole = draw(st.none() | st.just(Space(space)))
    return Contender(name=name, optimizer=OPTIMIZERS[name], schedule=schedule, space=whole)


def _different(items: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, min_size=1, max_size=3, unique_by=lambda item: item.name).map(tuple)


@st.composite
def studies(draw: st.DrawFn) -> Study:
    """Draws a study."""
    compared, on = draw(_different(contenders())), draw(_different(workloads))
    names, places = [c.name for c in compared], [w.name for w in on]
    measures = st.sampled_from([*(f"{split}_{name}" for split in SPLITS for name in ("accuracy", "loss")), *DERIVED])
    comparisons = st.builds(Comparison, measure=measures, lower=st.sampled_from(names), higher=st.sampled_from(names))
    associations = st.builds(Association, measure=measures, contender=st.sampled_from(names), field=TEXTS)
    claims = st.builds(
        Claim,
        text=TEXTS,
        source=TEXTS,
        comparisons=st.lists(comparisons, max_size=2).map(tuple),
        associations=st.lists(associations, max_size=2).map(tuple),
    )
    targets = st.builds(
        Target,
        workload=st.sampled_from(places),
        measure=st.sampled_from(["validation_accuracy", "train_clean_loss"]),
        value=st.floats(0, 1),
    )
    budgets = st.integers(1, 20).map(lambda n: {"trials": n}) | st.integers(50, 99).map(lambda n: {"total_epochs": n})
    refit = draw(st.booleans())
    return Study(
        name="drawn",
        question=draw(TEXTS),
        workloads=on,
        contenders=compared,
        **draw(budgets),
        trial_seeds=draw(st.integers(1, 4)),
        seeds=draw(st.integers(1, 9)),
        repetitions=draw(st.integers(1, 3)),
        search=draw(st.sampled_from(["sobol", "random", "grid", "halving"])),
        select=draw(st.sampled_from(["validation_loss", "validation_accuracy", "train_clean_loss"])),
        at="final" if refit else draw(st.sampled_from(["final", "best"])),
        refit=refit,
        seed=draw(st.integers(0, 2**31 - 1)),
        targets=draw(st.lists(targets, max_size=2).map(tuple)),
        claims=draw(st.lists(claims, max_size=2).map(tuple)),
    )
