"""mnist1d_*: four networks on MNIST-1D: 5,000 sequences of 40 numbers in ten classes, which are generated in a second.

Trains:  a linear model, a multilayer perceptron, a GRU of 64 units and three convolutions, on 3,600 sequences (400
         for validation, 1,000 for testing).
From:    Greydanus & Kobak (2020), "Scaling down Deep Learning with MNIST-1D". They report test accuracies of 32%
         (linear), 68% (MLP), 91% (GRU) and 94% (CNN) after training on all 4,000 sequences. Their GRU is different: it
         has 6 units in each of two directions, and the output depends on all states.
Expect:  with AdamW and seed 0, test accuracies of 32.4% (linear), 66.1% (MLP), 97.4% (GRU) and 90.1% (CNN), in 1 to 3
         minutes each on two cores of an Intel Xeon that other programs used at the same time.
Run:     make run EXP=mnist1d_gru_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import CNN1D, GRU, MLP, Model
from jaxopt_bench.optimizers import SGD, Adam, AdamW, Cosine
from jaxopt_bench.problems import Classification

NETWORKS: dict[str, tuple[Model, int]] = {  # with epochs
    "linear": (MLP(widths=()), 60),
    "mlp": (MLP(), 60),
    "gru": (GRU(), 60),
    "cnn1d": (CNN1D(), 120),
}
WORKLOADS = [
    Workload(
        name=f"mnist1d_{network}",
        problem=Classification(dataset="mnist1d", model=model),
        epochs=epochs,
        batch_size=100,
    )
    for network, (model, epochs) in NETWORKS.items()
]
TRIED = {
    "sgd": SGD(learning_rate=0.05, momentum=0.9, weight_decay=5e-4),
    "adam": Adam(learning_rate=0.01),
    "adamw": AdamW(learning_rate=0.01, weight_decay=0.05),
}

EXPERIMENTS = {
    f"{workload.name}_{name}": Experiment(workload=workload, optimizer=optimizer, schedule=Cosine(warmup=1))
    for workload in WORKLOADS
    for name, optimizer in TRIED.items()
}
