"""`python -m jaxopt_bench`, and the command `jaxopt-bench`."""

from __future__ import annotations

from jaxopt_bench.huge_pages import restart_with_huge_pages


def main() -> None:
    """Runs the command line, in a process with huge pages where there are any."""
    restart_with_huge_pages()

    from jaxopt_bench import cli  # after the restart: it takes a while to import

    cli.main()


if __name__ == "__main__":
    main()
