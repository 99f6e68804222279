"""poisson_mini_*: a network that solves the Poisson equation.

Trains:  three hidden layers of 32 units with tanh, 2,209 parameters, on 2,000 points (500 validate, 257 test); 800
         steps.
From:    Raissi, Perdikaris & Karniadakis (2019). The weights of residual and boundary are ours.
Expect:  relative L2 errors: Muon 0.0019, AdamW 0.0094, Lion 0.013, RMSprop 0.032, SGD with momentum 0.84. Each was
         tuned with 8 trials; these are means over 8 seeds. Best minus worst is 70.6 times the standard deviation of a
         seed (the median over the five). In a population of 8, a run takes 0.9 s of a core of an Intel Xeon with
         AVX-512, compiling and evaluation included, and half of that on two cores. Compiling takes 8 s. With 12 seeds,
         one of AdamW's fails (relative error 1.0, learning rate 0.028).
Run:     make run EXP=poisson_mini_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Poisson

WORKLOAD = Workload(
    name="poisson_mini",
    problem=Poisson(
        model=MLP(widths=(32, 32, 32), activation="tanh"), points=2000, residual_weight=1e-3, boundary_weight=1.0
    ),
    epochs=20,
    batch_size=50,
)
EXPERIMENTS = {
    "poisson_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=1e-2, weight_decay=0.001),
        schedule=Cosine(warmup=1),
    )
}
