"""The type of commands: a function that returns an exit code; and the help that lists all commands."""

from __future__ import annotations

from collections.abc import Callable

COMPLETED, FAILED, MISUSED, DIVERGED, WORSE = 0, 1, 2, 3, 4  # exit codes; interrupted: 128 + the signal's number
Command = Callable[[], int]

HELP = """usage: jaxopt-bench COMMAND …

  run EXPERIMENT [--epochs 2 --optimizer.learning-rate 0.003 …]   train; use the same command again to resume
  sweep EXPERIMENT --optimizer.learning-rate 1e-4..1e-1:8 …       train at several settings, as one program
  compare STUDY [--trials 16 --seeds 10 …]                        tune, confirm, compare; use it again to resume
  compare --problem FILE.py:FUNCTION [--minutes 10]               find the best optimizer for your own problem
  compare --dataset FILE.csv --target COLUMN [--minutes 10]       or for your own data (.npz, .csv, .txt, images)
  results PATH [--sql "SELECT …"] [--csv FILE] [--json FILE]      print runs as a table; each hyperparameter is a column
  report PATH [--out DIR]                                         a page and figures of a study, a run, or any runs
  list [experiments|studies|problems|models|datasets|optimizers|schedules] show the names that flags accept
  show RUN                                                        a run's record
  data prepare NAME [--from PATH]                                 prepare a data set
  optimizers show NAME                                            an optimizer's hyperparameters and their ranges
  optimizers check NAME [--model resnet18 …]                      measure what an optimizer does with a network
  optimizers plot [NAME …] [--out optimizers.png]                 draw the paths of optimizers in two dimensions
  doctor                                                          show versions and devices, and check that they work
  kernels [build|show|remove]                                     build, show or remove C++ code for faster CPU training

COMMAND --help shows details; run EXPERIMENT --help lists every flag with that experiment's values; --debug shows the
traceback of an error."""
