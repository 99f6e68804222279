"""`python -m jaxopt_bench`, and the command `jaxopt-bench`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Runs the command line, in a process with huge pages if they are available."""
    try:
        from jaxopt_bench import interrupts

        interrupts.install_interrupt_handlers()
    except KeyboardInterrupt:
        os.write(2, b"interrupted; nothing was started\n")
        os._exit(130)

    from jaxopt_bench.huge_pages import restart_with_huge_pages

    restart_with_huge_pages()

    from jaxopt_bench import cli  # after the restart, because this import is slow
    from jaxopt_bench.cli.streams import prepare_output

    prepare_output("--debug" in sys.argv)
    try:
        cli.main()
    except SystemExit as end:
        interrupts.set_exit_code(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise


if __name__ == "__main__":
    main()
