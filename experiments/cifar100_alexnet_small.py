"""cifar100_alexnet_small_*: the small AlexNet that is common in CIFAR repositories, on CIFAR-100.

Trains:  five convolutions and one dense layer, 2.5 M parameters, on 45,000 images (5,000 for validation).
From:    a variant that is common in CIFAR repositories. Its published test accuracy on CIFAR-100 is 43.9% (SGD, 164
         epochs).
Expect:  after 10 of 10 epochs on all 50,000 images, a test accuracy of 37.9% ± 0.3 with SGD and 33.0% ± 3.1 with AdamW
         (3 seeds, 95% interval). The whole experiment has not been measured here.
Run:     make run EXP=cifar100_alexnet_small_sgd
         make run EXP=cifar100_alexnet_small_adamw ARGS="--epochs 2 --validation-fraction 0"
"""

from jaxopt_bench.data import Augmentation
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import AlexNetSmall
from jaxopt_bench.optimizers import SGD, AdamW, Cosine, Optimizer
from jaxopt_bench.problems import Classification

WORKLOAD = Workload(
    name="cifar100_alexnet_small",
    problem=Classification(
        dataset="cifar100", model=AlexNetSmall(), augmentation=Augmentation(crop_padding=4, flip=True)
    ),
    epochs=100,
    batch_size=128,
)


def experiment(optimizer: Optimizer) -> Experiment:
    """Returns the workload with one optimizer."""
    return Experiment(workload=WORKLOAD, optimizer=optimizer, schedule=Cosine())


EXPERIMENTS = {
    "cifar100_alexnet_small_sgd": experiment(SGD(learning_rate=0.05, momentum=0.9, weight_decay=5e-4)),
    "cifar100_alexnet_small_adamw": experiment(AdamW(learning_rate=1e-3, weight_decay=0.05)),
}
