"""Compiles the library of this package. Only a C++17 compiler is needed; without oneDNN some functions are left out.

A library that is already built works without this module.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import shlex
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile

import jax

from jaxopt_bench.errors import UserError
from jaxopt_bench.kernels import LIBRARY, source_digest, sources

NEED_ONEDNN = ("convolution.cc", "onednn.cc", "product.cc")
"""The sources that are compiled only if oneDNN is found."""

# The last two let the compiler compute several square roots at a time: no code reads the error flags of roots.
_FLAGS = ("-O3", "-std=c++17", "-shared", "-fPIC", "-pthread", "-fno-math-errno", "-fno-trapping-math")
_COMPILERS = ("c++", "g++", "clang++")
_PROBE = '#include "dnnl.h"\nconst void* probe() { return dnnl_version(); }\n'


def build(library: pathlib.Path = LIBRARY) -> None:
    """Compiles the sources into a library and checks that it loads. If this fails, the old library is kept.

    $CXX is the compiler (else c++, g++ or clang++), and $CXXFLAGS and $LDFLAGS are passed to it. oneDNN is searched for
    in the folders of these flags, then in the folders of pip and conda for this Python, then in the system's folders.

    Args:
      library: the file to write.

    Raises:
      UserError: if there is no compiler or it fails, or the library cannot be loaded or its folder cannot be written.
    """
    compiler = find_compiler()
    made = library.with_suffix(f".{os.getpid()}.so")
    try:
        made.touch()  # fails before the compiler runs if the folder cannot be written
        _compile(compiler, made)
        ctypes.CDLL(str(made))
        made.replace(library)
    except subprocess.CalledProcessError as error:
        raise UserError(f"the compiler {shlex.join(compiler)} failed:\n{error.stderr.strip()}") from error
    except OSError as error:
        if not made.exists():
            raise UserError(
                f"the folder {library.parent} cannot be written: {error.strerror}. Expected: a folder that you may "
                "write, as in a virtual environment of your own."
            ) from error
        raise UserError(
            f"the kernels were compiled, but cannot be loaded: {error}. If oneDNN is in another folder, name it with "
            "LDFLAGS='-L… -Wl,-rpath,…'."
        ) from error
    finally:
        if made.is_file():
            made.unlink()


def find_compiler() -> list[str]:
    """Returns the command of the C++ compiler.

    Raises:
      UserError: if there is no compiler.
    """
    named = shlex.split(os.environ.get("CXX", ""))
    for command in [named] if named else [[name] for name in _COMPILERS]:
        if shutil.which(command[0]):
            return command
    raise UserError(
        f"there is no C++ compiler ({named[0] if named else ', '.join(_COMPILERS)}). Install one (Debian: apt install "
        "g++; macOS: xcode-select --install; conda: cxx-compiler), or name one with CXX."
    )


def _compile(compiler: list[str], made: pathlib.Path) -> None:
    """Compiles all sources; without oneDNN, only those that do not need it."""
    given, libraries = (shlex.split(os.environ.get(name, "")) for name in ("CXXFLAGS", "LDFLAGS"))
    prefixes = _prefixes()
    flags = [*_FLAGS, *given, *(f"-I{prefix / 'include'}" for prefix in prefixes)]
    for prefix in prefixes:
        libraries += [f"-L{prefix / 'lib'}", f"-Wl,-rpath,{prefix / 'lib'}"]
    files = sources("*.cc")
    if _finds_onednn([*compiler, *flags], libraries):
        libraries += ["-ldnnl"]
    else:
        files = [path for path in files if path.name not in NEED_ONEDNN]
    flags += [f'-DSOURCE_DIGEST="{source_digest()}"', "-isystem", jax.ffi.include_dir()]
    _run([*compiler, *flags, *map(str, files), *libraries, "-o", str(made)])


def _prefixes() -> list[pathlib.Path]:
    """Returns the folders in which pip or conda has installed oneDNN's headers and library for this Python."""
    folders = [pathlib.Path(path) for path in (sys.prefix, sysconfig.get_path("data"), site.getuserbase())]
    return [folder for folder in dict.fromkeys(folders) if (folder / "include" / "dnnl.h").exists()]


def _finds_onednn(command: list[str], libraries: list[str]) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        probe = pathlib.Path(folder, "probe.cc")
        probe.write_text(_PROBE, encoding="utf-8")
        try:
            _run([*command, str(probe), *libraries, "-ldnnl", "-o", str(probe.with_suffix(".so"))])
        except subprocess.CalledProcessError:
            return False
    return True


def _run(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, errors="replace")
