"""The command line, `jaxopt-bench run | list | show | data`: it parses, calls, prints and picks the exit code."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
import pathlib
import signal
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NoReturn

import jax
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from jaxopt_bench import catalog, data, prng
from jaxopt_bench.config import Config
from jaxopt_bench.errors import UserError, unknown_name
from jaxopt_bench.experiment import Experiment
from jaxopt_bench.models import MODELS, parameter_overview
from jaxopt_bench.optimizers import OPTIMIZERS, SCHEDULES, Optimizer, load
from jaxopt_bench.reports import (
    SURFACES,
    Trajectory,
    draw_trajectories,
    hyperparameters_table,
    optimizers_table,
    sweep_table,
    trajectory,
)
from jaxopt_bench.results import rows_by_setting
from jaxopt_bench.runs import (
    SPLITS,
    Interrupted,
    Recording,
    Run,
    format_accuracy,
    format_duration,
    format_loss,
    load_run,
    train,
    train_population,
)
from jaxopt_bench.studies import Range, grid, parse_range
from jaxopt_bench.training import choose_code_path

COMPLETED, FAILED, MISUSED, DIVERGED = 0, 1, 2, 3  # exit codes; an interrupted run's is 128 + the signal's number
Command = Callable[[], int]


@dataclasses.dataclass(frozen=True)
class RunFlags:
    """Train an experiment, continue it where it was stopped, or show its summary where it has finished.

    --optimizer NAME, --model NAME and --schedule NAME put another in the experiment's place, with its own defaults;
    the flags below are those of the ones in place. `jaxopt-bench list` shows the names; --optimizer FILE.py:FUNCTION or
    MODULE:FUNCTION takes an optimizer of yours. --experiments DIR looks for the experiment in another folder.
    """

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    recording: Annotated[Recording, tyro.conf.arg(name="")]
    runs_dir: pathlib.Path = pathlib.Path("runs")
    """Folder of run directories."""
    data_dir: pathlib.Path | None = None
    """Folder of TFDS data sets; else $TFDS_DATA_DIR, else TFDS's own default."""
    fresh: bool = False
    """Begin another run beside those there are."""
    deterministic: bool = False
    """Give up what makes repetitions differ on a GPU (autotuning, scatters), at a price in speed."""
    overview: bool = False
    """Print the table of the network's parameters first."""


@dataclasses.dataclass(frozen=True)
class SweepFlags:
    """Train an experiment at several values of its optimizer's or schedule's numbers, as one program.

    A range LOW..HIGH:COUNT in place of a number, as in --optimizer.learning-rate 1e-4..1e-1:8, stands for COUNT values
    that are evenly spaced in their logarithm, both ends included; several ranges make a grid. What a sweep chooses by
    is the validation split: the test split is left alone unless --evaluate-test asks for it.
    """

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    recording: Annotated[Recording, tyro.conf.arg(name="")]
    seeds: int = 1
    """Seeds at each setting, from the experiment's own seed on."""
    runs_dir: pathlib.Path = pathlib.Path("runs")
    """Folder of run directories."""
    data_dir: pathlib.Path | None = None
    """Folder of TFDS data sets; else $TFDS_DATA_DIR, else TFDS's own default."""
    fresh: bool = False
    """Begin other runs beside those there are."""
    deterministic: bool = False
    """Give up what makes repetitions differ on a GPU (autotuning, scatters), at a price in speed."""
    largest: int | None = None
    """At most so many runs at once; else as many as fit into memory. Those begun in larger numbers are divided."""


@dataclasses.dataclass(frozen=True)
class ListFlags:
    """List what can be named, one table a kind."""

    kind: tyro.conf.Positional[Literal["all", "experiments", "models", "datasets", "optimizers", "schedules"]] = "all"
    experiments: pathlib.Path | None = None
    """Folder of experiment files; the project's own by default."""


@dataclasses.dataclass(frozen=True)
class ShowFlags:
    """Show a run: its experiment, where it ran, what it reached."""

    run: tyro.conf.Positional[str]
    """A run's directory, or an experiment's name for its latest run."""
    runs_dir: pathlib.Path = pathlib.Path("runs")
    """Folder of run directories."""
    overview: bool = False
    """Print the table of the network's parameters as well."""


@dataclasses.dataclass(frozen=True)
class PrepareFlags:
    """Prepare a data set for TFDS: from its official archive, downloaded or at hand."""

    name: tyro.conf.Positional[str]
    """A data set by its name in TFDS."""
    source: Annotated[pathlib.Path | None, tyro.conf.arg(name="from")] = None
    """The official binary archive (.tar.gz) or the folder it unpacks to; downloaded where not given."""
    data_dir: pathlib.Path | None = None
    """Folder of TFDS data sets; else $TFDS_DATA_DIR, else TFDS's own default."""


@dataclasses.dataclass(frozen=True)
class OptimizerFlags:
    """Show an optimizer: where it is from, its hyperparameters, and where they are worth searching."""

    name: tyro.conf.Positional[str]
    """An optimizer by its name, or FILE.py:FUNCTION or MODULE:FUNCTION."""


@dataclasses.dataclass(frozen=True)
class PlotFlags:
    """Draw where optimizers go on surfaces of two numbers, and their effective step sizes.

    Each takes, on each surface, the learning rate with which it comes down fastest without leaving the picture, of one
    and three times the powers of ten.
    """

    names: tyro.conf.Positional[tuple[str, ...]] = ("sgd", "momentum", "nesterov", "adam", "nadam", "amsgrad", "padam")
    """Optimizers by name."""
    surfaces: tuple[str, ...] = tuple(SURFACES)
    """Surfaces by name."""
    steps: int = 200
    """Updates."""
    out: pathlib.Path = pathlib.Path("optimizers.png")
    """The picture, PNG or SVG."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits.

    Exit codes: 0 completed, 1 an error, 2 misuse, 3 diverged, 130 or 143 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        command = parse(words)
    except UserError as error:
        _fail(error, debug, MISUSED)
    try:
        sys.exit(command())
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        sys.exit(128 + stop.signal)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        _fail(error, debug, FAILED)


def parse(words: Sequence[str]) -> Command:
    """Returns the command that the words ask for.

    Raises:
      UserError: for an unknown command or name, or a value that a field does not accept.
      SystemExit: after printing help (0), or for flags that cannot be parsed (2).
    """
    commands: dict[str, Callable[[Sequence[str]], Command]] = {
        "run": _parse_run,
        "sweep": _parse_sweep,
        "list": lambda rest: _bind(list_kinds, ListFlags, "list", rest),
        "show": lambda rest: _bind(show, ShowFlags, "show", rest),
        "data": _parse_data,
        "optimizers": _parse_optimizers,
    }
    if not words or words[0] in ("-h", "--help"):
        print(HELP)
        raise SystemExit(COMPLETED if words else MISUSED)
    if words[0] not in commands:
        raise unknown_name("command", words[0], commands)
    return commands[words[0]](words[1:])


HELP = """usage: jaxopt-bench COMMAND …

  run EXPERIMENT [--epochs 2 --optimizer.learning-rate 0.003 …]   train; the same command continues
  sweep EXPERIMENT --optimizer.learning-rate 1e-4..1e-1:8 …       train at several settings, as one program
  list [experiments|models|datasets|optimizers|schedules]         what can be named
  show RUN                                                        a run's record
  data prepare NAME [--from PATH]                                 get a data set ready
  optimizers show NAME                                            an optimizer's hyperparameters and their ranges
  optimizers plot [NAME …] [--out optimizers.png]                 draw where optimizers go on surfaces of two numbers

COMMAND --help says more; run EXPERIMENT --help lists every flag with that experiment's values; --debug shows an error's
traceback."""


def run(flags: RunFlags) -> int:
    """Trains, prints the result, and returns the exit code."""
    console = Console()
    if flags.overview:
        print_overview(flags.experiment, console)
    result = train(
        flags.experiment,
        runs_dir=flags.runs_dir,
        data_dir=flags.data_dir,
        fresh=flags.fresh,
        recording=flags.recording,
        code_path=choose_code_path(deterministic=flags.deterministic),
    )
    print_result(result, console)
    return DIVERGED if result.summary and result.summary["status"] == "diverged" else COMPLETED


def sweep(flags: SweepFlags, experiments: Sequence[Experiment], fields: Sequence[str]) -> int:
    """Trains the experiments, which differ in some fields and their seeds, and prints a table of them."""
    console = Console()
    runs = train_population(
        experiments,
        runs_dir=flags.runs_dir,
        data_dir=flags.data_dir,
        fresh=flags.fresh,
        recording=flags.recording,
        code_path=choose_code_path(deterministic=flags.deterministic),
        largest=flags.largest,
    )
    rows = rows_by_setting(runs, fields)
    seeds = f", mean ± 95% interval over {flags.seeds} seeds" if flags.seeds > 1 else ""
    console.print(sweep_table(rows, f"{flags.experiment.name}: epoch {flags.experiment.epochs}{seeds}"))
    seconds = sum(run.summary["seconds"] for run in runs if run.summary)
    console.print(f"{len(runs)} runs, {format_duration(seconds)} of training", highlight=False)
    console.print(str(runs[0].path.parent), markup=False, highlight=False, soft_wrap=True)
    return DIVERGED if all(row.diverged == row.runs for row in rows) else COMPLETED


def list_kinds(flags: ListFlags) -> int:
    """Prints the tables of names."""
    console = Console()
    tables: dict[str, Callable[[], Table]] = {
        "experiments": lambda: _experiments_table(catalog.load_folder(flags.experiments)),
        "models": lambda: _configs_table("models", MODELS),
        "datasets": _datasets_table,
        "optimizers": lambda: optimizers_table(OPTIMIZERS),
        "schedules": lambda: _configs_table("schedules", SCHEDULES),
    }
    for kind in tables if flags.kind == "all" else [flags.kind]:
        console.print(tables[kind]())
    return COMPLETED


def show(flags: ShowFlags) -> int:
    """Prints a run's record."""
    console = Console()
    found = load_run(_find_run(flags.run, flags.runs_dir))
    for name, value in _flattened(found.experiment.to_json()).items():
        console.print(f"{name:32} {value}", markup=False, highlight=False)
    for place in found.config.get("environments", []):
        versions = ", ".join(f"{name} {version}" for name, version in place["packages"].items() if version)
        console.print(
            f"from step {place['step']}: {place['backend']} ({', '.join(place['devices'])}), "
            f"{place['threads']} threads, Python {place['python']}, {versions}",
            markup=False,
            highlight=False,
        )
    if flags.overview:
        print_overview(found.experiment, console)
    print_result(found, console)
    return COMPLETED


def prepare(flags: PrepareFlags) -> int:
    """Prepares a data set and prints where it is."""
    print(data.prepare(flags.name, flags.source, flags.data_dir))
    return COMPLETED


def show_optimizer(flags: OptimizerFlags) -> int:
    """Prints an optimizer's record."""
    console = Console()
    optimizer = _optimizer(flags.name)
    for line in (inspect.cleandoc(type(optimizer).__doc__ or "").partition("Args:")[0].strip(), ""):
        console.print(line, markup=False, highlight=False)
    console.print(f"source: {optimizer.source}", markup=False, highlight=False)
    schedule = optimizer.schedule
    console.print(f"schedule: {schedule.name} ({schedule.source})", markup=False, highlight=False)
    console.print(hyperparameters_table(flags.name, optimizer))
    return COMPLETED


def plot_optimizers(flags: PlotFlags) -> int:
    """Draws trajectories, and prints what they reached."""
    console = Console()
    _check_at_least_one("--steps", flags.steps)
    for surface in flags.surfaces:
        if surface not in SURFACES:
            raise unknown_name("surface", surface, SURFACES)
    optimizers = {name: _optimizer(name) for name in flags.names}
    drawn = [trajectory(s, name, o, flags.steps) for s in flags.surfaces for name, o in optimizers.items()]
    draw_trajectories(drawn, flags.out)
    console.print(_trajectories_table(drawn))
    console.print(str(flags.out), markup=False, highlight=False, soft_wrap=True)
    return COMPLETED


def _trajectories_table(drawn: Sequence[Trajectory]) -> Table:
    table = _table("trajectories", "surface", "optimizer", "learning rate", "at the start", "at the end")
    for t in drawn:
        table.add_row(t.surface, t.optimizer, f"{t.learning_rate:g}", f"{t.losses[0]:.3g}", f"{t.losses[-1]:.3g}")
    return table


def _optimizer(name: str) -> Optimizer:
    return _users_optimizer(name, [], {}, placeholders=True) if ":" in name else OPTIMIZERS[name]


def print_result(run: Run, console: Console) -> None:
    """Prints a run's results as a table, its cost, and its path."""
    summary = run.summary
    if summary is None:
        console.print(f"{run.experiment.name}: under way, or killed", markup=False, highlight=False)
    else:
        console.print(f"\n{summary['experiment']}: {summary['status']}", markup=False, highlight=False)
        if summary["status"] == "completed":
            console.print(_result_table(summary))
        if "diverged_step" in summary:
            step = summary["diverged_step"]
            console.print(f"the loss or the update of step {step:,} was not finite", highlight=False)
        speed = f", {summary['images_per_second']:,.0f} images/s" if summary["images_per_second"] else ""
        size = f"{summary['parameters']:,} parameters, {summary['steps']:,} steps"
        console.print(f"{size} in {format_duration(summary['seconds'])}{speed}", highlight=False)
    if run.metrics and (summary is None or summary["status"] == "interrupted"):
        last = run.metrics[-1]
        text = f"{last['split']} loss {format_loss(last['loss'])}, accuracy {format_accuracy(last['accuracy'])}"
        console.print(f"last measured at step {last['step']:,}: {text}", highlight=False)
    console.print(str(run.path), markup=False, highlight=False, soft_wrap=True)


def _result_table(summary: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE)
    table.add_column("")
    results = {name: summary[name] for name in ("final", "best") if summary[name] is not None}
    for name, result in results.items():
        table.add_column(f"{name}: epoch {result['epoch']:g}\nloss", justify="right")
        table.add_column("\naccuracy", justify="right")
    for split in SPLITS:
        pairs = [(result[f"{split}_loss"], result[f"{split}_accuracy"]) for result in results.values()]
        cells = [cell for loss, accuracy in pairs for cell in (format_loss(loss), format_accuracy(accuracy))]
        table.add_row(split.replace("_", ", "), *cells)
    return table


def print_overview(experiment: Experiment, console: Console) -> None:
    """Prints the table of the network's parameters, computing none of them."""
    spec = data.dataset(experiment.dataset)
    module = experiment.model.module(spec.num_classes)
    images = jax.ShapeDtypeStruct((1, *spec.image_shape), "float32")
    key = prng.key(experiment.seed, prng.Purpose.INITIALISATION)
    params = jax.eval_shape(lambda x: module.init(key, x, train=False), images)["params"]
    console.print(parameter_overview(params), markup=False, highlight=False, soft_wrap=True)


def _parse_run(words: Sequence[str]) -> Command:
    experiment, rest = _named_experiment("run", words)
    return _bind(run, RunFlags, f"run {experiment.name}", rest, default=RunFlags(experiment, Recording()))


def _parse_sweep(words: Sequence[str]) -> Command:
    ranges, rest = _ranges(words)
    experiment, rest = _named_experiment("sweep", rest, {name: r.low for name, r in ranges.items()})
    experiment = dataclasses.replace(experiment, evaluate_test=False, track_test=False)
    flags = _parsed(SweepFlags, f"sweep {experiment.name}", rest, default=SweepFlags(experiment, Recording()))
    _check_at_least_one("--seeds", flags.seeds)
    if flags.largest is not None:
        _check_at_least_one("--largest", flags.largest)
    return functools.partial(sweep, flags, grid(flags.experiment, ranges, flags.seeds), list(ranges))


def _ranges(words: Sequence[str]) -> tuple[dict[str, Range], list[str]]:
    """Returns the ranges by the fields whose flags they follow, and the other words."""
    ranges: dict[str, Range] = {}
    rest: list[str] = []
    for word in words:
        flag, _, value = word.partition("=") if word.startswith("--") else (rest[-1] if rest else "", "", word)
        found = parse_range(value) if flag.startswith("--") else None
        if found is None:
            rest.append(word)
            continue
        if value == word:
            rest.pop()
        ranges[flag.removeprefix("--").replace("-", "_")] = found
    return ranges, rest


def _check_at_least_one(flag: str, value: int) -> None:
    if value < 1:
        raise UserError(f"{flag} is {value}; accepted: an integer >= 1.")


def _named_experiment(
    command: str, words: Sequence[str], given: Mapping[str, float] = types.MappingProxyType({})
) -> tuple[Experiment, list[str]]:
    """Returns the experiment with what names put in its place as defaults, and the words left for tyro to parse.

    Args:
      command: which is parsed.
      words: of the command line.
      given: values of fields that the words do not name, as "optimizer.learning_rate".
    """
    if words and words[0] in ("-h", "--help"):
        words = ["digits_cnn_adamw", *words]
    if not words or words[0].startswith("-"):
        raise UserError(
            f"{command}: the experiment comes first; accepted: {command} EXPERIMENT [flags]; `jaxopt-bench list` names "
            "them."
        )
    names = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog=f"jaxopt-bench {command}")
    names.add_argument("--experiments", type=pathlib.Path)
    for field in Experiment.kinds:
        names.add_argument(f"--{field}")
    chosen, rest = names.parse_known_args(words[1:])
    experiment = catalog.find(words[0], chosen.experiments)
    named = {field: name for field in Experiment.kinds if (name := getattr(chosen, field)) is not None}
    replaced = {field: Experiment.kinds[field][name] for field, name in named.items() if not _is_users(field, name)}
    if _is_users("optimizer", named.get("optimizer", "")):
        replaced["optimizer"] = _users_optimizer(named["optimizer"], rest, given)
    return dataclasses.replace(experiment, **replaced), rest


def _is_users(field: str, name: str) -> bool:
    return field == "optimizer" and ":" in name


def _users_optimizer(
    reference: str, words: Sequence[str], given: Mapping[str, float], placeholders: bool = False
) -> Optimizer:
    """Returns the optimizer of a user's function, its arguments without default taken from the words that set them.

    Args:
      reference: to the function.
      words: of the command line.
      given: values of fields that the words do not name, as "optimizer.learning_rate".
      placeholders: whether 1 stands for what is not given, where only its fields are of interest.
    """
    cls = load(reference)
    required = [field.name for field in dataclasses.fields(cls) if field.default is dataclasses.MISSING]
    flags = argparse.ArgumentParser(add_help=False, allow_abbrev=False, prog="jaxopt-bench")
    for name in required:
        flag = f"--optimizer.{name}"
        flags.add_argument(flag, flag.replace("_", "-"), dest=name, default=given.get(f"optimizer.{name}"))
    found = vars(flags.parse_known_args(words)[0])
    for name in required:
        if found[name] is None and not placeholders and not {"-h", "--help"} & set(words):
            flag = f"--optimizer.{name.replace('_', '-')}"
            raise UserError(f"{reference} has the argument {name!r} without a default; accepted: {flag} VALUE.")
    arguments = [
        word for name in required for word in (f"--{name}", str(found[name] if found[name] is not None else 1))
    ]
    return tyro.cli(cls, prog=f"jaxopt-bench … --optimizer {reference}", args=arguments)


def _parse_data(words: Sequence[str]) -> Command:
    if words and words[0] in ("-h", "--help"):
        words = ["prepare", *words]
    if not words or words[0] != "prepare":
        raise unknown_name("data command", words[0] if words else "", ["prepare"])
    return _bind(prepare, PrepareFlags, "data prepare", words[1:])


def _parse_optimizers(words: Sequence[str]) -> Command:
    commands: dict[str, tuple[Callable[[Any], int], type]] = {
        "show": (show_optimizer, OptimizerFlags),
        "plot": (plot_optimizers, PlotFlags),
    }
    if not words or words[0] in ("-h", "--help"):
        print(HELP)
        raise SystemExit(COMPLETED if words else MISUSED)
    if words[0] not in commands:
        raise unknown_name("optimizers command", words[0], commands)
    return _bind(*commands[words[0]], f"optimizers {words[0]}", words[1:])


def _bind(function: Callable[[Any], int], flags: type, name: str, words: Sequence[str], **options: Any) -> Command:
    """Parses the words into flags and returns the command with its flags bound."""
    return functools.partial(function, _parsed(flags, name, words, **options))


def _parsed(flags: type, name: str, words: Sequence[str], **options: Any) -> Any:
    return tyro.cli(flags, prog=f"jaxopt-bench {name}", args=list(words), **options)


def _find_run(name: str, runs_dir: pathlib.Path) -> pathlib.Path:
    """Returns a run's directory by its path, or the one of an experiment that was begun or continued last."""
    for path in (pathlib.Path(name), runs_dir / name):
        if (path / "config.json").exists():
            return path
        runs = sorted(path.glob("*/config.json"), key=lambda config: config.stat().st_mtime)
        if runs:
            return runs[-1].parent
    known = [path.name for path in runs_dir.glob("*") if path.is_dir()]
    raise unknown_name(f"run, neither a run's directory nor an experiment with runs in {runs_dir}", name, known)


def _table(title: str, *columns: str) -> Table:
    """Returns an empty table whose first column, the names, is never cut."""
    table = Table(title=title, box=box.SIMPLE, title_justify="left")
    table.add_column(columns[0], no_wrap=True, overflow="fold", min_width=32 if title == "experiments" else None)
    for column in columns[1:]:
        table.add_column(column)
    return table


def _experiments_table(experiments: Mapping[str, Experiment]) -> Table:
    table = _table("experiments", "name", "model", "optimizer", "epochs", "batch")
    for name, e in sorted(experiments.items()):
        model, optimizer = MODELS.name_of(e.model), OPTIMIZERS.name_of(e.optimizer)
        table.add_row(name, model, optimizer, str(e.epochs), str(e.batch_size))
    return table


def _datasets_table() -> Table:
    table = _table("datasets", "name", "training", "test", "classes", "")
    for name, spec in data.DATASETS.items():
        counts = (f"{spec.train_examples:,}", f"{spec.test_examples:,}", str(spec.num_classes))
        table.add_row(name, *counts, spec.description)
    return table


def _configs_table(title: str, configs: Mapping[str, Config]) -> Table:
    table = _table(title, "name", "", "defaults")
    for name, config in configs.items():
        fields = "\n".join(f"{field} {value}" for field, value in config.to_json().items())
        table.add_row(name, _first_sentence(config), fields)
    return table


def _first_sentence(config: Config) -> str:
    paragraph = " ".join((type(config).__doc__ or "").strip().split("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")


def _flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested fields under the names that flags give them."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _fail(error: Exception, debug: bool, code: int) -> NoReturn:
    """Prints an error in one message, its traceback only where asked for, and exits."""
    if debug:
        traceback.print_exception(error)
    expected = isinstance(error, (UserError, OSError))
    print(f"error: {error if expected else f'{type(error).__name__}: {error} (--debug shows where)'}", file=sys.stderr)
    sys.exit(code)
