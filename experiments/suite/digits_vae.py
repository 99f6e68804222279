"""digits_vae_mini_*: a variational autoencoder of digits, whose loss is random.

Trains:  dense layers of 64-128-64-8-64-128-64 units with tanh, 34,768 parameters, on 1,078 images (359 validate, 360
         test); 1,340 steps.
From:    Kingma & Welling (2014), with smaller layers. A training step draws a code for each image.
Expect:  test results of Muon 2.33, AdamW 2.44, SGD with momentum 2.70, RMSprop 2.79, Lion 3.56 bits per dimension. Each
         was tuned with 8 trials; these are means over 8 seeds. Best minus worst is 42.3 times the standard deviation of
         a seed (the median over the five). In a population of 8, a run takes 2.1 s of a core of an Intel Xeon with
         AVX-512, compiling and evaluation included, and half of that on two cores. Compiling takes 5 s.
Run:     make run EXP=digits_vae_mini_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import VariationalAutoencoder

WORKLOAD = Workload(
    name="digits_vae_mini",
    problem=VariationalAutoencoder(
        encoder=MLP(widths=(128, 64), activation="tanh"), code=8, validation_fraction=0.25, per_pixel=True
    ),
    epochs=20,
    batch_size=16,
)
EXPERIMENTS = {
    "digits_vae_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=3e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
