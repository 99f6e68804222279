"""The rules of a study in words."""

from __future__ import annotations

from jaxopt_bench.results.study import Study

_WHEN = {"final": "last epoch", "best": "epoch with the lowest validation loss"}


def protocol(study: Study) -> list[str]:
    """Returns the rules of a study, in sentences."""
    tuned = [c for c in study.contenders if c.searched]
    said = []
    if tuned:
        draws = {
            "sobol": "a scrambled Sobol sequence over its search space",
            "random": "independent draws from its search space",
            "grid": "a grid over its search space",
        }[study.search]
        budget = f"{study.trials} trials" if study.trials else f"{study.total_epochs} epochs of trials"
        each = f", {study.trial_seeds} seeds each" if study.trial_seeds > 1 else ""
        said.append(f"Tune: on each workload every tuned optimizer has {budget}{each}, {draws}.")
        by = study.select.replace("_", " ")
        mean = "mean " if study.trial_seeds > 1 else ""
        when = "" if study.select == "steps_to_target" else f" at the {_WHEN[study.at]}"
        best = "highest" if study.select == "validation_accuracy" else "lowest" if when else "fewest"
        said.append(
            f"Select: the trial with the {best} {mean}{by}{when}, the earlier of equals; one that diverges counts "
            "against the budget and is never selected."
        )
    fixed = [c.name for c in study.contenders if not c.searched]
    if fixed:
        said.append(f"Not tuned, and confirmed as given: {', '.join(fixed)}.")
    data = "all of the training split" if study.refit else "the part of the training split that trials train on"
    said.append(f"Confirm: what was selected is trained again with {study.seeds} fresh seeds, on {data}.")
    when = "after every epoch, for curves; results are those" if study.track_test else "once"
    said.append(
        f"Test: confirmations alone read the test split, {when} at the {_WHEN[study.at]}; nothing is chosen by it."
    )
    if study.repetitions > 1:
        said.append(f"Repeat: all of this {study.repetitions} times, with independent draws and seeds.")
    return said
