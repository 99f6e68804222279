"""cifar10_wrn*_* and cifar100_wrn*_*: wide residual networks, WRN-16-4 and WRN-28-10.

Trains:  2.7 M and 36.5 M parameters (10 classes) on 45,000 images (5,000 for validation).
From:    the settings of SGD are those of the networks' authors (Zagoruyko and Komodakis, 2016, section 3). The settings
         of AdamW are ours, with the same schedule.
Expect:  they have not been trained here. The authors publish 4.00% test error on CIFAR-10 and 19.25% on CIFAR-100 for
         WRN-28-10, trained on all 50,000 images.
Run:     make run EXP=cifar10_wrn16_4_sgd
         make run EXP=cifar100_wrn28_10_sgd ARGS="--validation-fraction 0 --dtype bfloat16"
"""

from jaxopt_bench.data import Augmentation
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import WideResNet
from jaxopt_bench.optimizers import SGD, AdamW, MultiStep
from jaxopt_bench.problems import Classification

WORKLOADS = [
    Workload(
        name=f"{dataset}_{network}",
        problem=Classification(dataset=dataset, model=model, augmentation=Augmentation(crop_padding=4, flip=True)),
        epochs=200,
        batch_size=128,
    )
    for dataset in ("cifar10", "cifar100")
    for network, model in {"wrn16_4": WideResNet(depth=16, width=4), "wrn28_10": WideResNet(depth=28, width=10)}.items()
]
OPTIMIZERS = {
    "sgd": SGD(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
    "adamw": AdamW(learning_rate=1e-3, weight_decay=0.05),
}

EXPERIMENTS = {
    f"{workload.name}_{name}": Experiment(
        workload=workload, optimizer=optimizer, schedule=MultiStep(boundaries=(60, 120, 160), factor=0.2)
    )
    for workload in WORKLOADS
    for name, optimizer in OPTIMIZERS.items()
}
