"""noisy_quadratic_mini_*: the noisy quadratic model, which needs no data.

Trains:  a quadratic function with curvatures 1 to 1/1000 and noise of batch size 16, 1,000 parameters; 2,000 steps.
From:    Zhang et al. (2019), with 10,000 dimensions there.
Expect:  gaps to the minimum: Muon 0.028, SGD with momentum 0.04, Lion 0.042, AdamW 0.056, RMSprop 0.06. Each was tuned
         with 8 trials; these are means over 8 seeds. Best minus worst is 12.8 times the standard deviation of a seed
         (the median over the five). In a population of 8, a run takes 0.5 s of a core of an Intel Xeon with AVX-512,
         compiling and evaluation included, and half of that on two cores. Compiling takes 3 s. The learning rate
         selected for RMSprop, 0.21, is near the high end of its range, but 0.014 is nearly as good.
Run:     make run EXP=noisy_quadratic_mini_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import NoisyQuadratic

WORKLOAD = Workload(
    name="noisy_quadratic_mini",
    problem=NoisyQuadratic(center=2.0, examples=1600, validation_examples=1),
    epochs=20,
    batch_size=16,
)
EXPERIMENTS = {
    "noisy_quadratic_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=0.1, weight_decay=0.0001),
        schedule=Cosine(warmup=1),
    )
}
