"""digits_vit_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import ViT
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Classification

WORKLOAD = Workload(
    name="digits_vit_mini",
    problem=Classification(dataset="digits", model=ViT(patch=2, width=32, depth=2, heads=2, hidden=64), validation_fraction=0.25),
    epochs=20,
    batch_size=32,
)
EXPERIMENTS = {
    "digits_vit_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=3e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
