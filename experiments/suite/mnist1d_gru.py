"""mnist1d_gru_mini_*: a recurrent network that classifies sequences of 40 numbers.

Trains:  a GRU of 32 units, 3,626 parameters, on 3,000 sequences (1,000 validate, 1,000 test); 600 steps.
From:    Greydanus & Kobak (2020) for the data; Cho et al. (2014) for the network.
Expect:  test accuracies: RMSprop 95.5%, AdamW 95.5%, Muon 95.0%, Lion 92.0%, SGD with momentum 85.7%. Each was tuned
         with 12 trials; these are means over 12 seeds, in the recorded study. Best minus worst is 8.7 times the
         standard deviation of a seed (the median over the five). In a population of 8, a run takes 5.6 s of a core of
         an Intel Xeon with AVX-512, compiling and evaluation included, and half of that on two cores. Compiling takes 4
         s.
Run:     make run EXP=mnist1d_gru_mini_adamw
"""

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
