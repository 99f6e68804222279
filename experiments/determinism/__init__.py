"""What changes a run's bits, measured: `python -m experiments.determinism`; see `measure.py`."""
