"""digits_cnn_mini_*: TODO."""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Classification

WORKLOAD = Workload(
    name="digits_cnn_mini",
    problem=Classification(dataset="digits", model=CNN(channels=(8, 16), dense=32), validation_fraction=0.5),
    epochs=20,
    batch_size=32,
)
EXPERIMENTS = {
    "digits_cnn_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=3e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
