"""The sections of `python -m experiments.speed`: one file for each section, which yields the rows of its table.

`flags` is the command line, `run` measures the sections, and `bench` is the common input of all sections.
"""
