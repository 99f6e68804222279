"""The output of the measurements: a JSON document with hardware, versions and command, and readable tables."""
