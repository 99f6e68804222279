"""diamonds_mlp_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Regression

WORKLOAD = Workload(
    name="diamonds_mlp_mini",
    problem=Regression(dataset="diamonds", model=MLP(widths=(64, 64)), validation_fraction=0.2),
    epochs=20,
    batch_size=64,
)
EXPERIMENTS = {
    "diamonds_mlp_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=5e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
