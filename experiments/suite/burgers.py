"""burgers_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Burgers

WORKLOAD = Workload(
    name="burgers_mini",
    problem=Burgers(points=1000, model=MLP(widths=(32, 32, 32), activation="tanh")),
    epochs=20,
    batch_size=25,
)
EXPERIMENTS = {
    "burgers_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=1e-2, weight_decay=0.001),
        schedule=Cosine(warmup=1),
    )
}
