"""digits_cnn_mini_*: a small convolutional network on half of the digits, with dropout.

Trains:  3 × 3 convolutions of 8 and 16 channels and a dense layer with dropout, 3,658 parameters, on 718 images (719
         validate, 360 test); 440 steps.
From:    Alpaydin & Kaynak (1998), the digits that scikit-learn ships; the network is that of digits_cnn, with half as
         many channels.
Expect:  test accuracies: Muon 96.6%, RMSprop 96.0%, SGD with momentum 94.6%, AdamW 93.7%, Lion 92.7%. Each was tuned
         with 8 trials; these are means over 8 seeds. Best minus worst is 4.0 times the standard deviation of a seed
         (the median over the five). In a population of 8, a run takes 0.7 s of a core of an Intel Xeon with AVX-512,
         compiling and evaluation included, and half of that on two cores. Compiling takes 3 s.
Run:     make run EXP=digits_cnn_mini_adamw
"""

from jaxopt_bench.experiment import Experiment, Workload
from jaxopt_bench.models import CNN
from jaxopt_bench.optimizers import AdamW, Cosine
from jaxopt_bench.problems import Classification

WORKLOAD = Workload(
    name="digits_cnn_mini",
    problem=Classification(dataset="digits", model=CNN(channels=(8, 16), dense=32), validation_fraction=0.5),
    epochs=20,
    batch_size=32,
)
EXPERIMENTS = {
    "digits_cnn_mini_adamw": Experiment(
        workload=WORKLOAD,
        optimizer=AdamW(learning_rate=3e-3, weight_decay=0.01),
        schedule=Cosine(warmup=1),
    )
}
