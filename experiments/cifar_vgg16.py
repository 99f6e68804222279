"""cifar10_vgg16_* and cifar100_vgg16_*: VGG-16 with batch normalisation and a single dense layer.

Trains:  14.7 M parameters on 45,000 images (5,000 for validation).
From:    not from a single paper. 200 epochs with batch size 128, crops and flips, and SGD with momentum 0.9 and weight
         decay 5e-4 are the usual settings for this network on CIFAR. The settings of AdamW are ours.
Expect:  it has not been trained here. Published implementations of the same network reach about 93% to 94% on CIFAR-10.
Run:     make run EXP=cifar10_vgg16_sgd
"""

from jaxopt_bench.data import Augmentation
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import VGG
from jaxopt_bench.optimizers import SGD, AdamW, Cosine
from jaxopt_bench.problems import Classification

WORKLOADS = [
    Workload(
        name=f"{dataset}_vgg16",
        problem=Classification(
            dataset=dataset, model=VGG(depth=16), augmentation=Augmentation(crop_padding=4, flip=True)
        ),
        epochs=200,
        batch_size=128,
    )
    for dataset in ("cifar10", "cifar100")
]
OPTIMIZERS = {
    "sgd": SGD(learning_rate=0.1, momentum=0.9, weight_decay=5e-4),
    "adamw": AdamW(learning_rate=1e-3, weight_decay=0.05),
}

EXPERIMENTS = {
    f"{workload.name}_{name}": Experiment(workload=workload, optimizer=optimizer, schedule=Cosine(warmup=5))
    for workload in WORKLOADS
    for name, optimizer in OPTIMIZERS.items()
}
