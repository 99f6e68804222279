"""What both sides are given: networks, images of noise, data sets, and probes to compare them by."""
