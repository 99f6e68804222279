"""words_gru_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import GRU
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Language

WORKLOAD = Workload(
    name="words_gru_mini",
    problem=Language(dataset="words", model=GRU(width=32), limit=2000, validation_fraction=0.2),
    epochs=20,
    batch_size=32,
)
EXPERIMENTS = {
    "words_gru_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=1e-2, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
