"""Ctrl-C at random times after the import of the package: one line of output and exit code 130."""

from __future__ import annotations

import collections
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from jaxopt_bench.huge_pages import TUNABLES
from tests.faults.harness import ROOT

PROGRAM = """
import os, runpy, sys, jaxopt_bench
os.write(1, b"imported\\n")
runpy.run_module("jaxopt_bench", run_name="__main__", alter_sys=True)
"""
COMMANDS = (
    ["run", "digits_cnn_sgd", "--epochs", "400", "--no-tensorboard"],
    ["sweep", "digits_cnn_sgd", "--epochs", "400", "--no-tensorboard", "--optimizer.learning-rate", "0.01,0.1"],
    ["compare", "digits"],
    ["results", "."],
    ["report", "."],
    ["list"],
    ["show", "digits_cnn_sgd"],
    ["doctor"],
    ["--help"],
)


def interrupted(words, seconds, number, folder) -> tuple[int, list[str]]:
    """Sends a signal to a command some seconds after the import, and returns its exit code and its standard error."""
    pipe = subprocess.PIPE
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop(TUNABLES, None)  # so that the command restarts itself
    command = [sys.executable, "-c", PROGRAM, *words]
    child = subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "imported\n"
    time.sleep(seconds)
    child.send_signal(number)
    _, errors = child.communicate(timeout=60)
    return child.returncode, [line for line in errors.splitlines() if line]


def check_interrupts(tries, dice, folder) -> collections.Counter[str]:
    """Interrupts commands at random times in their first seconds, and returns the counts of their exit codes."""
    ends: collections.Counter[str] = collections.Counter()
    for i in range(tries):
        words = COMMANDS[i % len(COMMANDS)]
        code, lines = interrupted(
            words, dice.uniform(0.002, 6 if words[0] in ("run", "sweep") else 3), signal.SIGINT, folder
        )
        assert not any("Traceback" in line or "Exception ignored" in line for line in lines), (words, lines)
        if code != 130:  # the command had ended before
            assert code in (0, 1), (words, code, lines)
            assert words[0] in ("results", "report", "list", "show", "doctor", "--help"), (words, code, lines)
            assert not any("interrupt" in line for line in lines), (words, lines)
        else:
            said = [line for line in lines if line.startswith("interrupted")]
            assert len(said) == 1, (words, lines)
            assert all(line.startswith(("interrupted", "stopping")) for line in lines), (words, lines)
        ends[f"{words[0]}: {code}"] += 1
    return ends


def test_ctrl_c_at_any_time_prints_one_line_and_exits_with_130(tmp_path):
    check_interrupts(5, random.Random(1), tmp_path)


@pytest.mark.slow
def test_ctrl_c_at_a_hundred_times_prints_one_line_and_exits_with_130(tmp_path):
    ends = check_interrupts(100, random.Random(2), tmp_path)
    print(f"\n{dict(sorted(ends.items()))}")
    assert sum(count for end, count in ends.items() if end.endswith("130")) > 50


def test_sigterm_before_training_ends_the_process_silently(tmp_path):
    assert interrupted(["run", "digits_cnn_sgd"], 0.5, signal.SIGTERM, tmp_path) == (-signal.SIGTERM, [])


GUARDED = """
import os, signal, sys
from jaxopt_bench import interrupts
interrupts.install_interrupt_handlers()
"""


@pytest.mark.parametrize(
    "body",
    [
        "with interrupts.interruptible('stopped'):\n"
        "    try: os.kill(os.getpid(), signal.SIGINT)\n"
        "    except BaseException: pass\n"
        "    while True: signal.pause()",  # swallowed, but the process ends
        "class C:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGINT); [0 for _ in range(9)]\n"
        "with interrupts.interruptible('stopped'):\n"
        "    c = C(); del c\n"
        "    while True: signal.pause()",  # raised in a destructor: Python prints and drops it
        "interrupts._Process.message = 'stopped'\n"
        "import atexit; atexit.register(os.kill, os.getpid(), signal.SIGINT)",  # at exit
    ],
)
def test_code_that_swallows_ctrl_c_does_not_keep_the_process_alive(body):
    program = f"{GUARDED}interrupts.GRACE = 1\n{body}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (130, "stopped\n")


def test_a_command_can_continue_after_ctrl_c_with_all_its_time():
    body = """
import time
interrupts.GRACE = 1
with interrupts.interruptible('stopped'):
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        interrupts.continue_after_interrupt()
    time.sleep(1.5)  # longer than the time after which the process would have ended
    print('written', interrupts.was_interrupted(), flush=True)
    try:
        os.kill(os.getpid(), signal.SIGINT)  # is noticed again
    except KeyboardInterrupt:
        print('again', flush=True)
    while True: signal.pause()
"""
    done = subprocess.run([sys.executable, "-c", GUARDED + body], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (130, "written False\nagain\n", "stopped\n")


def test_exit_handlers_run_and_output_is_written_before_the_process_ends():
    program = f"{GUARDED}import atexit; atexit.register(print, 'handled'); interrupts.set_exit_code(7); print('said')"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (7, "said\nhandled\n", "")


@pytest.mark.parametrize(("flags", "shown"), [([], False), (["--debug"], True)])
def test_exceptions_in_destructors_are_shown_with_debug_only(flags, shown):
    script = (
        "from jaxopt_bench import interrupts; interrupts.install_interrupt_handlers(); interrupts.set_exit_code(0)\n"
    )
    script += "class Broken:\n    def __del__(self): raise RuntimeError('Event loop is closed')\nBroken()"
    done = subprocess.run([sys.executable, "-c", script, *flags], capture_output=True, text=True)
    assert done.returncode == 0
    assert ("Event loop is closed" in done.stderr) == shown
