"""words_transformer_* and words_gru_*: the letters of 63,500 English words, one experiment for each optimizer."""

from jaxopt_bench.experiment import Experiment
from jaxopt_bench.models import GRU, Model, Transformer
from jaxopt_bench.optimizers import SGD, Adam, AdamW, Cosine, Optimizer
from jaxopt_bench.problems import Language


def experiment(model: Model, optimizer: Optimizer) -> Experiment:
    """Returns the workload of one network with one optimizer."""
    return Experiment(
        problem=Language(dataset="words", model=model),
        optimizer=optimizer,
        schedule=Cosine(warmup=0.5),
        epochs=5,
        batch_size=128,
    )


EXPERIMENTS = {
    "words_transformer_sgd": experiment(Transformer(), SGD(learning_rate=0.3, momentum=0.9)),
    "words_transformer_adam": experiment(Transformer(), Adam(learning_rate=3e-3)),
    "words_transformer_adamw": experiment(Transformer(), AdamW(learning_rate=3e-3, weight_decay=0.1)),
    "words_gru_sgd": experiment(GRU(), SGD(learning_rate=0.5, momentum=0.9, clip_norm=1.0)),
    "words_gru_adam": experiment(GRU(), Adam(learning_rate=5e-3)),
    "words_gru_adamw": experiment(GRU(), AdamW(learning_rate=5e-3, weight_decay=0.1)),
}
