"""diamonds_mlp_mini_*: the price of a diamond from nine measures.

Trains:  two hidden layers of 64 units, 4,865 parameters, on 6,400 diamonds (1,600 validate, 2,000 test); 2,000 steps.
From:    the data set `diamonds` of ggplot2.
Expect:  test RMSEs in US dollars: AdamW 617, Muon 628, RMSprop 632, Lion 645, SGD with momentum 685. Each was tuned
         with 8 trials; these are means over 8 seeds. Best minus worst is 5.3 times the standard deviation of a seed
         (the median over the five). In a population of 8, a run takes 0.7 s of a core of an Intel Xeon with AVX-512,
         compiling and evaluation included, and half of that on two cores. Compiling takes 2 s.
Run:     make run EXP=diamonds_mlp_mini_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Regression

WORKLOAD = Workload(
    name="diamonds_mlp_mini",
    problem=Regression(dataset="diamonds", model=MLP(widths=(64, 64)), validation_fraction=0.2),
    epochs=20,
    batch_size=64,
)
EXPERIMENTS = {
    "diamonds_mlp_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=5e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
