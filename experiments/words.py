"""words_transformer_* and words_gru_*: next-letter prediction in English words, one experiment for each optimizer.

Trains:  a transformer of width 32 with 2 blocks, and a GRU of 64 units, on 51,435 words (5,715 for validation, 6,350
         for testing).
From:    not from a single paper. The words are those of SCOWL in Debian's package wamerican. Nothing is downloaded.
Expect:  test losses of 1.99 nats per letter (2.88 bits; transformer) and 1.97 (2.84 bits; GRU) with AdamW and seed 0.
         A model of counts of four consecutive letters, each increased by one, reaches 1.99 nats. The untrained loss is
         3.30. 2,005 steps take half a minute on two cores of an Intel Xeon, and 3 to 4 minutes if other programs use
         the cores at the same time.
Run:     make run EXP=words_transformer_adamw, or with your own text file: ARGS="--dataset FILE.txt"
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import GRU, Transformer
from jaxopt_bench.optimizers import SGD, Adam, AdamW, Cosine, Optimizer
from jaxopt_bench.problems import Language

TRANSFORMER = Workload(
    name="words_transformer", problem=Language(dataset="words", model=Transformer()), epochs=5, batch_size=128
)
RECURRENT = Workload(name="words_gru", problem=Language(dataset="words", model=GRU()), epochs=5, batch_size=128)


def experiment(workload: Workload, optimizer: Optimizer) -> Experiment:
    """Returns a workload with one optimizer."""
    return Experiment(workload=workload, optimizer=optimizer, schedule=Cosine(warmup=0.5))


EXPERIMENTS = {
    "words_transformer_sgd": experiment(TRANSFORMER, SGD(learning_rate=0.3, momentum=0.9)),
    "words_transformer_adam": experiment(TRANSFORMER, Adam(learning_rate=3e-3)),
    "words_transformer_adamw": experiment(TRANSFORMER, AdamW(learning_rate=3e-3, weight_decay=0.1)),
    "words_gru_sgd": experiment(RECURRENT, SGD(learning_rate=0.5, momentum=0.9, clip_norm=1.0)),
    "words_gru_adam": experiment(RECURRENT, Adam(learning_rate=5e-3)),
    "words_gru_adamw": experiment(RECURRENT, AdamW(learning_rate=5e-3, weight_decay=0.1)),
}
