"""digits_vae_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import VariationalAutoencoder

WORKLOAD = Workload(
    name="digits_vae_mini",
    problem=VariationalAutoencoder(encoder=MLP(widths=(128, 64), activation="tanh"), code=8, validation_fraction=0.25, per_pixel=True),
    epochs=20,
    batch_size=16,
)
EXPERIMENTS = {
    "digits_vae_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=3e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
