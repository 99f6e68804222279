"""The PyTorch side, written for speed in the usual way. Only modules of this package import PyTorch.

The benchmark calls `peer`. `networks` has the networks, `training` the training steps, `loader` an ordinary input
pipeline, and `updates` the updates of optimizers alone.
"""
