"""The inputs of both sides: networks, images of noise, data sets, and probes for the comparison."""
