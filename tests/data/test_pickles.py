"""Pickle files of CIFAR's Python version: they are read as by Python's own unpickler, and no code in them runs."""

from __future__ import annotations

import hashlib
import os
import pickle
import pickletools
import random
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxopt_bench.data import pickles
from tests.data.pickled import python2_pickle
from tests.mutations import scrambled

PIXELS = np.random.default_rng(0).integers(0, 256, (300, 3072), np.uint8)
VALUES: dict[bytes, Any] = {
    b"batch_label": b"training batch 1 of 5",
    b"labels": [i % 10 for i in range(300)],
    b"data": PIXELS,
    b"filenames": [f"leptodactylus_s_{i:06}.png".encode() for i in range(300)],
}
CLASSES = b"airplane automobile bird cat deer dog frog horse ship truck".split()


def same(found: dict[str, Any], expected: dict[bytes, Any]) -> bool:
    return list(found) == [key.decode() for key in expected] and all(
        np.array_equal(value, expected[key.encode()]) and type(value) is type(expected[key.encode()])
        for key, value in found.items()
    )


def test_the_official_list_of_names_is_read() -> None:
    content = python2_pickle({b"num_cases_per_batch": 10000, b"label_names": CLASSES, b"num_vis": 3072})
    # The checksum of the official file `batches.meta`, as recorded in torchvision.
    assert hashlib.md5(content).hexdigest() == "5ff9c542aee3614f3951f8cda6e48888"
    assert pickles.read(content) == {"num_cases_per_batch": 10000, "label_names": CLASSES, "num_vis": 3072}


def test_a_file_of_python_2_is_read_as_by_pythons_unpickler() -> None:
    content = python2_pickle(VALUES)
    assert same(pickles.read(content), pickle.loads(content, encoding="bytes"))
    assert same(pickles.read(content), VALUES)


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize("order", ["C", "F"])
def test_files_of_python_3_are_read(protocol: int, order: Any) -> None:
    values = {**VALUES, b"data": np.asarray(PIXELS[:40], order=order)}
    assert same(pickles.read(pickle.dumps(values, protocol)), values)


def u(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


DTYPE = b"cnumpy\ndtype\n" + u(b"u1") + b"K\0K\x01\x87R(K\x03" + u(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85" + u(b"b") + b"\x87R"
HOSTILE = {
    "GLOBAL": b"cos\nsystem\n" + u(b"touch RAN") + b"\x85R.",
    "STACK_GLOBAL": b"\x8c\x02os\x8c\x06system\x93" + u(b"touch RAN") + b"\x85R.",
    "STACK_GLOBAL of numbers": b"K\x01K\x02\x93.",
    "INST": b"(" + u(b"touch RAN") + b"ios\nsystem\n.",
    "OBJ": b"(cos\nsystem\n" + u(b"touch RAN") + b"o.",
    "NEWOBJ": b"cos\nsystem\n" + u(b"touch RAN") + b"\x85\x81.",
    "NEWOBJ_EX": b"cos\nsystem\n" + u(b"touch RAN") + b"\x85}\x92.",
    "builtins": b"cbuiltins\nexec\n" + u(b"open('RAN', 'w')") + b"\x85R.",
    "a dotted name": b"\x8c\x05numpy\x8c\x0endarray.__init__\x93.",
    "numpy's loader of libraries": b"cnumpy\nload\n" + u(b"RAN") + b"\x85R.",
    "another use of _codecs": b"c_codecs\nencode\n" + u(b"x") + u(b"rot13") + b"\x86R.",
    "_reconstruct of another class": ARRAY.replace(b"numpy\nndarray", b"os\nsystem") + b".",
    "_reconstruct of a huge array": (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nJ\xff\xff\xff\x7f\x85" + u(b"b") + b"\x87R."
    ),
    "calling ndarray": b"cnumpy\nndarray\n(J\xff\xff\xff\x7fJ\xff\xff\xff\x7ft\x85R.",
    "an object dtype": b"cnumpy\ndtype\n" + u(b"O8") + b"K\0K\x01\x87R.",
    "a structured dtype": DTYPE.replace(b"NNN", b"N(K\x01t}", 1) + b".",
    "a dtype built twice": DTYPE + b"(K\x03" + u(b"|") + b"NNNK\0K\0K?tb.",
    "a list of objects as content": ARRAY + b"(K\x01K\x01\x85" + DTYPE + b"\x89(cos\nsystem\nltb.",
    "a shape that is too large": ARRAY + b"(K\x01J\xff\xff\xff\x7f\x85" + DTYPE + b"\x89" + u(b"abc") + b"tb.",
    "a negative shape": ARRAY + b"(K\x01J\xff\xff\xff\xffJ\xfd\xff\xff\xff\x86" + DTYPE + b"\x89" + u(b"abc") + b"tb.",
    "a huge number as shape": ARRAY + b"(K\x01\x8b\x40\x42\x0f\0" + b"\x7f" * 10**6 + b"\x85" + DTYPE + b"\x89U\0tb.",
    "an array of no dtype": ARRAY + b"(K\x01K\x03\x85N\x89" + u(b"abc") + b"tb.",
    "BUILD of a dictionary": b"}}" + u(b"__class__") + b"K\x01sb.",
    "PERSID": b"Pid\n.",
    "BINPERSID": b"K\x01Q.",
    "EXT1": b"\x82\x01.",
    "EXT4": b"\x84\xff\xff\xff\x7f.",
    "a buffer": b"\x97.",
    "a bytearray of a huge size": b"\x96" + struct.pack("<Q", 2**40) + b"x.",
    "bytes of a huge size": b"\x8e" + struct.pack("<Q", 2**62) + b"x.",
    "a string of a huge size": b"T\xff\xff\xff\x7fx.",
    "a number of a huge size": b"\x8b\xff\xff\xff\x7fx.",
    "a number of many digits": b"L" + b"9" * 200_000 + b"L\n.",
    "a set": b"\x8f.",
    "a frozen set": b"(\x91.",
    "nothing": b"",
    "no STOP": b"}",
    "too few values": b"\x80\x02\x87.",
    "no mark": b"}u.",
    "values below a mark": b"}](a.",
    "an unknown memo": b"h\x05.",
    "keys that are numbers": b"}K\x01K\x02s.",
    "keys that are deep tuples": b"}" + b")" + b"\x85" * 300_000 + b"K\x01s.",
    "an odd number of items": b"}(" + u(b"a") + b"u.",
    "appending to a number": b"K\x01K\x02a.",
    "a list": b"].",
    "an unknown instruction": b"\xff.",
    "a pop": b"}K\x010.",
    "a copy": b"}2\x86.",
    "text": b"<!DOCTYPE html><html>the archive has moved</html>",
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_all_other_pickles_are_refused_and_no_code_runs(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickles.RefusedPickleError, match=r"^it "):
        pickles.read(HOSTILE[case])
    assert not list(tmp_path.iterdir())


def test_the_hostile_files_run_code_in_pythons_unpickler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for case in ("GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "builtins"):
        pickle.loads(HOSTILE[case])
        (tmp_path / "RAN").unlink()


def test_the_error_names_the_instruction_and_its_position() -> None:
    with pytest.raises(pickles.RefusedPickleError, match=r"it names 'os\.system'.*GLOBAL at byte 0"):
        pickles.read(HOSTILE["GLOBAL"])
    with pytest.raises(pickles.RefusedPickleError, match=r"instruction PERSID at byte 0"):
        pickles.read(HOSTILE["PERSID"])


LARGE = {
    "memo of nothing": b"r\xff\xff\xff\x7f.",
    "large memo": b"}r\xff\xff\xff\x7f.",  # Python's unpickler allocates a table of 16 GB for this memo
    "large bytes": b"\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "many values": b"}" + b"N" * 3_000_000 + b".",
    "deep lists": b"]" * 900_000 + b"a" * 899_999 + b".",
    "deep tuples": b")" + b"\x85" * 900_000 + b".",
}
"""Small files that describe large values."""


def test_hostile_small_files_take_little_memory_and_time(tmp_path: Path) -> None:
    """One process with limited memory reads all files."""
    program = (
        "import pathlib, resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))\n"
        "from jaxopt_bench.data import pickles\n"
        "for path in sys.argv[1:]:\n"
        "    try: pickles.read(pathlib.Path(path).read_bytes())\n"
        "    except pickles.RefusedPickleError: pass\n"
        "    print(pathlib.Path(path).name, flush=True)\n"
    )
    for name, content in LARGE.items():
        (tmp_path / name).write_bytes(content)
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program, *(str(tmp_path / name) for name in LARGE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert (done.returncode, done.stdout.splitlines()) == (0, [*LARGE]), done.stderr


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.9999])
def test_a_truncated_file_is_refused(share: float) -> None:
    content = python2_pickle(VALUES)
    with pytest.raises(pickles.RefusedPickleError):
        pickles.read(content[: int(share * len(content))])


@pytest.mark.parametrize("times", [1000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_a_scrambled_file_is_refused_or_gives_only_plain_values(times: int) -> None:
    content = python2_pickle({**VALUES, b"data": PIXELS[:2, :9], b"labels": [1, 2], b"filenames": [b"a", b"b"]})
    refused = 0
    for i in range(times):
        made = scrambled(content, random.Random(i))
        try:
            found = pickles.read(made)
        except pickles.RefusedPickleError:
            refused += 1
        else:
            pending: list[Any] = [found]
            while pending:
                value = pending.pop()
                assert type(value).__module__ in ("builtins", "numpy", pickles.__name__)
                pending += (
                    value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
                )
    assert times / 4 < refused < times


def test_no_instruction_that_calls_a_function_is_supported() -> None:
    known = {name for name in vars(pickles._Machine) if name.startswith("_do_")}
    calling = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER"}
    assert calling < {opcode.name for opcode in pickletools.opcodes}, "the names are those of Python's list"
    assert not {f"_do_{name.lower()}" for name in calling} & known
