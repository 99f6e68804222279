"""`python -m jaxopt_bench`."""

from jaxopt_bench.cli import main

if __name__ == "__main__":
    main()
