"""poisson_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Poisson

WORKLOAD = Workload(
    name="poisson_mini",
    problem=Poisson(model=MLP(widths=(32, 32, 32), activation="tanh"), points=2000, residual_weight=1e-3, boundary_weight=1.0),
    epochs=20,
    batch_size=50,
)
EXPERIMENTS = {
    "poisson_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=1e-2, weight_decay=0.001),
        schedule=Cosine(warmup=1),
    )
}
