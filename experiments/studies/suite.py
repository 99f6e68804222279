"""suite: the optimizers that people ask for most, tuned, on small workloads of many kinds.

Asks:    which optimizer is the best default over workloads of many kinds, and how soon it reaches good results.
Targets: one rule for all workloads, like the targets of AlgoPerf (Dahl et al., 2023): the result that the better of two
         standard optimizers, SGD with momentum and AdamW, has after 75% of the steps, in the median over 8 seeds. Each
         is tuned with 8 trials by the validation loss. The result is the headline metric on the validation examples. It
         is rounded to three digits, away from the optimum.
Admits:  a workload, if the best and the worst of several optimizers differ by at least three standard deviations over
         seeds, in the headline metric or in the number of steps to the target. The optimizers are SGD with momentum,
         AdamW, Muon, Lion and RMSprop, tuned in the same way. The deviation is the median over the optimizers. In the
         recorded study, with 12 trials and 12 seeds, these five differ by 3.0 deviations on poisson_mini, by 3.2 to 38
         on ten others, and by 1.6 on diamonds_mlp_mini (5.3 with 8 trials).
Spaces:  those of `Optimizer.search_space`: learning rate and weight decay, the same numbers of decades for each. Padam
         also searches its exponent. Prodigy finds its learning rate itself, and searches only the weight decay.
Select:  the trial with the lowest validation loss at the end. Targets are measured only in the confirmations.
Trials:  the same on every workload, so that the results also show which single setting is the best.
Expect:  the runs of one optimizer, 36 on each workload, take 803 s of one core of an Intel Xeon with AVX-512 (AdamW,
         without a compilation cache), so at least 7 minutes on two cores. They took 24 minutes while other programs
         used the machine.
Run:     jaxopt-bench compare suite --optimizers adamw
"""

from jaxopt_bench import catalog
from jaxopt_bench.optimizers import OPTIMIZERS, AdamW, Constant, Cosine, Optimizer, Padam, Schedule
from jaxopt_bench.study import Contender, Study, Target

WARMUP = 1.0
"""Epochs of warm-up: 5% of the training, since all workloads have 20 epochs."""
TARGETS = {
    "digits_cnn_mini": ("validation_accuracy", 0.954),
    "digits_vit_mini": ("validation_accuracy", 0.92),
    "digits_autoencoder_mini": ("validation_reconstruction_error", 1.06),
    "digits_vae_mini": ("validation_bits_per_dimension", 2.49),
    "mnist1d_mlp_mini": ("validation_accuracy", 0.545),
    "mnist1d_gru_mini": ("validation_accuracy", 0.956),
    "words_transformer_mini": ("validation_loss", 2.31),
    "words_gru_mini": ("validation_loss", 2.23),
    "diamonds_mlp_mini": ("validation_rmse", 680.0),
    "poisson_mini": ("validation_relative_error", 0.0111),
    "noisy_quadratic_mini": ("validation_gap", 0.064),
    "mnist1d_cnn_mini": ("validation_accuracy", 0.958),
}
"""The measure and the value to reach, by workload, in the order of the recorded results."""
MOST_ASKED_FOR = (  # in this order
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
    "soap",
    "cautious_adamw",
    "mars_adamw",
)
"""The names of optimizers. Those that people ask for most are compared first."""
MODIFIED: dict[str, Optimizer] = {
    "padam": Padam(partial=1 / 8, bias_correction=True, eps=1e-8, gradient_unit=0.01),  # as its authors train it
    "cautious_adamw": AdamW(cautious=True),
    "mars_adamw": AdamW(mars_gamma=0.025),
}
"""The optimizers that differ from the optimizer of the same name with default values."""


def contender(name: str) -> Contender:
    """Returns an optimizer in its own search space, with a constant learning rate if its method prescribes that."""
    optimizer = MODIFIED.get(name) or OPTIMIZERS[name]
    schedule: Schedule = Constant(WARMUP) if optimizer.schedule.is_constant else Cosine(WARMUP)
    return Contender(name=name, optimizer=optimizer, schedule=schedule)


STUDIES = {
    "suite": Study(
        name="suite",
        question="Which optimizer is the best default over small workloads of many kinds?",
        workloads=tuple(catalog.find(f"{workload}_adamw").workload for workload in TARGETS),
        contenders=tuple(contender(name) for name in MOST_ASKED_FOR),
        trials=12,
        finalists=4,
        finalist_seeds=3,
        seeds=12,  # the number of trials, and of runs of finalists, so that one compiled program trains all
        same_trials=True,
        targets=tuple(Target(workload=w, measure=measure, value=value) for w, (measure, value) in TARGETS.items()),
    ),
}
