"""The arithmetic of the speed benchmark, its refusal to compare different computations, and its output.

These tests do not use PyTorch: each run of the benchmark checks that both sides agree.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from rich.console import Console

import jaxopt_bench
from experiments.speed import devices
from experiments.speed import tables as stored_runs
from experiments.speed.inputs import datasets
from experiments.speed.inputs.probes import Answer, Probe
from experiments.speed.inputs.workloads import ALL, DIGITS, WORKLOADS, find, make_task, noise
from experiments.speed.jax_side.code_paths import paths
from experiments.speed.jax_side.networks import answerer, forward_jaxpr, initial_variables
from experiments.speed.jax_side.training import Trainer, within_epochs
from experiments.speed.jax_side.updates import Updater
from experiments.speed.measure import agreement, flops
from experiments.speed.measure.agreement import DisagreementError
from experiments.speed.measure.remote import Remote, Request, WorkerError
from experiments.speed.measure.timing import Plan, Spread, Timing, alternate, fastest, ratio
from experiments.speed.output import tables
from experiments.speed.output.document import Document, default_path
from experiments.speed.output.hardware import busy_elsewhere
from experiments.speed.sections import networks, run
from experiments.speed.sections.flags import SECTIONS, Flags, Section
from jaxopt_bench import UserError, catalog
from jaxopt_bench.data import DATASETS, archives
from jaxopt_bench.results import load
from jaxopt_bench.training import CodePath, Task
from tests.results.directories import epochs, summary, write_run

ROOT = pathlib.Path(__file__).parents[2]


class Machine:
    """A simulated clock, which contenders advance. Steps become slower over time, as on a machine that gets hot."""

    def __init__(self, slowdown: float = 0.0):
        self.now, self.slowdown = 0.0, slowdown
        self.log: list[tuple[str, int]] = []

    def contender(self, name: str, seconds: float, compilation: float = 0.0) -> Worker:
        return Worker(self, name, seconds, compilation)


@dataclasses.dataclass
class Worker:
    machine: Machine
    name: str
    seconds: float
    compilation: float

    def run(self, steps: int) -> None:
        self.machine.log.append((self.name, steps))
        self.machine.now += self.compilation + steps * self.seconds * (1 + self.machine.slowdown * self.machine.now)
        self.compilation = 0.0


class Prefetcher(Worker):
    def settle(self) -> None:
        self.machine.now += 1000.0


def test_a_spread_is_median_and_quartiles():
    samples = np.random.default_rng(0).random(11).tolist()
    spread = Spread.of(samples)
    np.testing.assert_allclose([spread.lower, spread.median, spread.upper], np.percentile(samples, [25, 50, 75]))
    assert Spread.of([2.0]) == Spread(2.0, 2.0, 2.0)


def test_blocks_have_the_requested_length_without_compilation_and_warmup():
    machine = Machine()
    workers = {"fast": machine.contender("fast", 0.01, compilation=50.0), "slow": machine.contender("slow", 3.0)}
    timings = alternate(workers, Plan(rounds=4, block_seconds=1.0, warmup=1), lambda: machine.now)
    assert (timings["fast"].steps, timings["slow"].steps) == (100, 1)
    np.testing.assert_allclose(timings["fast"].seconds, [0.01] * 4)
    np.testing.assert_allclose(timings["slow"].seconds, [3.0] * 4)
    turns = [name for name, _ in machine.log[-8:]]
    assert turns == ["fast", "slow", "slow", "fast"] * 2


def test_the_ratio_is_right_on_a_machine_that_slows_down():
    machine = Machine(slowdown=0.01)
    workers = {name: machine.contender(name, seconds) for name, seconds in (("ours", 0.1), ("theirs", 0.2))}
    timings = alternate(workers, Plan(rounds=20, block_seconds=1.0), lambda: machine.now)
    assert timings["ours"].seconds[-1] > 1.3 * timings["ours"].seconds[0]
    assert ratio(timings["ours"], timings["theirs"]).median == pytest.approx(2.0, rel=0.02)
    assert fastest(timings) == "ours"


def test_the_settling_of_a_contender_between_blocks_is_not_timed():
    machine = Machine()
    timings = alternate({"it": Prefetcher(machine, "it", 0.5, 0.0)}, Plan(2, 1.0), lambda: machine.now)
    np.testing.assert_allclose(timings["it"].seconds, [0.5, 0.5])


def test_ratios_are_computed_round_by_round():
    ours, theirs = Timing(1, (1.0, 2.0, 4.0)), Timing(1, (2.0, 4.0, 8.0))
    assert ratio(ours, theirs) == Spread(2.0, 2.0, 2.0)
    assert ours.per_second(8) == Spread(4.0, 3.0, 6.0)


def test_steps_are_divided_at_the_ends_of_epochs():
    assert list(within_epochs(3, 12, 5)) == [2, 5, 5]
    assert list(within_epochs(0, 4, 5)) == [4]
    assert list(within_epochs(5, 1, 5)) == [1]


@pytest.fixture(scope="module")
def digits() -> Task:
    return make_task(DIGITS, "float32", 64)


@pytest.fixture(scope="module")
def probe(digits: Task) -> Probe:
    return agreement.make_probe(digits, initial_variables(digits), 0)


@pytest.fixture(scope="module")
def answer(digits: Task, probe: Probe) -> Answer:
    return answerer(digits, "plain")(probe)


def test_the_check_accepts_rounding_and_returns_the_difference(answer: Answer):
    other = dataclasses.replace(answer, training_loss=answer.training_loss * (1 + 1e-6))
    found = agreement.compare("cnn", answer, other, "float32")
    assert found["loss_difference"] == pytest.approx(1e-6, rel=0.01)
    assert found["gradient_difference"] == 0


@pytest.mark.parametrize("field", ["evaluation_loss", "training_loss"])
@pytest.mark.parametrize("value", [1.001, float("nan")])
def test_the_check_refuses_another_loss_and_names_both(answer: Answer, field: str, value: float):
    other = dataclasses.replace(answer, **{field: getattr(answer, field) * value})
    with pytest.raises(DisagreementError) as error:
        agreement.compare("cnn", answer, other, "float32")
    for said in ("cnn", str(getattr(answer, field)), str(getattr(other, field)), field.replace("_", " ")):
        assert said in str(error.value)


def with_gradient(answer: Answer, name: str, factor: float) -> Answer:
    return dataclasses.replace(answer, gradients={**answer.gradients, name: factor * answer.gradients[name]})


def test_the_check_refuses_another_gradient_or_other_parameters(answer: Answer):
    with pytest.raises(DisagreementError, match=r"conv2/kernel has norm .* here, .* there"):
        agreement.compare("cnn", answer, with_gradient(answer, "conv2/kernel", 1.01), "float32")
    fewer = dataclasses.replace(answer, gradients={n: g for n, g in answer.gradients.items() if n != "head/bias"})
    with pytest.raises(DisagreementError, match="head/bias"):
        agreement.compare("cnn", answer, fewer, "float32")


def test_a_single_differing_probe_is_redrawn_but_a_lasting_difference_is_refused(answer: Answer, probe: Probe):
    wrong, asked = with_gradient(answer, "head/kernel", 1.01), iter([1.01, 1.0])
    right = lambda _: answer  # noqa: E731
    moved = lambda _: with_gradient(answer, "head/kernel", next(asked))  # noqa: E731
    found = agreement.check("cnn", right, moved, right, [probe] * 3, "float32")
    assert found["gradient_difference"] == 0
    with pytest.raises(DisagreementError, match=r"head/kernel.*Expected: 0\.001\."):
        agreement.check("cnn", right, lambda _: wrong, lambda _: wrong, [probe] * 3, "float32")


@pytest.mark.parametrize(("peers_own", "accepted"), [(0.006, True), (0.002, False)])
def test_a_lasting_difference_is_accepted_if_the_peers_rounding_is_as_large(
    answer: Answer, probe: Probe, peers_own: float, accepted: bool
):
    theirs = lambda _: with_gradient(answer, "head/kernel", 1.02)  # noqa: E731
    exactly = lambda _: with_gradient(answer, "head/kernel", 1.02 / (1 + peers_own))  # noqa: E731
    outcome = contextlib.nullcontext() if accepted else pytest.raises(DisagreementError, match="head/kernel")
    with outcome:
        found = agreement.check("cnn", lambda _: answer, theirs, exactly, [probe] * 3, "float32")
        assert found["gradient_difference"] == pytest.approx(0.02 / 1.02, rel=1e-3)


def test_a_probes_weights_are_all_different_from_zero_and_one(digits: Task, probe: Probe):
    for name, value in probe.variables.items():
        assert not np.isin(value, (0, 1)).any(), name


def test_operations_are_those_of_all_products_forward_and_backward(digits: Task):
    first = 2 * 32 * 8 * 8 * 16 * 9
    others = 2 * 32 * (4 * 4 * 32 * 9 * 16 + 2 * 2 * 32 * 64 + 64 * 10)
    assert flops.training_flops(forward_jaxpr(digits)) == 2 * first + 3 * others


def test_noise_has_the_official_layout(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    for name in archives.LAYOUTS:
        spec = dataclasses.replace(DATASETS[name], train_examples=20, test_examples=10)
        monkeypatch.setitem(DATASETS, name, spec)
        (tmp_path / name).mkdir()
        datasets.write_noise(name, tmp_path / name)
        contents = archives.read_cifar(tmp_path / name, spec)
        assert contents.splits["train"].images.shape == (20, 32, 32, 3)


def test_workloads_are_found_by_network_or_label():
    assert {w.label for w in find(WORKLOADS, ["resnet20", "alexnet-adamw-4"])} == {
        "resnet20-sgd-128",
        "alexnet-adamw-4",
    }
    with pytest.raises(UserError, match="did you mean resnet20"):
        find(WORKLOADS, ["resnet21"])
    assert all(workload.experiment in catalog.load_folder() for workload in (DIGITS, *WORKLOADS))
    assert all(catalog.find(workload.experiment).workload.batch_size == workload.batch_size for workload in WORKLOADS)


@dataclasses.dataclass
class FakePeer:
    """A peer whose answers are computed by JAX. Its variant `compile` cannot run; see `Local`."""

    backend: str
    asked: tuple[str, ...] | None
    scale: float = 1.0
    name: str = "torch"
    variants: tuple[str, ...] = ("eager", "compile")
    extras: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    version: str = "0.fake"

    def update_form(self, optimizer: str) -> str | None:
        return "fused" if optimizer == "adamw" else None

    def answer(self, task: Task, probe: Probe, exactly: bool = False) -> Answer:
        answer = answerer(task, "plain")(probe)
        return dataclasses.replace(answer, training_loss=answer.training_loss * self.scale)


class Local:
    """A contender in this process. The contenders of the peer are also JAX's."""

    def __init__(self, request: Request):
        if request.way == "compile":
            raise WorkerError("no compiler")
        task = make_task(find(ALL, [request.label])[0], request.dtype, request.examples)
        if request.update:
            way = request.way if isinstance(request.way, dict) else {"fused": False, "checked": False}
            self.updater = Updater(task, request.update, **way)
            self.run, self.state = self.updater.run, self.updater.state
            return
        path = CodePath.from_json(request.way) if request.side == "jax" else paths()[0]
        self.trainer = Trainer(task, noise(task), path, request.members)
        self.run = self.trainer.run

    def peak(self) -> dict[str, object]:
        return {"bytes": 2**20, "of": "host"}

    def close(self) -> None:
        pass


def quick(
    tmp_path: pathlib.Path, peer: type | object = FakePeer, section: Section = "networks"
) -> tuple[Document, str]:
    flags = Flags(only=(section,), quick=True, out=tmp_path / "speed.json")
    output = io.StringIO()
    return run.measure(flags, peer, tmp_path, Console(file=output, width=250), Local), output.getvalue()


@pytest.mark.slow
def test_a_quick_run_writes_rows_that_describe_their_measurement(tmp_path: pathlib.Path):
    document, output = quick(tmp_path)
    written = json.loads((tmp_path / "speed.json").read_text())
    assert written == json.loads(json.dumps(dataclasses.asdict(document)))
    assert written["quick"] is True
    assert written["versions"]["torch"] == "0.fake"
    assert written["hardware"]["backend"] == jax.default_backend()
    assert {"command", "date", "settings"} <= written.keys()
    assert [row["path"] for row in written["rows"]] == [path.layers for path in paths()]
    for row in written["rows"]:
        expected = {"network": "cnn", "optimizer": "adamw", "batch_size": 32, "backend": jax.default_backend()}
        assert expected.items() <= row.items()
        assert row["images_per_second"] > 0
        lower, upper = row["images_per_second_over_torch_quartiles"]
        assert lower <= row["images_per_second_over_torch"] <= upper
        assert row["torch_variant"] == "eager"
        assert "no compiler" in row["torch_failures"]["compile"]
    assert "these numbers mean nothing" in output
    assert "ours / PyTorch" in output


@pytest.mark.slow
def test_updates_are_timed_beside_sgd_and_the_peer_and_their_state_is_counted(tmp_path: pathlib.Path):
    """Plain SGD has no state. AdamW has two moments in float32, and counts its steps."""
    document, output = quick(tmp_path, section="updates")
    sgd, adamw = document.rows
    assert sgd["parameters"] == adamw["parameters"] == 11_173_962
    assert (sgd["state_bytes"], adamw["state_bytes"]) == (0, 2 * 4 * 11_173_962 + 4)
    assert "torch_milliseconds" not in sgd
    assert adamw["torch_form"] == "fused"
    for name in ("milliseconds", "cost_over_sgd", "torch_milliseconds", "cost_over_torch"):
        lower, upper = adamw[f"{name}_quartiles"]
        assert 0 < lower <= adamw[name] <= upper
    assert "ours / its" in output


@pytest.mark.slow
def test_networks_are_measured_with_every_interpreter_and_rows_name_its_jax(tmp_path: pathlib.Path):
    """One interpreter is measured twice: both rows name this JAX, and only the second is compared with the first."""
    flags = Flags(
        only=("networks",),
        layers=("pure",),
        pythons=(pathlib.Path(sys.executable),),
        quick=True,
        out=tmp_path / "speed.json",
    )

    def start(request: Request) -> Remote | Local:
        return Remote(request) if request.side == "jax" else Local(request)

    rows = run.measure(flags, FakePeer, tmp_path, Console(file=io.StringIO()), start).rows
    assert [row["jax"] for row in rows] == [jax.__version__] * 2
    assert "images_per_second_over_this_jax" not in rows[0]
    assert rows[1]["images_per_second_over_this_jax"] > 0


def test_an_interpreter_that_does_not_exist_is_named_before_anything_is_measured(tmp_path: pathlib.Path):
    flags = Flags(only=("networks",), pythons=(tmp_path / "python",), quick=True, out=tmp_path / "speed.json")
    with pytest.raises(UserError, match=r"--pythons names .*python, which is no file. Expected"):
        run.measure(flags, FakePeer, tmp_path, Console(file=io.StringIO()), Local)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_worker_makes_steps_in_its_own_process_and_reports_its_errors():
    path = paths()[0].to_json()
    worker = Remote(Request("jax", DIGITS.label, "float32", 64, path, jax.default_backend()))
    worker.run(3)
    worker.settle()
    peak = worker.peak()
    assert peak["bytes"] > 2**20
    worker.close()
    assert worker.process.poll() is not None
    with pytest.raises(WorkerError, match=r"UserError.*layers"):
        Remote(Request("jax", DIGITS.label, "float32", 64, {**path, "layers": "none"}, jax.default_backend()))


def test_a_peer_that_computes_something_else_is_never_timed(tmp_path: pathlib.Path):
    with pytest.raises(DisagreementError, match="training loss"):
        quick(tmp_path, lambda *words: FakePeer(*words, scale=1.01))
    assert not (tmp_path / "speed.json").exists()
    with pytest.raises(DisagreementError):
        networks.check(DIGITS, "float32", FakePeer("cpu", None, scale=1.01), ["plain"])


def test_every_section_has_a_table_that_accepts_absent_fields():
    common = {"network": "cnn", "optimizer": "sgd", "batch_size": 4, "dtype": "float32", "path": "plain"}
    for section in SECTIONS:
        output = io.StringIO()
        Console(file=output, width=200).print(tables.section_table(section, tables.COLUMNS[section], [common]))
        shown = {"updates": "sgd", "resume": "sgd", "suite": "cnn"}.get(section, "cnn, sgd, 4")
        assert shown in output.getvalue()
        assert tables.line({"section": section, **common}).startswith(f"{section} cnn sgd 4")


def test_quick_and_partial_results_have_file_names_of_their_own():
    assert default_path("NVIDIA H100 80GB").name == "nvidia-h100-80gb.json"
    assert default_path("NVIDIA H100 80GB", ("networks",), True).name == "nvidia-h100-80gb-networks-quick.json"


def test_the_load_of_other_programs_is_between_zero_and_one():
    busy = busy_elsewhere(0.05)
    assert busy is None or 0 <= busy <= 1


def test_the_library_never_imports_pytorch():
    for path in pathlib.Path(jaxopt_bench.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None)]
            assert not any(name and name.split(".")[0] == "torch" for name in names), path


def test_copies_of_a_run_are_different_runs_and_reading_them_is_measured(tiny, tmp_path):
    run = write_run(tmp_path / "one", tiny, epochs(2), summary(tiny))
    stored_runs.make_copies(run, tmp_path / "many", 5)
    loaded = stored_runs.measured(tmp_path / "many")
    assert (loaded.runs, loaded.lines) == (5, 5 * 6)
    assert min(loaded.seconds, loaded.processor_seconds, loaded.peak_bytes) > 0
    runs = load(tmp_path / "many").runs
    assert sorted(runs["seed"]) == list(range(5))
    assert runs["digest"].n_unique() == runs["optimizer.learning_rate"].n_unique() == 5


@pytest.mark.slow
def test_the_speed_of_one_device_relative_to_itself_is_one():
    (row,) = devices.rows(DIGITS, [1], [2], Plan(rounds=1, block_seconds=0.0))
    assert (row["network"], row["members"], row["devices"]) == ("cnn", 2, 1)
    assert row["images_per_second"] > 0
    assert row["images_per_second_over_fewest"] == 1.0
    assert tables.line(row).startswith("devices cnn 32")


@pytest.mark.slow
def test_several_devices_are_measured_beside_one(tmp_path):
    out = tmp_path / "devices.json"
    words = ["--workload", "cnn", "--counts", "1", "2", "--members", "1", "2", "--rounds", "2", "--block-seconds", "0"]
    command = [sys.executable, "-m", "experiments.speed.devices", *words, "--out", str(out)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    rows = json.loads(out.read_text())["rows"]
    assert [(row["members"], row["devices"]) for row in rows] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    for row in rows:
        assert row["images_per_second"] > 0
        if row["devices"] == 1:
            assert row["images_per_second_over_fewest"] == 1.0
