"""digits: six optimizers on a small network and real digits, tuned, in minutes.

Asks:    which of the seed studies' optimizers to train a small network with, each tuned by 8 trials of 10 epochs.
Run:     make compare
"""

import dataclasses

from jaxopt_bench import catalog
from jaxopt_bench.optimizers import SGD, Adam, AdamW, AMSGrad, Axis, Cosine, Nadam, Optimizer, Padam, Space
from jaxopt_bench.results import Contender, Study, Target

COUPLED = Axis(1e-6, 1e-2, "log", "ours, around 5e-4")
DECOUPLED = Axis(1e-4, 1.0, "log", "ours, around 1e-2")


def contender(name: str, optimizer: Optimizer, learning_rate: Axis, weight_decay: Axis) -> Contender:
    """Returns an optimizer tuned in two numbers, so that eight trials go a long way."""
    space = Space({"optimizer.learning_rate": learning_rate, "optimizer.weight_decay": weight_decay})
    return Contender(name=name, optimizer=optimizer, schedule=Cosine(warmup=1), space=space)


ADAPTIVE = Axis(1e-4, 1e-1, "log", "ours, three decades")
MOMENTUM = Axis(1e-3, 1.0, "log", "ours, three decades")

STUDIES = {
    "digits": Study(
        name="digits",
        question="Which of the seed studies' optimizers trains a small network on digits best?",
        workloads=(dataclasses.replace(catalog.find("digits_cnn_adamw").workload, name="digits_cnn", epochs=10),),
        contenders=(
            contender("sgd", SGD(momentum=0.9), MOMENTUM, COUPLED),
            contender("adam", Adam(), ADAPTIVE, COUPLED),
            contender("adamw", AdamW(), ADAPTIVE, DECOUPLED),
            contender("nadam", Nadam(), ADAPTIVE, COUPLED),
            contender("amsgrad", AMSGrad(), ADAPTIVE, COUPLED),
            contender("padam", Padam(partial=1 / 8), MOMENTUM, COUPLED),
        ),
        trials=8,
        seeds=8,  # as many as trials, so that one compiled program trains both
        targets=(Target(workload="digits_cnn", measure="validation_accuracy", value=0.95),),
    ),
}
