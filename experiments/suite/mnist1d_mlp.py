"""mnist1d_mlp_mini_*: a deep perceptron without normalisation on MNIST-1D.

Trains:  six hidden layers of 64 units with ReLU, 24,074 parameters, on 3,000 sequences (1,000 validate, 1,000 test);
         1,200 steps.
From:    Greydanus & Kobak (2020) for the data; the network is ours.
Expect:  test accuracies: Muon 68.4%, AdamW 54.5%, RMSprop 52.9%, SGD with momentum 50.3%, Lion 43.6%. Each was tuned
         with 8 trials; these are means over 8 seeds. Best minus worst is 13.3 times the standard deviation of a seed
         (the median over the five). In a population of 8, a run takes 1.1 s of a core of an Intel Xeon with AVX-512,
         compiling and evaluation included, and half of that on two cores. Compiling takes 4 s.
Run:     make run EXP=mnist1d_mlp_mini_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Classification

WORKLOAD = Workload(
    name="mnist1d_mlp_mini",
    problem=Classification(dataset="mnist1d", model=MLP(widths=(64,) * 6), validation_fraction=0.25),
    epochs=20,
    batch_size=50,
)
EXPERIMENTS = {
    "mnist1d_mlp_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=3e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
