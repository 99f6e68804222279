"""mnist1d_*: four small networks on MNIST-1D, 5,000 sequences of 40 numbers in ten classes, generated in a second."""

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.models import CNN1D, GRU, MLP, Model
from jaxopt_bench.optimizers import SGD, Adam, AdamW, Cosine, Optimizer
from jaxopt_bench.problems import Classification

NETWORKS = {
    "linear": MLP(widths=()),
    "mlp": MLP(),
    "gru": GRU(),
    "cnn1d": CNN1D(),
}


def experiment(model: Model, optimizer: Optimizer) -> Experiment:
    """Returns the workload of one network with one optimizer."""
    return Experiment(
        problem=Classification(dataset="mnist1d", model=model),
        optimizer=optimizer,
        schedule=Cosine(warmup=1),
        epochs=60,
        batch_size=100,
    )


def optimizers(learning_rate: float) -> dict[str, Optimizer]:
    """Returns the optimizers by name.

    Args:
      learning_rate: of SGD; the others have one for all networks.
    """
    return {
        "sgd": SGD(learning_rate=learning_rate, momentum=0.9, weight_decay=5e-4),
        "adam": Adam(learning_rate=0.01),
        "adamw": AdamW(learning_rate=0.01, weight_decay=0.05),
    }


EXPERIMENTS = {
    f"mnist1d_{name}_{optimizer_name}": experiment(model, optimizer)
    for name, model in NETWORKS.items()
    for optimizer_name, optimizer in optimizers(0.1 if name == "gru" else 0.02).items()
}
