"""cifar10_resnet18_sgd_record: plain ResNet-18 reaches 96% on CIFAR-10 as fast as possible by its settings alone.

Trains:  ResNet-18 (11.2 M parameters) on all 50,000 images, in bfloat16.
From:    DeVries & Taylor (2017) reach 96.01% (3.99% error, 5 runs) with this network, crops, flips and cutout of 16
         pixels in 200 epochs. Jordan (2024, https://github.com/KellerJordan/cifar10-airbench) reaches 96.0% in 7
         minutes on an A100, and 95.9% (100 runs) in 80 epochs and 3 minutes. Here the learning rate has a cosine
         schedule over 100 epochs. The 100 epochs, the batch size of 256 with twice the learning rate, and the label
         smoothing are ours.
Expect:  not measured yet: it needs a GPU. `python -m experiments.speed.record` measures it over 10 seeds.
Run:     make run EXP=cifar10_resnet18_sgd_record
"""

from jaxopt_bench.data import Augmentation
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import ResNet
from jaxopt_bench.optimizers import SGD, Cosine
from jaxopt_bench.problems import Classification

EXPERIMENTS = {
    "cifar10_resnet18_sgd_record": Experiment(
        workload=Workload(
            name="cifar10_resnet18_record",
            problem=Classification(
                dataset="cifar10",
                model=ResNet(depth=18),
                augmentation=Augmentation(crop_padding=4, flip=True, cutout=16),
                label_smoothing=0.1,
                dtype="bfloat16",
                validation_fraction=0.0,
            ),
            epochs=100,
            batch_size=256,
        ),
        optimizer=SGD(learning_rate=0.2, momentum=0.9, nesterov=True, weight_decay=5e-4),
        schedule=Cosine(warmup=5.0),
    )
}
