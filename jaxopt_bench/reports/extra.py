"""The check for packages that reports need beyond the core install."""

from __future__ import annotations

import importlib

from jaxopt_bench.errors import UserError

PACKAGES = ("altair", "contourpy", "jinja2", "tabulate", "vl_convert")


def check_extra() -> None:
    """Checks that the extra `report` is installed.

    Raises:
      UserError: with the name of the missing package, and how to install it.
    """
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            wanted = "pip install 'jaxopt-bench[report]'"
            raise UserError(f"pictures need the extra 'report' ({error}). Expected: {wanted}.") from error
