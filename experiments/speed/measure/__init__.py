"""How speed is measured: in turns, by workers with a process each, after a check that both sides compute the same.

`timing` has the alternating blocks, `remote` and `worker` the two ends of a worker, `agreement` the check; `flops` and
`roofline` count operations and bytes, `memory` and `reads` what this process takes; `process` starts processes,
`stopping` interrupts training.
"""
