"""Reads the pickle files of CIFAR's Python version without executing them.

Python's own unpickler imports and calls any object that a file names. This module only parses the instructions of a
file. It accepts the instructions that make numbers, strings, lists, tuples and dictionaries, and the one sequence of
instructions by which NumPy describes an array of bytes. It refuses all other instructions, and never looks up a name in
a module.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import pickletools
from typing import Any

import numpy as np
from jaxtyping import UInt8

_MOST_INSTRUCTIONS = 1_000_000  # the largest official file has about 300,000


class RefusedPickleError(ValueError):
    """The file is damaged, or contains something other than arrays of bytes and plain data."""


class _Name(enum.Enum):
    """The names in NumPy's description of an array. The members are only compared, never called."""

    RECONSTRUCT = enum.auto()
    NDARRAY = enum.auto()
    DTYPE = enum.auto()
    ENCODE = enum.auto()


_NAMES = {
    "numpy.core.multiarray _reconstruct": _Name.RECONSTRUCT,
    "numpy._core.multiarray _reconstruct": _Name.RECONSTRUCT,  # from NumPy 2 on
    "numpy ndarray": _Name.NDARRAY,
    "numpy dtype": _Name.DTYPE,
    "_codecs encode": _Name.ENCODE,  # how Python 3 writes bytes for Python 2
}
_STRINGS = {"STRING", "BINSTRING", "SHORT_BINSTRING"}  # strings of Python 2, which are bytes
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


@dataclasses.dataclass(eq=False)
class _Array:
    """An array. Its bytes follow later in the file."""

    value: UInt8[np.ndarray, "..."] | None = None


class _Dtype:
    """The dtype `uint8`, the only one that is accepted."""


def read(content: bytes) -> dict[str, Any]:
    """Returns the dictionary that a pickle file describes.

    Args:
      content: the content of a file written by Python 2 or 3 without out-of-band buffers (protocols 0 to 4).

    Returns:
      The dictionary. Its keys are text, byte strings in it are `bytes`, and arrays are read-only NumPy arrays of
      `uint8`.

    Raises:
      RefusedPickleError: if the file is damaged or contains anything else. The message names the instruction and its
        position.
    """
    machine = _Machine()
    try:
        for count, (instruction, argument, position) in enumerate(pickletools.genops(content)):
            if count == _MOST_INSTRUCTIONS:
                raise RefusedPickleError(f"it has more than {_MOST_INSTRUCTIONS:,} instructions")
            try:
                machine.execute(instruction.name, argument)
            except RefusedPickleError as error:
                raise RefusedPickleError(f"{error} (instruction {instruction.name} at byte {position})") from error
    except RefusedPickleError:
        raise
    except (ValueError, OverflowError, MemoryError) as error:  # from the parser: truncated, or not an instruction
        raise RefusedPickleError(f"it is damaged ({str(error)[:200]})") from error
    return _to_dictionary(machine.result)


class _Machine:
    """The stack and the memo that the instructions use."""

    def __init__(self) -> None:
        self.result: Any = None
        self._stack: list[Any] = []
        self._marks: list[int] = []  # heights of the stack
        self._memo: dict[int, Any] = {}

    def execute(self, name: str, argument: Any) -> None:
        """Executes one instruction.

        Raises:
          RefusedPickleError: if plain data do not need this instruction.
        """
        if name in _STRINGS:
            self._stack.append(argument.encode("latin-1"))  # the parser has decoded it as latin-1
        elif name in _VALUES:
            self._stack.append(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self._stack.append(tuple(self._pop(_TUPLES[name])))
        elif method := getattr(self, f"_do_{name.lower()}", None):
            method(argument)
        else:
            raise RefusedPickleError(
                "it contains something other than arrays, lists, dictionaries, strings and numbers"
            )

    def _pop(self, count: int) -> list[Any]:
        bottom = self._marks[-1] if self._marks else 0
        if len(self._stack) - bottom < count:
            raise RefusedPickleError("it is damaged: too few values")
        values = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return values

    def _pop_to_mark(self) -> list[Any]:
        if not self._marks:
            raise RefusedPickleError("it is damaged: a mark is missing")
        height = self._marks.pop()
        values = self._stack[height:]
        del self._stack[height:]
        return values

    def _do_proto(self, _: object) -> None: ...

    def _do_frame(self, _: object) -> None: ...

    def _do_mark(self, _: object) -> None:
        self._marks.append(len(self._stack))

    def _do_stop(self, _: object) -> None:
        (self.result,) = self._pop(1)

    def _do_empty_list(self, _: object) -> None:
        self._stack.append([])

    def _do_list(self, _: object) -> None:
        self._stack.append(self._pop_to_mark())

    def _do_tuple(self, _: object) -> None:
        self._stack.append(tuple(self._pop_to_mark()))

    def _do_empty_dict(self, _: object) -> None:
        self._stack.append({})

    def _do_dict(self, _: object) -> None:
        values = self._pop_to_mark()
        self._stack.append({})
        self._set(values)

    def _do_append(self, _: object) -> None:
        self._extend(self._pop(1))

    def _do_appends(self, _: object) -> None:
        self._extend(self._pop_to_mark())

    def _do_setitem(self, _: object) -> None:
        self._set(self._pop(2))

    def _do_setitems(self, _: object) -> None:
        self._set(self._pop_to_mark())

    def _extend(self, values: list[Any]) -> None:
        (target,) = self._pop(1)
        if not isinstance(target, list):
            raise RefusedPickleError("it appends to something that is not a list")
        target.extend(values)
        self._stack.append(target)

    def _set(self, values: list[Any]) -> None:
        (target,) = self._pop(1)
        keys = values[::2]
        if not isinstance(target, dict) or len(values) % 2 or not all(isinstance(key, (str, bytes)) for key in keys):
            raise RefusedPickleError("it has a dictionary whose keys are not strings")
        target.update(zip(keys, values[1::2], strict=True))
        self._stack.append(target)

    def _do_put(self, index: int) -> None:
        (value,) = self._pop(1)
        self._stack.append(value)
        self._memo[index] = value

    _do_binput = _do_long_binput = _do_put

    def _do_memoize(self, _: object) -> None:
        self._do_put(len(self._memo))

    def _do_get(self, index: int) -> None:
        if index not in self._memo:
            raise RefusedPickleError("it is damaged: it refers to a value that does not exist")
        self._stack.append(self._memo[index])

    _do_binget = _do_long_binget = _do_get

    def _do_global(self, name: str) -> None:
        if name not in _NAMES:
            raise RefusedPickleError(
                f"it names {name.replace(' ', '.')[:100]!r}, which could be code. A data set only needs arrays, lists, "
                f"dictionaries, strings and numbers"
            )
        self._stack.append(_NAMES[name])

    def _do_stack_global(self, _: object) -> None:
        module, name = self._pop(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise RefusedPickleError("it is damaged: a name is not text")
        self._do_global(f"{module} {name}")

    def _do_reduce(self, _: object) -> None:
        called, arguments = self._pop(2)
        if not isinstance(arguments, tuple):
            raise RefusedPickleError("it is damaged: arguments are not a tuple")
        match called, *arguments:
            case _Name.RECONSTRUCT, _Name.NDARRAY, (0,), b"b":
                self._stack.append(_Array())
            case _Name.DTYPE, "u1" | b"u1", int(), int():
                self._stack.append(_Dtype())
            case _Name.ENCODE, str() as text, "latin1" | "latin-1":
                self._stack.append(text.encode("latin-1"))
            case _:
                raise RefusedPickleError("it contains something other than arrays of bytes (uint8)")

    def _do_build(self, _: object) -> None:
        target, state = self._pop(2)
        match target, state:
            case _Dtype(), (3, b"|" | "|", None, None, None, -1, -1, 0):
                pass
            case _Array(value=None), (1, tuple() as shape, _Dtype(), bool() | 0 | 1 as fortran, bytes() as content):
                fits = len(shape) <= 4 and all(type(size) is int and 0 <= size <= len(content) for size in shape)
                if not fits or math.prod(shape) != len(content):
                    raise RefusedPickleError("it has an array whose shape does not fit its size")
                array = np.frombuffer(content, np.uint8)
                target.value = array.reshape(shape, order="F") if fortran else array.reshape(shape)
            case _:
                raise RefusedPickleError("it contains something other than arrays of bytes (uint8)")
        self._stack.append(target)


def _to_dictionary(result: Any) -> dict[str, Any]:
    if not isinstance(result, dict):
        raise RefusedPickleError("it does not contain a dictionary")
    finished: dict[str, Any] = {}
    for key, value in result.items():
        text = key.decode("latin-1") if isinstance(key, bytes) else key
        finished[text] = value.value if isinstance(value, _Array) else value
    return finished
