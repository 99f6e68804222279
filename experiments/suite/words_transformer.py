"""words_transformer_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import Transformer
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Language

WORKLOAD = Workload(
    name="words_transformer_mini",
    problem=Language(dataset="words", model=Transformer(), limit=1500, validation_fraction=0.2),
    epochs=20,
    batch_size=32,
)
EXPERIMENTS = {
    "words_transformer_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=5e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
