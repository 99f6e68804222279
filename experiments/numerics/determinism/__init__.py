"""Measures which circumstances change a run's bits: `python -m experiments.numerics.determinism`; see `measure.py`."""
