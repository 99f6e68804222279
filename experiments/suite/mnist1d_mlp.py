"""mnist1d_mlp_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Classification

WORKLOAD = Workload(
    name="mnist1d_mlp_mini",
    problem=Classification(dataset="mnist1d", model=MLP(widths=(64,) * 6), validation_fraction=0.25),
    epochs=20,
    batch_size=50,
)
EXPERIMENTS = {
    "mnist1d_mlp_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=3e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
