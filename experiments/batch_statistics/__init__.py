"""Which batch statistics an evaluation should use, measured."""
