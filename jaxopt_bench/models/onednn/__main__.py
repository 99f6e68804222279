"""`python -m jaxopt_bench.models.onednn` builds the kernels, which is what `make kernels` runs."""

from __future__ import annotations

import ctypes
import os
import pathlib
import shlex
import subprocess
import sys

import jax

from jaxopt_bench.models.onednn import LIBRARY, SOURCE, source_digest


def build(library: pathlib.Path) -> None:
    """Compiles `convolution.cc` with $CXX (g++), $CXXFLAGS and $LDFLAGS, whole or not at all.

    Args:
      library: where to.

    Raises:
      SystemExit: with what is missing, where it cannot be built.
    """
    compiler = shlex.split(os.environ.get("CXX") or "g++")
    flags, libraries = (shlex.split(os.environ.get(name, "")) for name in ("CXXFLAGS", "LDFLAGS"))
    made = library.with_suffix(f".{os.getpid()}.so")
    flags = ["-O2", "-std=c++17", "-shared", "-fPIC", f'-DSOURCE_DIGEST="{source_digest()}"', *flags]
    command = [*compiler, *flags, "-isystem", jax.ffi.include_dir(), str(SOURCE), *libraries, "-ldnnl", "-o", str(made)]
    try:
        subprocess.run(command, check=True)
        ctypes.CDLL(str(made))
        made.replace(library)
    except FileNotFoundError:
        sys.exit(f"there is no compiler {compiler[0]!r}; accepted: CXX=the command of a C++17 compiler.")
    except subprocess.CalledProcessError:
        sys.exit(
            "the kernels could not be built. They need oneDNN 2.6 or later with its headers: Debian's libdnnl-dev, or "
            "conda's onednn with CXXFLAGS=-I… and LDFLAGS='-L… -Wl,-rpath,…'. Without them all works, more slowly."
        )
    except OSError as error:
        sys.exit(
            f"the kernels were built, but cannot be loaded: {error}. Say where oneDNN is: LDFLAGS='-L… -Wl,-rpath,…'."
        )
    finally:
        made.unlink(missing_ok=True)


def main() -> None:
    """Builds the kernels beside their source, and says by which oneDNN they compute."""
    build(LIBRARY)
    said = "from jaxopt_bench.models import onednn; print('convolutions by oneDNN', onednn.version())"
    subprocess.run([sys.executable, "-W", "error::UserWarning", "-c", said], check=True)


if __name__ == "__main__":
    main()
