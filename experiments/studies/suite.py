"""suite: the optimizers that people ask for most, tuned, on small workloads of many kinds.

Asks:    which optimizer is the best default over workloads of many kinds, and how soon it reaches good results.
Targets: one rule for all workloads, as AlgoPerf sets its targets (Dahl et al., 2023): the result that the better of two
         standard optimizers, SGD with momentum and AdamW, has after 75% of the steps, in the median over 8 seeds. Each
         is tuned with 8 trials by the validation loss. The result is the headline metric on the validation examples. It
         is rounded to three digits, away from the optimum.
Admits:  a workload, if the best and the worst of several optimizers differ by at least three standard deviations of a
         seed, in the headline metric or in the steps to the target. The optimizers are SGD with momentum, AdamW, Muon,
         Lion and RMSprop, tuned in the same way. The deviation is the median over them. In the recorded study, with 12
         trials and 12 seeds, these five differ by 3.0 deviations on poisson_mini, by 3.2 to 38 on ten others, and by
         1.6 on diamonds_mlp_mini, where it was 5.3 with 8 trials.
Spaces:  those of `Optimizer.search_space`: learning rate and weight decay, the same numbers of decades for each. Padam
         searches its exponent, too. Prodigy finds its learning rate, and searches the weight decay alone.
Select:  the trial with the lowest validation loss at the end. Targets measure the confirmations alone.
Trials:  the same on every workload, so that the results also show which single setting is the best.
Expect:  one optimizer's part, 36 runs on each workload, takes 803 s of a core of an Intel Xeon with AVX-512 (AdamW,
         without a compilation cache), so 7 minutes or more on two cores. Others used the machine, so that it took 24.
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
"""The measure and the value to reach, by workload, in the order in which the record has them."""
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
"""Those that are not the optimizers of the same name with default values."""


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
        seeds=12,  # as many runs as there are trials, and runs of finalists, so that one compiled program trains all
        same_trials=True,
        targets=tuple(Target(workload=w, measure=measure, value=value) for w, (measure, value) in TARGETS.items()),
    ),
}
