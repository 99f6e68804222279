"""The entry point: finds the command, calls it, prints errors, and exits with its code."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
import traceback
import warnings
from collections.abc import Mapping, Sequence
from typing import NoReturn

from jaxopt_bench import interrupts
from jaxopt_bench.cli import streams
from jaxopt_bench.cli.command import COMPLETED, FAILED, HELP, MISUSED, Command
from jaxopt_bench.errors import UserError, unknown_name, without_middle

COMMANDS: Mapping[str, str] = {
    "run": "jaxopt_bench.cli.run",
    "sweep": "jaxopt_bench.cli.sweep",
    "compare": "jaxopt_bench.cli.compare",
    "results": "jaxopt_bench.cli.results",
    "report": "jaxopt_bench.cli.report",
    "list": "jaxopt_bench.cli.listing",
    "show": "jaxopt_bench.cli.show",
    "data": "jaxopt_bench.cli.data",
    "optimizers": "jaxopt_bench.cli.optimizers",
    "doctor": "jaxopt_bench.cli.doctor",
    "kernels": "jaxopt_bench.cli.kernels",
}
"""The module of each command. Its `parse` makes a call of the remaining arguments. Only the module of the given command
is imported, because JAX takes seconds to import."""

TRAINING = ("run", "sweep", "compare")
"""The commands that can be resumed."""
INTERRUPTED = "interrupted"

LAST_WORDS = 2.0
"""Seconds that process 0 waits after an error, so that the other processes can print their own errors before its exit
ends them."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits.

    Exit codes: 0 completed, 1 an error, 2 misuse, 3 diverged, 4 worse (`compare --fail-if-worse-than`); 128 plus the
    signal's number (130, 143) interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        command = parse(words)
    except Exception as error:
        _fail(error, debug, MISUSED)

    # This imports JAX, which help and errors do not need.
    from jaxopt_bench.runs.signals import Interrupted, describe_resuming

    resumes = f"{describe_resuming('--fresh' in words)} to resume from the last checkpoint."
    try:
        with interrupts.interruptible(resumes if words[0] in TRAINING else INTERRUPTED):
            code = command()
        if (failure := streams.output_error()) is not None:  # the command did not stop for it
            raise UserError(f"standard output could not be written: {failure.strerror}.")
    except Interrupted as stop:  # before KeyboardInterrupt, because it may be a subclass of it
        interrupts.say(str(stop))
        sys.exit(128 + stop.signal)  # if there are several processes, all were stopped, so a normal exit works
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, KeyboardInterrupt) or interrupts.was_interrupted():  # a library may have wrapped it
            interrupts.say_interrupted()
            _leave(interrupts.CODE)
        _fail(error, debug, FAILED)
    sys.exit(code)


def parse(words: Sequence[str]) -> Command:
    """Returns the command for the arguments.

    Raises:
      UserError: for an unknown command or name, or a value that a field does not accept.
      SystemExit: after printing help (0), or for flags that cannot be parsed (2).
    """
    for word in words:
        if not word.isascii() and any("\ud800" <= character <= "\udfff" for character in word):
            raise UserError(f"the argument {word!a} is not UTF-8 text. Expected: names and paths in UTF-8.")
    if not words or words[0] in ("-h", "--help"):
        print(HELP)
        raise SystemExit(COMPLETED if words else MISUSED)
    if words[0] not in COMMANDS:
        raise unknown_name("command", words[0], COMMANDS)
    return importlib.import_module(COMMANDS[words[0]]).parse(words[1:])


def _fail(error: Exception, debug: bool, code: int) -> NoReturn:
    """Prints an error in one message, with its traceback only if `debug` is set, and exits."""
    if debug:
        traceback.print_exception(error)
    expected = isinstance(error, (UserError, OSError))
    said = str(error) if expected else f"{type(error).__name__}: {error} (--debug shows where)"
    said = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in said)  # no control characters
    print(f"error: {without_middle(said)}", file=sys.stderr)
    _leave(code)


def _leave(code: int) -> NoReturn:
    """Exits after an error. If there are several processes, it does not wait for the others, as they wait for it."""
    jax = sys.modules.get("jax")  # it is imported if there are several processes
    if jax is not None and jax.distributed.is_initialized():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a closed pipe; without an exit, the others would wait for minutes
                stream.flush()
        if jax.process_index() == 0:
            time.sleep(LAST_WORDS)
        os._exit(code)
    sys.exit(code)
