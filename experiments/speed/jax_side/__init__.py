"""The JAX side: how the benchmark builds and calls the project's own compiled programs.

`code_paths` says which ways to compute are measured, `networks` evaluates networks, `training` makes training steps,
`updates` makes optimizer updates alone.
"""
