"""defaults: every optimizer with its default hyperparameters, on several workloads.

Asks:    whether trying many optimizers with default hyperparameters can replace tuning one (Schmidt, Schneider &
         Hennig, "Descending through a Crowded Valley", 2021, found that it often can).
Run:     make compare STUDY=defaults
"""

import dataclasses

from jaxopt_bench import catalog
from jaxopt_bench.experiment import Workload
from jaxopt_bench.optimizers import OPTIMIZERS, SCHEDULES, Space
from jaxopt_bench.study import Contender, Study, Target


def workload(experiment: str, epochs: int) -> Workload:
    """Returns an experiment's workload with another number of epochs."""
    return dataclasses.replace(catalog.find(experiment).workload, epochs=epochs)


STUDIES = {
    "defaults": Study(
        name="defaults",
        question="How far does one come with each optimizer as it is, without tuning?",
        workloads=(
            workload("digits_cnn_adamw", 10),
            workload("cifar100_alexnet_small_sgd", 30),
            workload("cifar10_resnet20_sgd", 30),
        ),
        contenders=tuple(
            Contender(name=name, optimizer=optimizer, schedule=SCHEDULES[optimizer.schedule.name], space=Space())
            for name, optimizer in OPTIMIZERS.items()
            if not optimizer.line_search  # line searches cannot be trained in batches
        ),
        seeds=3,
        targets=(
            Target(workload="digits_cnn", measure="validation_accuracy", value=0.95),
            Target(workload="cifar100_alexnet_small", measure="validation_accuracy", value=0.35),
            Target(workload="cifar10_resnet20", measure="validation_accuracy", value=0.8),
        ),
    ),
}
