"""fashion_mnist_mlp: SGD and AdamW on a multilayer perceptron and Fashion-MNIST, tuned with 16 trials of 25 epochs.

Asks:    which of the two trains it better, and what successive halving saves.
From:    Xiao, Rasul and Vollgraf (2017), "Fashion-MNIST: a novel image dataset for benchmarking machine learning
         algorithms", 60,000 images to train on (6,000 of them validate) and 10,000 to test.
Expect:  of 6 whole searches (5 of SGD, 1 of AdamW, from `--repetitions 5 --seeds 3`, stopped before its end), halving
         would have selected the same winner in 5, with 1,553 instead of 1,930 epochs (972 s instead of 1,217 s on two
         busy cores of an Intel Xeon with AVX-512); with `--halving-rungs 3` in 3, with 1,067 epochs. Trials of SGD that
         diverge early are in both numbers.
Run:     jaxopt-bench data prepare fashion_mnist --from FOLDER
         jaxopt-bench compare fashion_mnist_mlp
"""

from jaxopt_bench.experiment import Workload
from jaxopt_bench.models import MLP
from jaxopt_bench.optimizers import SGD, AdamW, Cosine
from jaxopt_bench.problems import Classification
from jaxopt_bench.study import Contender, Study

WORKLOAD = Workload(
    name="fashion_mnist_mlp",
    problem=Classification(dataset="fashion_mnist", model=MLP()),
    epochs=25,
    batch_size=128,
)

STUDIES = {
    "fashion_mnist_mlp": Study(
        name="fashion_mnist_mlp",
        question="Does SGD or AdamW train a multilayer perceptron on Fashion-MNIST better?",
        workloads=(WORKLOAD,),
        contenders=(
            Contender(name="sgd", optimizer=SGD(momentum=0.9), schedule=Cosine(warmup=1)),
            Contender(name="adamw", optimizer=AdamW(), schedule=Cosine(warmup=1)),
        ),
        trials=16,
        seeds=5,
    ),
}
