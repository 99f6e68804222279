"""suite: the optimizers that people ask for most, tuned, on twelve small workloads of many kinds.

Asks:    which optimizer is the best default, over workloads of many kinds, and how soon each reaches good results.
Targets: one rule for all workloads, after AlgoPerf (Dahl et al., 2023, section 4.2): the headline metric on the
         validation examples (or, of a function without examples, on itself) that the best of five tuned optimizers has
         reached after 75% of the steps, in the median over 8 seeds. The five are SGD with momentum, AdamW, Lion, Muon
         and RMSprop, each tuned with 8 trials by the validation loss. The value is rounded to three significant digits,
         away from the goal.
Spaces:  those of `Optimizer.search_space`: learning rate and weight decay, the same numbers of decades for each. Padam
         searches its exponent too, and Prodigy, which finds its learning rate, the weight decay alone.
Run:     jaxopt-bench compare suite --optimizers adamw
"""

from jaxopt_bench import catalog
from jaxopt_bench.optimizers import OPTIMIZERS, Constant, Cosine, Optimizer, Padam, Schedule
from jaxopt_bench.study import Contender, Study, Target

WARMUP = 1.0
"""Epochs of warm-up: 5% of the training, since all workloads have 20 epochs."""
TARGETS = {
    "digits_cnn_mini": ("validation_accuracy", 0.9),
}
"""The measure and the value to reach, by workload."""
MOST_ASKED_FOR = (  # first
    "adamw",
    "momentum",
    "adam",
    "muon",
    "lion",
    "rmsprop",
    "schedule_free_adamw",
    "nadamw",
    "adafactor",
    "prodigy",
    "ademamix",
    "adan",
    "nesterov",
    "nadam",
    "radam",
    "adopt",
    "amsgrad",
    "adabelief",
    "lamb",
    "adagrad",
    "schedule_free_sgd",
    "yogi",
    "adamax",
    "padam",
)
"""The names of optimizers. Those that people ask for most are compared first."""
PADAM = Padam(partial=1 / 8, bias_correction=True, eps=1e-8, gradient_unit=0.01)  # as its authors train it


def contender(name: str) -> Contender:
    """Returns an optimizer in its own search space, with a constant learning rate if its method prescribes that."""
    optimizer: Optimizer = PADAM if name == "padam" else OPTIMIZERS[name]
    schedule: Schedule = Constant(WARMUP) if optimizer.schedule.is_constant else Cosine(WARMUP)
    return Contender(name=name, optimizer=optimizer, schedule=schedule)


STUDIES = {
    "suite": Study(
        name="suite",
        question="Which optimizer is the best default over small workloads of many kinds?",
        workloads=tuple(catalog.find(f"{workload}_adamw").workload for workload in TARGETS),
        contenders=tuple(contender(name) for name in MOST_ASKED_FOR),
        trials=16,
        finalists=0,
        seeds=16,
        select="steps_to_target",
        targets=tuple(Target(workload=w, measure=measure, value=value) for w, (measure, value) in TARGETS.items()),
    ),
}
