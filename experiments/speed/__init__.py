"""The speed benchmark, `make bench`: training measured beside PyTorch; see README.md in this folder.

Scripts, no library: `jaxopt_bench` knows nothing of them, and only they import PyTorch.
"""
