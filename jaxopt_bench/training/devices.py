"""Several devices, of one or several processes: which members each device computes, and which part of every batch.

The members are divided first, since they are independent of each other. The number of parts is the greatest common
divisor of the numbers of members and devices. The devices of a part share the batches of its members, and sum up their
gradients and batch statistics. This division is only a matter of the placement of arrays: loops and steps do not depend
on the number of devices.
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
    """Returns the devices as a grid: rows divide the members, columns divide the batches; None for one device."""
    if path.devices == 1:
        return None
    grid = np.array(_used(path.devices)).reshape(rows(path, members), -1)
    return Mesh(grid, (_MEMBERS, _BATCH), axis_types=(AxisType.Auto, AxisType.Auto))


def _used(count: int) -> list[jax.Device]:
    """Returns `count` devices, an equal number from each process, ordered by process."""
    processes = range(jax.process_count())
    return [d for process in processes for d in jax.local_devices(process)[: count // len(processes)]]


def rows(path: CodePath, members: int) -> int:
    """Returns the number of parts into which the members are divided."""
    return math.gcd(path.devices, members)


def shardings(path: CodePath, members: int) -> tuple[NamedSharding | None, NamedSharding | None]:
    """Returns the shardings of stacked arrays and of arrays that all members read; None for each with one device."""
    mesh = mesh_of(path, members)
    if mesh is None:
        return None, None
    return NamedSharding(mesh, PartitionSpec(_MEMBERS)), NamedSharding(mesh, PartitionSpec())


def replicated_sharding(path: CodePath) -> NamedSharding | None:
    """Returns the sharding of arrays that all members read, for any number of members."""
    return shardings(path, 1)[1]


def shard_over_devices(tree: T, where: NamedSharding | None) -> T:
    """Returns arrays placed by a sharding. With several processes, each process gives its devices their part.

    All processes must give equal arrays. This is not checked, since JAX's check treats NaN as different from itself.
    """
    if where is None or where.is_fully_addressable:
        return jax.device_put(tree, where)
    return jax.tree.map(lambda leaf: _from_each(leaf, where), tree)


def _from_each(leaf: Any, where: NamedSharding) -> jax.Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, where)
    own = np.asarray(leaf)
    return jax.make_array_from_callback(own.shape, where, lambda index: own[index])


def fetch_to_host(tree: T) -> T:
    """Returns arrays on this process's host. If several processes hold parts of them, all processes must call this."""
    return jax.device_get(jax.tree.map(_whole, tree))


def _whole(leaf: Any) -> Any:
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return leaf
    return multihost_utils.process_allgather(leaf, tiled=True)


def per_row(function: Callable[[int], Callable[..., Any]], path: CodePath, members: int) -> Callable[..., Any]:
    """Returns a function of all members' arrays, stacked, that each row of devices applies to its own members.

    Args:
      function: returns, for a number of members, a function of a tuple of shared arrays and of these members' arrays.
      path: the code path, with the number of devices.
      members: the number of members of all rows together.
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
    """Checks that the number of members or the batch size is a multiple of the number of devices.

    Raises:
      UserError: if neither of the two is a multiple of it.
    """
    if members % path.devices and size % path.devices:
        raise UserError(
            f"neither {members} run{'s' if members > 1 else ''} nor Workload.batch_size, which is {size}, can be "
            f"divided among {path.devices} devices. Expected: a multiple of {path.devices} for one of the two, or "
            "another number of devices."
        )


def shard_batch(batch: T, path: CodePath, members: int) -> T:
    """Returns a batch, or any arrays of its examples, such that each device of a row holds a part.

    Each device holds the whole of an array that cannot be divided into so many parts.
    """
    mesh = mesh_of(path, members)
    if mesh is None or (parts := mesh.shape[_BATCH]) == 1:
        return batch
    within = jax.sharding.get_abstract_mesh()  # the mesh of `per_row`, which has divided the members manually
    where = NamedSharding(mesh if within.empty else within, PartitionSpec(_BATCH))
    place = lambda leaf: leaf if len(leaf) % parts else jax.lax.with_sharding_constraint(leaf, where)  # noqa: E731
    return jax.tree.map(place, batch)
