"""mnist1d_gru_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import GRU
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Classification

WORKLOAD = Workload(
    name="mnist1d_gru_mini",
    problem=Classification(dataset="mnist1d", model=GRU(width=32), validation_fraction=0.25),
    epochs=20,
    batch_size=100,
)
EXPERIMENTS = {
    "mnist1d_gru_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=1e-2, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
