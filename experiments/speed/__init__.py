"""The speed benchmark, `make bench`: it compares the speed of training with PyTorch; see README.md in this folder.

This package consists of scripts. It is not a library: `jaxopt_bench` does not use it, and only it imports PyTorch.
"""
