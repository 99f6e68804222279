"""What `python -m experiments.speed` measures: a file for each section, each of which yields rows of its table.

`flags` is the command line, `run` goes through the sections, `bench` is what every section is given.
"""
