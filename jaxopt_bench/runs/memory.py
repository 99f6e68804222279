"""The number of runs to train together: as many as fit into memory, in waves of about equal sizes."""

from __future__ import annotations

import math
import resource

import jax
import psutil

from jaxopt_bench.problems import Examples
from jaxopt_bench.runs.environment import thread_count
from jaxopt_bench.runs.processes import broadcast_from_first_process, min_over_processes
from jaxopt_bench.training import Program, Task, largest_population

MEBIBYTE = 1 << 20
SHARE_OF_MEMORY = 0.9  # the share of the free memory that a population may use
FILES_EACH, USUAL_FILES = 8, 512  # open files of one member (its lock and event files), and all other open files


def largest_that_fits(task: Task, data: Examples, wanted: int) -> tuple[int, Task]:
    """Returns how many members, from 1 to `wanted`, fit into the free memory.

    With several processes, the smallest free memory of all processes counts. The result is 1 even if one member does
    not fit.

    If the code path leaves open whether members are trained side by side, and not all of them fit in this way, they are
    trained one after the other.

    Args:
      task: the task of one of the members.
      data: the training split.
      wanted: the number of members to train.

    Returns:
      The number, and the task with the code path for it.
    """
    available = SHARE_OF_MEMORY * _free_memory()
    if task.code_path.side_by_side is None:
        if wanted == 1 or _need(task.side_by_side(thread_count()), data, wanted) <= available:
            return wanted, task
        task = task.side_by_side(1)
    return broadcast_from_first_process(
        largest_population(lambda members: _need(task, data, members), wanted, available)
    ), task


def _need(task: Task, data: Examples, members: int) -> float:
    """Returns the bytes of memory that members need; infinite if even the compiler runs out of memory."""
    try:
        return Program(task, members).needed_bytes(data)
    except jax.errors.JaxRuntimeError as error:  # the compiler also runs parts of the program on the device
        if is_out_of_memory(error):
            return math.inf
        raise


def size_of_wave(count: int, largest: int, devices: int) -> int:
    """Returns how many runs the next wave trains, so that all waves have about equal sizes.

    Args:
      count: the number of runs that still have to be trained.
      largest: the number of runs that fit into memory together.
      devices: the number of devices; if possible, the result is a multiple of it.
    """
    even = math.ceil(count / math.ceil(count / largest))
    full = min(math.ceil(even / devices) * devices, largest // devices * devices)
    return full if devices <= full <= count else even


def is_out_of_memory(error: jax.errors.JaxRuntimeError) -> bool:
    """Returns whether an error of the backend means that a device is out of memory."""
    return "RESOURCE_EXHAUSTED" in str(error)


def allow_open_files(members: int) -> None:
    """Raises this process's limit on open files to the number that `members` need, as far as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = USUAL_FILES + FILES_EACH * members
    if soft != resource.RLIM_INFINITY and soft < wanted:
        within = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (within, hard))


def _free_memory() -> float:
    """Returns the free bytes of memory of the device or the host; with several processes, the smallest such number."""
    stats = jax.local_devices()[0].memory_stats() or {}
    known = "bytes_limit" in stats
    free = stats["bytes_limit"] - stats["bytes_in_use"] if known else psutil.virtual_memory().available
    return min_over_processes(free // MEBIBYTE) * MEBIBYTE
