"""Measures speed in alternating blocks, with a process for each worker, after a check that both sides agree.

`timing` has the alternating blocks, `remote` and `worker` the two ends of a worker, and `agreement` the check. `flops`
and `roofline` count operations and bytes. `memory` and `reads` measure the memory and the reads of this process.
`process` starts processes. `stopping` interrupts training.
"""
