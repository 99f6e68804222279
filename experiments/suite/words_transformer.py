"""words_transformer_mini_*: a small transformer predicts the letters of few English words.

Trains:  one block of attention of width 32, 15,035 parameters, on 1,200 words (300 validate, 6,350 test); 740 steps.
From:    no one paper; the words of SCOWL, see words_transformer, of which it uses few.
Expect:  test losses in nats per letter: Muon 2.276, AdamW 2.292, SGD with momentum 2.296, RMSprop 2.322, Lion 2.337.
         Each was tuned with 12 trials; these are means over 12 seeds, in the recorded study. Best minus worst is 9.6
         times the standard deviation of a seed (the median over the five). In a population of 8, a run takes 2.7 s of a
         core of an Intel Xeon with AVX-512, compiling and evaluation included, and half of that on two cores. Compiling
         takes 10 s.
Run:     make run EXP=words_transformer_mini_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import Transformer
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Language

WORKLOAD = Workload(
    name="words_transformer_mini",
    problem=Language(dataset="words", model=Transformer(depth=1), limit=1500, validation_fraction=0.2),
    epochs=20,
    batch_size=32,
)
EXPERIMENTS = {
    "words_transformer_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=5e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
