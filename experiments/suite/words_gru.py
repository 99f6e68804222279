"""words_gru_mini_*: a recurrent network predicts the letters of few English words.

Trains:  a GRU of 32 units, 8,027 parameters, on 1,600 words (400 validate, 6,350 test); 1,000 steps.
From:    no one paper; the words of SCOWL, see words_gru, of which it uses few.
Expect:  test losses in nats per letter: Muon 2.201, AdamW 2.201, RMSprop 2.215, SGD with momentum 2.222, Lion 2.237.
         Each was tuned with 12 trials; these are means over 12 seeds, in the recorded study. Best minus worst is 10.4
         times the standard deviation of a seed (the median over the five). In a population of 8, a run takes 3.3 s of a
         core of an Intel Xeon with AVX-512, compiling and evaluation included, and half of that on two cores. Compiling
         takes 9 s.
Run:     make run EXP=words_gru_mini_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import GRU
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Language

WORKLOAD = Workload(
    name="words_gru_mini",
    problem=Language(dataset="words", model=GRU(width=32), limit=2000, validation_fraction=0.2),
    epochs=20,
    batch_size=32,
)
EXPERIMENTS = {
    "words_gru_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=1e-2, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
