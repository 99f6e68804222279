"""A run that is killed at any time, even repeatedly, has the same results as one that was not killed."""

from __future__ import annotations

import signal

import pytest

from tests.faults.harness import classify_write, writes

SLOW = pytest.mark.slow
METHODS = [("Evaluator._evaluate", 1), ("Evaluator._evaluate", 4), ("Recorder.write_test", 1), ("Recorder.complete", 1),
           ("Checkpoints._write", 3), ("Member.end", 1)]  # fmt: skip


@pytest.mark.parametrize("kind", ["single", pytest.param("population", marks=SLOW)])
@pytest.mark.parametrize("chain", [0, *(pytest.param(i, marks=SLOW) for i in range(1, 10))])
def test_a_run_survives_repeated_kills_during_writes(kind, chain, bench, dice, tally):
    disturbed = bench(kind)
    changes = writes(disturbed.whole)
    for _ in range(3 if chain == 0 else 6):
        last = dice.randint(1, len(changes) * 2 // 3)
        said = disturbed.folder / "said.txt"
        said.unlink(missing_ok=True)
        code, errors = disturbed.run_child(die_at_write=last, say=str(said))
        assert code in (0, -signal.SIGKILL), errors
        if code:
            *before, at = said.read_text().splitlines()
            tally.add(f"SIGKILL {classify_write(at, before)}, {kind}")
    disturbed.resume_and_compare()


@pytest.mark.parametrize(
    ("kind", "method", "time"),
    [(kind, method, time) for kind in ("single", "population") for method, time in METHODS],
)
@SLOW
def test_a_run_survives_a_kill_when_a_method_is_called(kind, method, time, bench, tally):
    disturbed = bench(kind)
    code, errors = disturbed.run_child(die_in=[method, time])
    assert code == -signal.SIGKILL, errors
    tally.add(f"SIGKILL in {method}, {kind}")
    disturbed.resume_and_compare()


@SLOW
@pytest.mark.parametrize("kind", ["single", "population"])
@pytest.mark.parametrize("chain", range(8))
def test_a_run_survives_repeated_kills_at_random_times(kind, chain, bench, dice, tally):
    disturbed = bench(kind)
    for _ in range(4):
        if disturbed.kill_after(dice.uniform(0, 0.6)):
            tally.add(f"SIGKILL at a random time, {kind}")
    disturbed.resume_and_compare()


@pytest.mark.parametrize("share", [0.9, 0.95, 0.999])
@SLOW
def test_a_run_survives_a_kill_between_its_last_checkpoint_and_its_summary(share, bench, tally):
    disturbed = bench("single")
    changes = writes(disturbed.whole)
    first = max(i for i, change in enumerate(changes, start=1) if "checkpoints/" in change)
    last = first + round(share * (len(changes) - first))
    code, errors = disturbed.run_child(die_at_write=last)
    assert code == -signal.SIGKILL, errors
    assert not (disturbed.run_dirs[0] / "summary.json").exists()
    tally.add("SIGKILL between the last checkpoint and summary.json, single")
    disturbed.resume_and_compare()
