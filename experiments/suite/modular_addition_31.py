"""modular_addition_31_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import Transformer
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import ModularAddition

WORKLOAD = Workload(
    name="modular_addition_31_mini",
    problem=ModularAddition(modulus=31, train_fraction=0.7, model=Transformer(width=32, depth=1)),
    epochs=20,
    batch_size=16,
)
EXPERIMENTS = {
    "modular_addition_31_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=1e-2, weight_decay=0.1),
        schedule=Cosine(warmup=1),
    )
}
