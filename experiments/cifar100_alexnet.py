"""cifar100_alexnet_*: AlexNet on CIFAR-100 with SGD or AdamW, with the settings of a student study or modern settings.

Trains:  AlexNet for 32×32 images, 30,351,844 parameters, on all 50,000 training images.
From:    a student study that reports, for one run each, a training loss of 0.742 and an accuracy of 0.22 for SGD,
         1.680 and 0.31 for AdamW. The study does not name the split and the epoch.
Expect:  the study's own setting is 3,750,000 steps. They take 7 and 9 days at 5.8 (SGD) and 4.6 (AdamW) steps/s on 2
         cores of an Intel Xeon. Training starts badly: the mean loss of AdamW was 9,775 over the first 50 steps, and
         4.62 after 550 steps. The loss of plain SGD was 4.60 after 650 steps. The loss of random guesses is ln 100 =
         4.605. The setting is not changed, for comparison. The pair `_modern` trains the same network with modern
         settings. It has not been measured yet.
Run:     make run EXP=cifar100_alexnet_adamw
         make run EXP=cifar100_alexnet_adamw_modern
"""

from jaxopt_bench.data import Augmentation
from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import AlexNet
from jaxopt_bench.optimizers import SGD, AdamW, Cosine, Exponential, MultiStep, Optimizer, Schedule
from jaxopt_bench.problems import Classification

STUDY = Workload(  # the comments give the source of each value
    name="cifar100_alexnet_batch4",
    problem=Classification(
        dataset="cifar100",  # the study's
        # modified AlexNet, Xavier weights, zero biases: the study's; sizes for 32×32 images: ours
        model=AlexNet(),
        augmentation=Augmentation(
            crop_padding=4,  # crops: the study's; the padding: ours
            flip=True,  # the study's
            rotation=15,  # rotations: the study's; the angle: ours
        ),
        validation_fraction=0,  # the study's: training on all 50,000 images
    ),
    epochs=300,  # the study's
    batch_size=4,  # the study's
)
MODERN = Workload(  # all values are ours
    name="cifar100_alexnet",
    problem=Classification(dataset="cifar100", model=AlexNet(), augmentation=Augmentation(crop_padding=4, flip=True)),
    epochs=100,
    batch_size=128,
)


def study(optimizer: Optimizer, schedule: Schedule) -> Experiment:
    """Returns the study's workload with one optimizer."""
    return Experiment(
        workload=STUDY,
        optimizer=optimizer,
        schedule=schedule,
        track_test=True,  # ours: the study plots curves over epochs, for a split that it does not name
    )


def modern(optimizer: Optimizer) -> Experiment:
    """Returns an experiment with the same network and modern settings. All settings are ours."""
    return Experiment(workload=MODERN, optimizer=optimizer, schedule=Cosine(warmup=5))


AT_150_AND_200 = MultiStep(boundaries=(150, 200), factor=0.1)  # the study's
EVERY_50 = Exponential(every=50, factor=0.1)  # the study's other schedule

# learning rate and weight decay: the study's; no momentum, and L2 decay: ours, because the study only says "SGD"
PLAIN = SGD(learning_rate=0.01, weight_decay=5e-4)
MOMENTUM = SGD(learning_rate=0.01, momentum=0.9, weight_decay=5e-4)
# learning rate and weight decay: the study's; decoupled decay, b1, b2 and eps: ours
ADAMW = AdamW(learning_rate=0.01, weight_decay=5e-4, b1=0.9, b2=0.999, eps=1e-8)

EXPERIMENTS = {
    "cifar100_alexnet_sgd": study(PLAIN, AT_150_AND_200),
    "cifar100_alexnet_sgd_exp50": study(PLAIN, EVERY_50),
    "cifar100_alexnet_sgd_momentum": study(MOMENTUM, AT_150_AND_200),
    "cifar100_alexnet_adamw": study(ADAMW, AT_150_AND_200),
    "cifar100_alexnet_adamw_exp50": study(ADAMW, EVERY_50),
    "cifar100_alexnet_sgd_modern": modern(SGD(learning_rate=0.01, momentum=0.9, weight_decay=5e-4)),
    "cifar100_alexnet_adamw_modern": modern(AdamW(learning_rate=1e-3, weight_decay=0.05)),
}
