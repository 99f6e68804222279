"""digits_cnn_*: a small network on 1,797 real digits of 8×8 pixels, one experiment for each optimizer.

Trains:  3 × 3 convolutions with 16 and 32 channels and a dense layer, on 1,293 images (144 for validation, 360 for
         testing).
From:    Alpaydin & Kaynak (1998), the digits that scikit-learn includes. Nothing is downloaded.
Expect:  more than 95% test accuracy in much less than a minute on two CPU cores.
Run:     make run EXP=digits_cnn_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import SGD, Adam, AdamW, AMSGrad, Cosine, Nadam, Optimizer, Padam
from jaxopt_bench.problems import Classification

WORKLOAD = Workload(name="digits_cnn", problem=Classification(dataset="digits", model=CNN()), epochs=20, batch_size=32)


def experiment(optimizer: Optimizer) -> Experiment:
    """Returns the workload with one optimizer."""
    return Experiment(workload=WORKLOAD, optimizer=optimizer, schedule=Cosine(warmup=1))


EXPERIMENTS = {
    "digits_cnn_sgd": experiment(SGD(learning_rate=0.05, momentum=0.9, weight_decay=5e-4)),
    "digits_cnn_adam": experiment(Adam(learning_rate=2e-3)),
    "digits_cnn_adamw": experiment(AdamW(learning_rate=2e-3, weight_decay=0.01)),
    "digits_cnn_nadam": experiment(Nadam(learning_rate=2e-3)),
    "digits_cnn_amsgrad": experiment(AMSGrad(learning_rate=2e-3)),
    "digits_cnn_padam": experiment(Padam(learning_rate=0.05, partial=0.125, weight_decay=5e-4)),
}
