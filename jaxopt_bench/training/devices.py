"""Several devices, of one process or of several: which members each computes, and which part of every batch.

The members are divided first, since they have nothing to tell each other: into as many parts as divide both their
number and that of the devices. The devices of a part share its members' batches, and sum up their gradients and batch
statistics. Which is which is a matter of placing arrays: no loop and no step knows how many devices there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxopt_bench.errors import UserError
from jaxopt_bench.training.code_path import CodePath

T = TypeVar("T")
_MEMBERS, _BATCH = "members", "batch"


def mesh_of(path: CodePath, members: int) -> Mesh | None:
    """Returns the devices as a grid, whose rows divide the members and whose columns the batches; None of one."""
    if path.devices == 1:
        return None
    grid = np.array(_used(path.devices)).reshape(rows(path, members), -1)
    return Mesh(grid, (_MEMBERS, _BATCH), axis_types=(AxisType.Auto, AxisType.Auto))


def _used(count: int) -> list[jax.Device]:
    """Returns so many devices, as many of each process, those of one after the other's."""
    processes = range(jax.process_count())
    return [d for process in processes for d in jax.local_devices(process)[: count // len(processes)]]


def rows(path: CodePath, members: int) -> int:
    """Returns into how many parts the members are divided."""
    return math.gcd(path.devices, members)


def shardings(path: CodePath, members: int) -> tuple[NamedSharding | None, NamedSharding | None]:
    """Returns where stacked arrays lie, and where those that all members read do; nowhere in particular with one."""
    mesh = mesh_of(path, members)
    if mesh is None:
        return None, None
    return NamedSharding(mesh, PartitionSpec(_MEMBERS)), NamedSharding(mesh, PartitionSpec())


def everywhere(path: CodePath) -> NamedSharding | None:
    """Returns where what all members read lies, however many members there are."""
    return shardings(path, 1)[1]


def placed(tree: T, where: NamedSharding | None) -> T:
    """Returns arrays where a sharding says; of several processes, each gives its devices their part.

    What they give must be the same, which is not checked: JAX, which would, has NaN differ from itself.
    """
    if where is None or where.is_fully_addressable:
        return jax.device_put(tree, where)
    return jax.tree.map(lambda leaf: _from_each(leaf, where), tree)


def _from_each(leaf: Any, where: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, where)
    own = np.asarray(leaf)
    return jax.make_array_from_callback(own.shape, where, lambda index: own[index])


def fetched(tree: T) -> T:
    """Returns arrays as whole ones of this process's host; where they lie with several, all must ask for them."""
    return jax.device_get(jax.tree.map(_whole, tree))


def _whole(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return leaf
    return multihost_utils.process_allgather(leaf, tiled=True)


def per_row(function: Callable[[int], Callable[..., Any]], path: CodePath, members: int) -> Callable[..., Any]:
    """Returns a function of all members' arrays, stacked, that each row of devices applies to its own.

    Args:
      function: returns it for a number of members, as a function of what they share, a tuple, and of their arrays.
      path: how many devices there are.
      members: how many members, all rows together.
    """
    mesh = mesh_of(path, members)
    if mesh is None or mesh.shape[_MEMBERS] == 1:
        return function(members)
    own, stacked, whole = function(members // mesh.shape[_MEMBERS]), PartitionSpec(_MEMBERS), PartitionSpec()

    def of_all(shared: tuple[Any, ...], *trees: Any) -> Any:
        specs = (whole, *(stacked for _ in trees))
        rows = jax.shard_map(own, mesh=mesh, in_specs=specs, out_specs=stacked, axis_names={_MEMBERS}, check_vma=False)
        return rows(shared, *trees)

    return of_all


def check_batch(path: CodePath, members: int, size: int) -> None:
    """Checks that no device would be without work, whatever part of the members is trained at once.

    Raises:
      UserError: where neither the members nor a batch divide into as many parts as there are devices.
    """
    if members % path.devices and size % path.devices:
        raise UserError(
            f"{path.devices} devices can share neither {members} run{'s' if members > 1 else ''} nor "
            f"Workload.batch_size, which is {size}. Expected: a multiple of {path.devices} of either, or another "
            "number of devices."
        )


def divided(batch: T, path: CodePath, members: int) -> T:
    """Returns a batch, or any arrays of its examples, of which each device of a row holds a part.

    What does not divide into as many parts is held whole by all.
    """
    mesh = mesh_of(path, members)
    if mesh is None or (parts := mesh.shape[_BATCH]) == 1:
        return batch
    within = jax.sharding.get_abstract_mesh()  # of `per_row`, which has divided the members by hand
    where = NamedSharding(mesh if within.empty else within, PartitionSpec(_BATCH))
    place = lambda leaf: leaf if len(leaf) % parts else jax.lax.with_sharding_constraint(leaf, where)  # noqa: E731
    return jax.tree.map(place, batch)
