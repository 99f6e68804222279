"""fashion_mnist_mlp: SGD and AdamW on a multilayer perceptron and Fashion-MNIST, tuned with 16 trials of 25 epochs.

Asks:    which of the two optimizers trains it better, and how many epochs and seconds successive halving saves.
From:    Xiao, Rasul and Vollgraf (2017), "Fashion-MNIST: a novel image dataset for benchmarking machine learning
         algorithms", 60,000 training images (of which 6,000 are for validation) and 10,000 test images.
Expect:  SGD reaches 89.41% test accuracy (89.37 to 89.45) and AdamW 88.92% (88.75 to 89.10). SGD wins: on new data, it
         is better by 0.22 to 0.76 points. Successive halving selects the same setting of SGD, and another setting of
         AdamW (the best trial of the full search has a large learning rate and leads only near the end), with the same
         accuracy, 88.91% (88.81 to 89.01). On two cores of an Intel Xeon with AVX-512, which were also used by others:
           trials                      epochs of SGD   of AdamW   seconds of trials   seconds in all
           full                        252             400        256                 495
           --search halving            226             296        196                 419
           … --halving-rungs 3         162             196        135                 411
         6 of SGD's 16 trials diverge within the first epoch, with or without halving.
Run:     jaxopt-bench data prepare fashion_mnist --from FOLDER
         jaxopt-bench compare fashion_mnist_mlp
         jaxopt-bench compare fashion_mnist_mlp --search halving --out studies/halving
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
