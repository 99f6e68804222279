"""noisy_quadratic_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import NoisyQuadratic

WORKLOAD = Workload(
    name="noisy_quadratic_mini",
    problem=NoisyQuadratic(examples=800),
    epochs=20,
    batch_size=16,
)
EXPERIMENTS = {
    "noisy_quadratic_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=0.1, weight_decay=0.0001),
        schedule=Cosine(warmup=1),
    )
}
