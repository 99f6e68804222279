"""Files that were damaged, truncated or removed are reported, and the run resumes from its last intact state."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from jaxopt_bench import UserError, train
from jaxopt_bench.runs import Options, Recording, Reporter
from jaxopt_bench.runs.checkpoints import checkpoint_steps
from tests.faults.harness import RECORDING, copy_bench, flip, remove, truncate

SLOW = pytest.mark.slow


class MessageRecorder(Reporter):
    """Keeps the messages, and the step at which the run starts or resumes."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.step = -1

    def start(self, title: str, step: int, *rest: object) -> None:
        self.step = step

    def say(self, message: str) -> None:
        self.messages.append(message)


def resume_and_compare(disturbed, said):
    """Resumes a single run with the given reporter."""
    options = {"data_dir": disturbed.data_dir, "recording": Recording(**RECORDING), "reporter": said}
    return train(disturbed.experiments[0], Options(runs_dir=disturbed.runs_dir, **options))


@SLOW
@pytest.mark.parametrize("damage", [flip, truncate, remove])
def test_a_damaged_checkpoint_is_reported_and_an_earlier_one_is_used(damage, stopped, dice, tally):
    disturbed = stopped("single")
    *earlier, last = checkpoint_steps(disturbed.checkpoints)
    newest = disturbed.checkpoints / str(last)
    files = sorted(path for path in newest.rglob("*") if path.is_file() and path.stat().st_size)
    file = dice.choice([path for path in files if path.name != "marker.json"])  # replaced by manifest.json
    damage(file, dice)
    counts = (newest / "manifest.json").exists()  # without it, a checkpoint was never completed
    said = MessageRecorder()
    resume_and_compare(disturbed, said)
    assert said.step == earlier[-1]
    if counts:
        assert any(f"checkpoint {newest} is damaged" in message for message in said.messages)
    disturbed.resume_and_compare()
    tally.add(f"the newest checkpoint: {damage.__name__}")


@SLOW
@pytest.mark.parametrize("kind", ["single", "population"])
@pytest.mark.parametrize("damage", [flip, truncate, remove])
def test_every_file_of_the_newest_checkpoint_may_be_damaged(kind, damage, stopped, dice, tally, tmp_path_factory):
    disturbed = stopped(kind)
    newest = disturbed.checkpoints / str(checkpoint_steps(disturbed.checkpoints)[-1])
    files = sorted(path.relative_to(disturbed.folder) for path in newest.rglob("*") if path.is_file())
    for i, file in enumerate(files):
        one = copy_bench(disturbed, tmp_path_factory.mktemp("copies") / str(i))
        if (one.folder / file).stat().st_size:
            damage(one.folder / file, dice)
            one.resume_and_compare()
            tally.add(f"the newest checkpoint: {damage.__name__}, {kind}")


@pytest.mark.parametrize("damage", [flip, pytest.param(truncate, marks=SLOW), pytest.param(remove, marks=SLOW)])
def test_if_every_checkpoint_is_damaged_all_are_named_and_metrics_do_not_change(damage, stopped, dice, tally):
    disturbed = stopped("single")
    for step in checkpoint_steps(disturbed.checkpoints):
        folder = disturbed.checkpoints / str(step) / "arrays"
        damage(dice.choice(sorted(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size)), dice)
    steps, metrics = checkpoint_steps(disturbed.checkpoints), disturbed.run_dirs[0] / "metrics.jsonl"
    before = metrics.read_bytes()
    with pytest.raises(UserError, match=r"every checkpoint .* is damaged.*missing or have changed: arrays/") as error:
        resume_and_compare(disturbed, MessageRecorder())
    assert all(f"checkpoints/{step} is damaged" in str(error.value) for step in steps)
    assert metrics.read_bytes() == before
    tally.add(f"every checkpoint: {damage.__name__}")


@pytest.mark.parametrize(
    "torn", ['{"step": 33, "epo', pytest.param("\0\0\0\0", marks=SLOW), pytest.param('{"step": 1}', marks=SLOW)]
)
def test_an_incomplete_last_line_of_metrics_is_left_out(torn, stopped, tally):
    disturbed = stopped("single")
    with (disturbed.run_dirs[0] / "metrics.jsonl").open("a") as file:
        file.write(torn)
    disturbed.resume_and_compare()
    tally.add("the last line of metrics torn")


def test_metrics_after_the_checkpoint_that_a_run_resumes_from_are_written_once(stopped, tally):
    disturbed = stopped("single")
    newest = checkpoint_steps(disturbed.checkpoints)[-1]
    lines = (disturbed.run_dirs[0] / "metrics.jsonl").read_text().splitlines()
    shutil.rmtree(disturbed.checkpoints / str(newest))
    before = checkpoint_steps(disturbed.checkpoints)[-1]
    assert any(json.loads(line)["step"] > before for line in lines)
    disturbed.resume_and_compare()
    tally.add("lines of metrics after the checkpoint gone on from")


def test_metrics_that_were_removed_before_a_checkpoint_are_reported(stopped, tally):
    disturbed = stopped("single")
    metrics = disturbed.run_dirs[0] / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:1] + lines[2:]))
    kept = metrics.read_bytes()
    damaged = r"metrics\.jsonl is damaged: it records .* training steps up to .* were made.* move the folder .* away"
    with pytest.raises(UserError, match=damaged):
        resume_and_compare(disturbed, MessageRecorder())
    assert metrics.read_bytes() == kept
    tally.add("a line of metrics removed")


def test_a_run_is_not_resumed_in_the_directory_of_another_run(stopped, tally):
    disturbed = stopped("single")
    other = dataclasses.replace(disturbed.experiments[0], seed=77)
    shutil.copytree(disturbed.run_dirs[0], disturbed.runs_dir / other.name / other.digest)
    with pytest.raises(
        UserError, match=r"config\.json belongs to another run: its digest is.*Move its folder away and"
    ):
        train(other, Options(runs_dir=disturbed.runs_dir, data_dir=disturbed.data_dir, reporter=MessageRecorder()))
    tally.add("a run's directory under another's name")


@SLOW
def test_missing_data_are_prepared_again(stopped, tally, tmp_path):
    disturbed = stopped("single")
    dataclasses.replace(disturbed, data_dir=tmp_path / "nowhere").resume_and_compare()
    tally.add("the data gone")


@SLOW
def test_a_run_without_its_checkpoints_reports_that_it_starts_again(stopped, tally):
    disturbed = stopped("single")
    shutil.rmtree(disturbed.checkpoints)
    said = MessageRecorder()
    resume_and_compare(disturbed, said)
    assert any("it starts again from step 0" in message for message in said.messages)
    disturbed.resume_and_compare()
    tally.add("all checkpoints gone")
