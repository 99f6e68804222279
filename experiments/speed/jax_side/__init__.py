"""The JAX side: how the benchmark builds and calls the project's own compiled programs.

`code_paths` lists the measured code paths, `networks` evaluates networks, `training` makes training steps, and
`updates` makes only optimizer updates.
"""
