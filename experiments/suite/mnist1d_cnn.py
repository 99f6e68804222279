"""mnist1d_cnn_mini_*: convolutions with batch normalisation that classify sequences of 40 numbers.

Trains:  three convolutions of 25 channels, each followed by batch normalisation, 7,785 parameters, on 3,000 sequences
         (1,000 validate, 1,000 test); 1,200 steps.
From:    Greydanus & Kobak (2020) for the data and the sizes; Ioffe & Szegedy (2015) for the normalisation.
Expect:  test accuracies: AdamW 96.9%, Muon 96.2%, RMSprop 95.7%, SGD with momentum 95.6%, Lion 89.2%. Each was tuned
         with 8 trials; these are means over 8 seeds. Best minus worst is 11.6 times the standard deviation of a seed
         (the median over the five). In a population of 8, a run takes 2.0 s of a core of an Intel Xeon with AVX-512,
         compiling and evaluation included, and half of that on two cores.
Run:     make run EXP=mnist1d_cnn_mini_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import CNN1D
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Classification

WORKLOAD = Workload(
    name="mnist1d_cnn_mini",
    problem=Classification(dataset="mnist1d", model=CNN1D(batch_norm=True), validation_fraction=0.25),
    epochs=20,
    batch_size=50,
)
EXPERIMENTS = {
    "mnist1d_cnn_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=3e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
