"""digits: six optimizers on a small network and real digits, tuned, in minutes.

Asks:    which of the seed studies' optimizers trains a small network best. Each is tuned with 8 trials of 10 epochs.
         Its best 4 trials are trained again with 2 other seeds before one is selected.
Spaces:  those of `Optimizer.search_space`: the same number of decades of learning rates and of weight decays for each.
         Padam's space contains AMSGrad's, since Padam with the exponent 1/2 is AMSGrad. For this, Padam also searches
         its exponent, with the same number of trials as the others: if a method has more hyperparameters, tuning them
         is part of its cost. A Sobol sequence covers each single hyperparameter as well as if there were fewer.
Run:     make compare
"""

import dataclasses

from jaxopt_bench import catalog
from jaxopt_bench.optimizers import SGD, Adam, AdamW, AMSGrad, Cosine, Nadam, Optimizer, Padam
from jaxopt_bench.study import Contender, Study, Target


def contender(name: str, optimizer: Optimizer) -> Contender:
    """Returns an optimizer in its own search space, by the rule of `Optimizer.search_space`."""
    return Contender(name=name, optimizer=optimizer, schedule=Cosine(warmup=1))


PADAM = Padam(partial=1 / 8, bias_correction=True, eps=1e-8, gradient_unit=0.01)  # as its authors train it

STUDIES = {
    "digits": Study(
        name="digits",
        question="Which of the seed studies' optimizers trains a small network on digits best?",
        workloads=(dataclasses.replace(catalog.find("digits_cnn_adamw").workload, epochs=10),),
        contenders=(
            contender("sgd", SGD(momentum=0.9)),
            contender("adam", Adam()),
            contender("adamw", AdamW()),
            contender("nadam", Nadam()),
            contender("amsgrad", AMSGrad()),
            contender("padam", PADAM),
        ),
        trials=8,
        finalists=4,
        finalist_seeds=2,
        seeds=8,  # the number of trials, and of runs of finalists, so that one compiled program trains all
        targets=(Target(workload="digits_cnn", measure="validation_accuracy", value=0.95),),
    ),
}
