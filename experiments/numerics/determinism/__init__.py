"""What changes a run's bits, measured: `python -m experiments.numerics.determinism`; see `measure.py`."""
