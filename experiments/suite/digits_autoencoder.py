"""digits_autoencoder_mini_*: a deep autoencoder of digits.

Trains:  dense layers of 64-128-64-32-8-32-64-128-64 units with tanh, 37,896 parameters, on 1,078 images (359 validate,
         360 test); 1,340 steps.
From:    Hinton & Salakhutdinov (2006), with smaller layers; a usual test of optimizers since Martens (2010).
Expect:  squared errors of a test image: Muon 0.79, SGD with momentum 1.05, RMSprop 1.05, AdamW 1.06, Lion 3.21. Each
         was tuned with 8 trials; these are means over 8 seeds. Best minus worst is 47.9 times the standard deviation of
         a seed (the median over the five). In a population of 8, a run takes 1.3 s of a core of an Intel Xeon with
         AVX-512, compiling and evaluation included, and half of that on two cores. Compiling takes 3 s.
Run:     make run EXP=digits_autoencoder_mini_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Autoencoder

WORKLOAD = Workload(
    name="digits_autoencoder_mini",
    problem=Autoencoder(
        encoder=MLP(widths=(128, 64, 32), activation="tanh"), code=8, validation_fraction=0.25, per_pixel=True
    ),
    epochs=20,
    batch_size=16,
)
EXPERIMENTS = {
    "digits_autoencoder_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=3e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
