"""digits_vit_mini_*: a vision transformer on digits: attention and layer normalisation.

Trains:  two blocks of attention of width 32 on patches of 2 × 2 pixels, 17,642 parameters, on 1,078 images (359
         validate, 360 test); 660 steps.
From:    Beyer, Zhai & Kolesnikov (2022), the plain vision transformer, much smaller; the digits that scikit-learn
         ships.
Expect:  test accuracies: Muon 95.8%, Lion 93.2%, AdamW 91.5%, SGD with momentum 90.9%, RMSprop 89.2%. Each was tuned
         with 12 trials; these are means over 12 seeds, in the recorded study. Best minus worst is 3.2 times the
         standard deviation of a seed (the median over the five; with 8 trials 5.1, over the first, third and fourth).
         In a population of 8, a run takes 3.7 s of a core of an Intel Xeon with AVX-512, compiling and evaluation
         included, and half of that on two cores. Compiling takes 5 s. The learning rate selected for SGD with momentum,
         0.017, is near the low end of its range; 4 of its 8 trials diverged.
Run:     make run EXP=digits_vit_mini_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import ViT
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Classification

WORKLOAD = Workload(
    name="digits_vit_mini",
    problem=Classification(
        dataset="digits", model=ViT(patch=2, width=32, depth=2, heads=2, hidden=64), validation_fraction=0.25
    ),
    epochs=20,
    batch_size=32,
)
EXPERIMENTS = {
    "digits_vit_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=3e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
