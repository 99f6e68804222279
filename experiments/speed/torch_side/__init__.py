"""The PyTorch side, written as one would write it for speed. Only modules of this package import PyTorch.

`peer` is what the benchmark calls; `networks` has the networks, `training` the training steps, `loader` an ordinary
input pipeline, `updates` the updates of optimizers alone.
"""
