"""cifar10_vit_tiny_* and cifar100_vit_tiny_*: a small vision transformer with patches of 4×4 pixels.

Trains:  12 blocks of attention, 5.4 M parameters, on 45,000 images (5,000 for validation).
From:    not from a single paper. AdamW, warm-up and cosine schedule are usual for vision transformers, but the training
         is shorter. The updates of Muon have the size of AdamW's updates (Liu et al., 2025), so both have the same
         learning rate and weight decay. The learning rate of Lion is ten times lower and its weight decay ten times
         higher (Chen et al., 2023, section 5).
Expect:  they have not been trained here. Without stronger augmentation, vision transformers are less accurate than
         convolutional networks on CIFAR.
Run:     make run EXP=cifar10_vit_tiny_adamw
"""

import dataclasses

from jaxopt_bench.data import Augmentation
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import ViT
from jaxopt_bench.optimizers import OPTIMIZERS, SGD, AdamW, Cosine
from jaxopt_bench.problems import Classification

WORKLOADS = [
    Workload(
        name=f"{dataset}_vit_tiny",
        problem=Classification(dataset=dataset, model=ViT(), augmentation=Augmentation(crop_padding=4, flip=True)),
        epochs=200,
        batch_size=128,
    )
    for dataset in ("cifar10", "cifar100")
]
TRIED = {
    "sgd": SGD(learning_rate=0.05, momentum=0.9, weight_decay=1e-4, clip_norm=1.0),
    "adamw": AdamW(learning_rate=1e-3, weight_decay=0.05),
    "lion": dataclasses.replace(OPTIMIZERS["lion"], learning_rate=1e-4, weight_decay=0.5),
    "muon": dataclasses.replace(OPTIMIZERS["muon"], learning_rate=1e-3, weight_decay=0.05, consistent_rms=0.2),
}

EXPERIMENTS = {
    f"{workload.name}_{name}": Experiment(
        workload=workload,
        optimizer=dataclasses.replace(optimizer, decay_mask="kernels"),
        schedule=Cosine(warmup=10),
    )
    for workload in WORKLOADS
    for name, optimizer in TRIED.items()
}
