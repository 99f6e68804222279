"""Reads runs from their directories. Reading a run executes no code of the run."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from jaxopt_bench.display import NotebookDisplay
from jaxopt_bench.errors import UnknownNameError, UserError, shortened
from jaxopt_bench.experiment import Experiment, digest_of
from jaxopt_bench.problems import Metric
from jaxopt_bench.runs import checkpoints
from jaxopt_bench.runs.records import SPLITS, MetricsLine, best_step, read_metrics
from jaxopt_bench.strict_json import NUMBER, check_object, read_json
from jaxopt_bench.training import Task, TrainState, first_state, member

RUN_FOLDER = re.compile(r"([0-9a-f]{12})(?:\.[1-9][0-9]*)?")  # the name of a run's folder; a repetition has a number
RESTORE = (
    "Perhaps folders were exchanged or copied over each other. Put each run back into the folder of its digest; "
    "if it is lost, move this folder away and use the same command again, which trains the run again."
)
TRAIN_AGAIN = "move the run's folder away and use the same command again, which trains the run again"
"""Advice that works for the runs of `run` and `sweep`, and also for those of a study."""
STATUSES = ("completed", "diverged", "stopped", "interrupted")  # stopped: see `Options.until_epoch`
_CONFIG = {"experiment": dict, "digest": str, "task": dict, "metrics": list, "environments": list}
_TASK = {"train_examples": int}
_CHECKPOINTS = {"path": str, "member": int, "members": int}
_FOLDERS = re.compile(r"checkpoints|\.\./(\.\./(?!\.)[^/]+/)?population-[0-9a-f]{12}/checkpoints")
MOST_MEMBERS = 10**6
_ENVIRONMENT = {"step": int, "python": str, "packages": dict, "backend": str, "devices": list, "threads": int,
                "code_path": dict, "members": int, "revision": str | None}  # fmt: skip
_SUMMARY = {"status": str, "experiment": str, "digest": str, "steps": int, "parameters": int, "seconds": NUMBER,
            "examples_per_second": NUMBER | None, "final": dict, "best": dict | None}  # fmt: skip
_RESULT = {"step": int, "epoch": NUMBER, **{f"{split}_loss": NUMBER | None for split in SPLITS}}
"""The required fields of each file of a run, with their types; a file may have more fields."""


class CheckpointLocation(NamedTuple):
    """The location of a run's checkpoints. Runs that were trained together share a folder.

    Attributes:
      folder: the folder of checkpoints.
      member: the run's index along the first axis of the arrays.
      members: the number of runs in the arrays.
    """

    folder: pathlib.Path
    member: int
    members: int


def checkpoint_location(directory: pathlib.Path, config: Mapping[str, Any]) -> CheckpointLocation:
    """Returns the location of a run's checkpoints, which its `config.json` contains."""
    where = {"path": "checkpoints", "member": 0, "members": 1, **config.get("checkpoints", {})}
    return CheckpointLocation(
        pathlib.Path(os.path.normpath(directory / where["path"])), where["member"], where["members"]
    )


def checkpoint_location_to_json(directory: pathlib.Path, location: CheckpointLocation) -> dict[str, Any]:
    """Returns the entry in `config.json` for a run's checkpoints: their folder, relative to the run, and its index."""
    path = os.path.relpath(location.folder, directory)
    return {"path": path, "member": location.member, "members": location.members}


@dataclasses.dataclass(frozen=True)
class Run(NotebookDisplay):
    """The recorded files of one run.

    Attributes:
      path: its directory.
      config: `config.json`: the experiment, facts of the task, and the environments.
      metrics: the lines of `metrics.jsonl`.
      summary: `summary.json`; None while the run is in progress.
    """

    path: pathlib.Path
    config: Mapping[str, Any] = dataclasses.field(repr=False)
    metrics: list[MetricsLine] = dataclasses.field(repr=False)
    summary: Mapping[str, Any] | None = dataclasses.field(repr=False)

    @functools.cached_property
    def experiment(self) -> Experiment:
        """The experiment of the run.

        Raises:
          UserError: if `config.json` has a field or a name that this version does not know.
        """
        try:
            return Experiment.from_json(self.config["experiment"], "experiment")
        except UnknownNameError as error:
            raise newer(self.path / "config.json", error) from error

    @functools.cached_property
    def problem_metrics(self) -> tuple[Metric, ...]:
        """The metrics of its problem, the headline first."""
        return tuple(Metric.from_json(values) for values in self.config["metrics"])

    @property
    def steps_per_epoch(self) -> int:
        """Steps in an epoch; the last partial batch is dropped."""
        return self.config["task"]["train_examples"] // self.experiment.workload.batch_size

    @property
    def divergence(self) -> str | None:
        """The reason why the run diverged; None if it did not."""
        if self.summary is None or self.summary["status"] != "diverged":
            return None
        step = self.summary.get("diverged_step")  # earlier versions wrote only this field
        return str(self.summary.get("reason", f"the loss, the gradient or the update of step {step} was not finite"))

    @property
    def best_step(self) -> int | None:
        """The last step of the epoch with the lowest validation loss; None if no validation loss is finite."""
        return best_step(self.metrics)

    @property
    def checkpoints(self) -> CheckpointLocation:
        """The location of its checkpoints."""
        return checkpoint_location(self.path, self.config)

    def state(self, at: Literal["last", "best"] = "last") -> TrainState:
        """Returns the train state of the last checkpoint, or of the checkpoint of the best epoch.

        Raises:
          UserError: if there is no such checkpoint, or it is damaged.
        """
        folder, index, members = self.checkpoints
        step = self._step_of_checkpoint(at)
        found = checkpoints.restore(folder, step)  # this needs neither the problem's data nor its code
        one = jax.eval_shape(functools.partial(self._state_like, found["state"]))
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((members, *leaf.shape), leaf.dtype), one)
        states = checkpoints.restore(folder, step, {**found, "state": like})["state"]
        own = jax.tree.map(jnp.asarray, member(states, index))
        check_state(own, self.experiment, f"{folder / str(step)}, member {index}")
        return own

    def saved_parameter_shapes(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Returns the shapes of the network's parameters in the last checkpoint, without the code of its model.

        Raises:
          UserError: if there is no checkpoint, or it is damaged.
        """
        found = checkpoints.restore(self.checkpoints.folder, self._step_of_checkpoint("last"))
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), found["state"]["params"])

    def _step_of_checkpoint(self, at: Literal["last", "best"]) -> int:
        """Returns the step of the last checkpoint, or of that of the best epoch; see `state`."""
        folder = self.checkpoints.folder
        if not folder.is_dir() and folder.parent != pathlib.Path(os.path.normpath(self.path)):
            raise UserError(
                f"{self.path} was trained in a population, which holds its checkpoints, and {folder.parent} is "
                "missing. Copy that folder too, to the same place relative to the run. Metrics and results can be read "
                "without it."
            )
        steps = checkpoints.checkpoint_steps(folder)
        step = self.best_step if at == "best" else max(steps, default=None)
        if step is None or step not in steps:
            kind = "checkpoint of the best epoch" if at == "best" else "complete checkpoint"
            others = f"It has checkpoints of the steps {', '.join(map(str, steps))}. " if steps else ""
            raise UserError(
                f"{folder} has no {kind}. {others}Metrics and results can be read without it. To get one, train the "
                "same experiment again in another folder."
            )
        return step

    def _state_like(self, saved: Mapping[str, Any]) -> TrainState:
        """Returns a state with the structure of a saved state, whose arrays are in dictionaries."""
        params, variables = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), (saved["params"], saved["variables"]))
        experiment = self.experiment
        numbers = experiment.optimizer.hyperparameters(), experiment.schedule.hyperparameters()
        return first_state(experiment, self.steps_per_epoch, params, variables, *numbers, jnp.uint32(experiment.seed))

    def parameters(self, at: Literal["last", "best"] = "last") -> PyTree[Array]:
        """Returns the network's parameters, from the last checkpoint or from that of the best epoch; see `state`."""
        return self.state(at).params


def load_run(path: str | pathlib.Path) -> Run:
    """Reads a run's directory.

    Args:
      path: `runs/<experiment>/<digest>`.

    Raises:
      UserError: if it is not a run's directory, or if one of its files is damaged, missing, or belongs to another run
        than the name of the folder says.
    """
    path = pathlib.Path(path)
    check_complete(path)
    summary = path / "summary.json"
    return run_of_files(path, load_config(path / "config.json"), load_summary(summary) if summary.exists() else None)


def run_of_files(path: pathlib.Path, config: Mapping[str, Any], summary: Mapping[str, Any] | None) -> Run:
    """Returns a run whose files, except `metrics.jsonl`, have been read already; see `load_run`."""
    check_complete(path)
    records = read_metrics(path / "metrics.jsonl")
    check_identity(path, config, summary)
    _check_metrics(path, [metric["name"] for metric in config["metrics"]], records, summary)
    if summary is not None:
        check_steps(
            path, summary["status"], summary["steps"], max((record["step"] for record in records), default=None)
        )
    return Run(path, config, records, summary)


def check_state(state: TrainState, experiment: Experiment, where: str) -> None:
    """Checks that a state belongs to an experiment: that it has its seed and its hyperparameters.

    Args:
      state: the state of one run.
      experiment: the experiment of that run.
      where: the checkpoint and the index, for the message.

    Raises:
      UserError: if a value differs; the message names it.
    """
    optimizer, schedule = experiment.optimizer.hyperparameters(), experiment.schedule.hyperparameters()
    expected = {"seed": experiment.seed, **_prefixed("optimizer", optimizer), **_prefixed("schedule", schedule)}
    found = {
        "seed": state.seed,
        **_prefixed("optimizer", state.hyperparameters),
        **_prefixed("schedule", state.schedule),
    }
    for name, value in expected.items():
        if name not in found or not np.array_equal(np.asarray(found[name]), np.asarray(value), equal_nan=True):
            raise UserError(
                f"{where} is of another run: {name} is {found.get(name)}. Expected {value}. Perhaps a config.json was "
                f"changed or copied: put the original back, or {TRAIN_AGAIN}."
            )


def _prefixed(part: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{part}.{name}": value for name, value in values.items()}


def _check_metrics(
    directory: pathlib.Path, names: Sequence[str], records: Sequence[MetricsLine], summary: Mapping[str, Any] | None
) -> None:
    """Checks that the value of each metric in a run's files is a number or null."""
    for number, record in enumerate(records, start=1):
        check_object(f"{directory / 'metrics.jsonl'}, line {number}", record, dict.fromkeys(names, NUMBER | None))
    fields = {f"{split}_{name}": NUMBER | None for split in SPLITS for name in names}
    for at in ("final", "best"):
        if summary is not None and summary[at] is not None:
            check_object(f"{directory / 'summary.json'}: {at}", summary[at], fields)


def check_complete(directory: pathlib.Path) -> None:
    """Checks that a run with a summary also has its other files.

    Raises:
      UserError: if a file is missing; the message names it.
    """
    missing = missing_files(directory)
    if missing and (directory / "summary.json").exists():
        raise UserError(
            f"{directory} is incomplete: it has summary.json, but not {' and '.join(missing)}. Restore the missing "
            "files from a copy, or train the run again: if it belongs to a study, use the same `jaxopt-bench compare` "
            "again; otherwise move the folder away and use the same command again."
        )


def missing_files(directory: pathlib.Path) -> list[str]:
    """Returns the names of the files that every started run has and that this folder lacks."""
    return [name for name in ("config.json", "metrics.jsonl") if not (directory / name).exists()]


def is_begun(directory: pathlib.Path) -> bool:
    """Returns whether a folder has files of a run, even if the run is incomplete because `config.json` was removed."""
    return any((directory / name).exists() for name in ("config.json", "summary.json"))


def check_identity(
    directory: pathlib.Path,
    config: Mapping[str, Any],
    summary: Mapping[str, Any] | None = None,
    planned: Mapping[str, Any] | None = None,
) -> None:
    """Checks that the files of a run belong to one run, and to the run that its folder should hold.

    A folder whose name is a digest must hold the run with that digest. A folder with another name may hold any run.

    Args:
      directory: the run's directory.
      config: the content of `config.json`.
      summary: the content of `summary.json`, if there is one.
      planned: the description of the run in `study.json`: its `digest`, its `seed`, and the experiment's `name`.

    Raises:
      UserError: if they differ; the message names the file, the value found and the value expected.
    """
    file, experiment, digest = directory / "config.json", config["experiment"], config["digest"]
    computed = digest_of(experiment)
    if computed != digest:
        try:
            Experiment.from_json(experiment, "experiment")
        except UserError as error:
            raise UserError(f"{file} is damaged: {error}") from error
        raise UserError(
            f"{file} is damaged: its experiment has the digest {computed}, and its digest is {shortened(digest)}. "
            f"{RESTORE}"
        )
    name = os.path.basename(os.path.abspath(directory))
    if (match := RUN_FOLDER.fullmatch(name)) and match[1] != digest:
        raise UserError(
            f"{directory} holds another run: {file.name} has the digest {digest}. Expected the digest {match[1]}, "
            f"which the folder is named after. {RESTORE}"
        )
    for field, found in (("digest", digest), ("experiment", experiment.get("name"))):
        if summary is not None and summary.get(field) != found:
            raise UserError(
                f"{directory} holds files of two runs: {field} is {shortened(found)} in {file.name} and "
                f"{shortened(summary.get(field))} in summary.json. {RESTORE}"
            )
    known = {"digest": digest, "seed": experiment.get("seed"), "name": experiment.get("name")}
    for field, found in known.items():
        if planned is not None and planned.get(field, found) != found:
            raise UserError(
                f"{directory} holds another run than the study's: its {field} is {shortened(found)}. Expected "
                f"{shortened(planned[field])}, as study.json says. {RESTORE}"
            )


def check_steps(directory: pathlib.Path, status: str, steps: int | None, measured: int | None) -> None:
    """Checks that the last step in `metrics.jsonl` agrees with the summary.

    Args:
      directory: the run's directory.
      status: the status in the summary.
      steps: the number of steps in the summary; None if it is not known.
      measured: the last step in `metrics.jsonl`; None if it has no lines.

    Raises:
      UserError: if the file ends after the last step of the summary, or, for a completed or stopped run, before it.
    """
    if steps is None:
        return
    if (measured or 0) > steps or (status in ("completed", "stopped") and measured != steps):
        found = "has no lines" if measured is None else f"ends at step {measured:,}"
        raise UserError(
            f"{directory / 'metrics.jsonl'} {found}, and summary.json says that the run {status} after {steps:,} "
            f"steps. {RESTORE}"
        )


def newer(path: pathlib.Path, error: UnknownNameError) -> UserError:
    """Returns the error for a file that contains a name (such as that of a field) that this version does not know."""
    return UserError(
        f"{path} cannot be read: {error} A newer version of jaxopt-bench may have written it. If so, install that "
        "version."
    )


def load_config(path: pathlib.Path) -> dict[str, Any]:
    """Reads a run's `config.json`.

    Raises:
      UserError: if it is missing or damaged; the message names the field.
    """
    config = check_object(str(path), read_json(path), _CONFIG)
    check_object(f"{path}: task", config["task"], _TASK)
    for i, values in enumerate(config["metrics"]):
        Metric.from_json(values, f"{path}: metrics[{i}]")
    if not config["metrics"]:
        raise UserError(f"{path}: metrics is damaged: it is empty. Expected at least one metric.")
    if "checkpoints" in config:
        found = check_object(f"{path}: checkpoints", config["checkpoints"], _CHECKPOINTS)
        if not _FOLDERS.fullmatch(found["path"]):
            raise UserError(
                f"{path}: checkpoints is damaged: path is {found['path']!r}. Expected the run's own checkpoints or "
                "those of a population."
            )
        if not 0 <= found["member"] < found["members"] <= MOST_MEMBERS:
            raise UserError(
                f"{path}: checkpoints is damaged: member is {found['member']}, of {found['members']} members."
            )
    for i, place in enumerate(config["environments"]):
        where = f"{path}: environments[{i}]"
        check_object(f"{where}: options", check_object(where, place, _ENVIRONMENT).get("options", {}), {})
    return config


def load_summary(path: pathlib.Path) -> dict[str, Any]:
    """Reads a run's `summary.json`.

    Raises:
      UserError: if it is missing or damaged; the message names the field.
    """
    summary = check_object(str(path), read_json(path), _SUMMARY)
    if summary["status"] not in STATUSES:
        raise UserError(f"{path} is damaged: status is {summary['status']!r}. Expected: {', '.join(STATUSES)}.")
    for at in ("final", "best"):
        if summary[at] is not None:
            check_object(f"{path}: {at}", summary[at], _RESULT)
    return summary


def finished(directory: pathlib.Path, until_epoch: int | None = None) -> bool:
    """Returns whether a directory holds a run that has finished; see `has_finished`."""
    path = directory / "summary.json"
    return path.exists() and has_finished(load_summary(path), until_epoch)


def has_finished(summary: Mapping[str, Any] | None, until_epoch: int | None = None) -> bool:
    """Returns whether a run's summary says that it completed, diverged, or was stopped at `until_epoch` or later.

    If `until_epoch` is None, a stopped run does not count as finished. If `summary` is None, the result is False.
    """
    if summary is None:
        return False
    stopped = summary["status"] == "stopped" and until_epoch is not None and summary["final"]["epoch"] >= until_epoch
    return stopped or summary["status"] in ("completed", "diverged")


def task_to_json(task: Task) -> dict[str, Any]:
    """Returns the facts of the problem's data as JSON values."""
    return {"train_examples": task.train_examples, **task.problem.facts}
