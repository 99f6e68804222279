"""modular_addition_59_*: a small transformer learns addition modulo 59 ("grokking"), one experiment per optimizer.

Trains:  one block of width 64, 58,044 parameters, on 1,044 of the 3,481 pairs (1,218 for validation, 1,219 for
         testing).
From:    Power et al. (2022), "Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets". Their modulus
         is 97, and their network is larger. AdamW with a weight decay of 1 and b2 = 0.98 is from this paper.
Expect:  with AdamW, the accuracy after 30 epochs is 99% on the training pairs and 15 to 25% on the validation pairs.
         The validation accuracy reaches 95% only after 125 epochs, and 100% at the end (like the test accuracy; seeds 0
         and 1). After epoch 80 the training loss rises steeply several times and falls again, until the learning rate
         decreases. The final test accuracy is 25% with Adam (without weight decay), and 0.5% with SGD. 1,920 steps take
         2 to 4 minutes on two cores of an Intel Xeon that other programs used at the same time.
Run:     make run EXP=modular_addition_59_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.optimizers import SGD, Adam, AdamW, Optimizer, WarmupStableDecay
from jaxopt_bench.problems import ModularAddition

WORKLOAD = Workload(name="modular_addition_59", problem=ModularAddition(), epochs=240, batch_size=128)


def experiment(optimizer: Optimizer) -> Experiment:
    """Returns the workload with one optimizer."""
    return Experiment(workload=WORKLOAD, optimizer=optimizer, schedule=WarmupStableDecay(warmup=2, cooldown=0.25))


EXPERIMENTS = {
    "modular_addition_59_sgd": experiment(SGD(learning_rate=0.1, momentum=0.9, weight_decay=1e-4)),
    "modular_addition_59_adam": experiment(Adam(learning_rate=3e-3, b2=0.98)),
    "modular_addition_59_adamw": experiment(AdamW(learning_rate=3e-3, b2=0.98, weight_decay=1.0)),
}
