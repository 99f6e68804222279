"""cifar10_resnet20_* and cifar10_resnet18_*: residual networks on CIFAR-10, one experiment for each optimizer.

Trains:  ResNet-20 (0.27 M parameters) and ResNet-18 (11.2 M) on 45,000 images (5,000 for validation).
From:    a student study that compares SGD, Adam, Nadam, AMSGrad and Padam on a ResNet. Epochs, schedule, batch size,
         and all settings of Padam are those of Padam's authors (Chen et al., 2020). The settings of the other
         optimizers are common values, chosen by us.
Expect:  after 5 of 5 epochs on all 50,000 images, cosine to zero, seed 0, ResNet-20 with SGD reaches 76.6% test
         accuracy. The whole experiment has not been measured here. He et al. (2015) publish 91.25% for ResNet-20, with
         SGD and weight decay 1e-4 over 164 epochs. Chen et al. publish about 95% for ResNet-18.
Run:     make run EXP=cifar10_resnet20_sgd
"""

from jaxopt_bench.data import Augmentation
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import CifarResNet, ResNet
from jaxopt_bench.optimizers import SGD, Adam, AMSGrad, MultiStep, Nadam, Padam
from jaxopt_bench.problems import Classification

WORKLOADS = [
    Workload(
        name=f"cifar10_{network}",
        problem=Classification(dataset="cifar10", model=model, augmentation=Augmentation(crop_padding=4, flip=True)),
        epochs=200,
        batch_size=128,
    )
    for network, model in {"resnet20": CifarResNet(depth=20), "resnet18": ResNet(depth=18)}.items()
]
OPTIMIZERS = {
    "sgd": SGD(learning_rate=0.1, momentum=0.9, weight_decay=5e-4),
    "adam": Adam(learning_rate=1e-3, weight_decay=1e-4),
    "nadam": Nadam(learning_rate=1e-3, weight_decay=1e-4),
    "amsgrad": AMSGrad(learning_rate=1e-3, weight_decay=1e-4),
    # the settings of its authors, with the bias correction and eps of their code
    "padam": Padam(learning_rate=0.1, partial=1 / 8, weight_decay=5e-4, bias_correction=True, eps=1e-8),
}

EXPERIMENTS = {
    f"{workload.name}_{name}": Experiment(
        workload=workload, optimizer=optimizer, schedule=MultiStep(boundaries=(100, 150), factor=0.1)
    )
    for workload in WORKLOADS
    for name, optimizer in OPTIMIZERS.items()
}
