"""Continues a study from its record, and kills itself with SIGKILL before a given rename in the record's folder."""

from __future__ import annotations

import os
import pathlib
import pickle
import signal
import sys
from typing import Any

from jaxopt_bench.compare import compare


def main() -> None:
    """Reads the study, the folders and the number of the rename from the file that the first argument names."""
    study, folder, record, data_dir, time = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
    left = [time]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and str(arguments[0]).startswith(str(record)):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    compare(study, folder, data_dir=data_dir, record=record)


if __name__ == "__main__":
    main()
