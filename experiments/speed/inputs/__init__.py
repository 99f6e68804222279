"""The inputs of both sides: networks, images of noise, data sets, and probes to compare them by."""
