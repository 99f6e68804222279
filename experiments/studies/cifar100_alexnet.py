"""cifar100_alexnet*: the question of the first seed study, SGD or AdamW on AlexNet and CIFAR-100.

Asks:    whether SGD ends with the lower training loss and AdamW with the higher accuracy. A student study reports this
         from one run of each optimizer, with the same learning rate and weight decay for both.
Studies: `cifar100_alexnet`: both optimizers with these values, and both tuned, at batch size 128 over 100 epochs. SGD
         is tuned with and without momentum. The student study uses none, so its claims are tested without momentum.
         `cifar100_alexnet_as_published`: the runs of the student study (batch size 4, 300 epochs) with several seeds.
         Each run takes 7 to 9 days on two cores.
         `cifar100_alexnet_first_steps`: the first 5,000 steps of these runs, and of AdamW with two changes that are
         usual against a bad start: a warm-up over 1,000 steps, and a learning rate of 1e-4.
         `cifar100_alexnet_small`: the small AlexNet over 5 epochs. All optimizers are tuned, and Padam is included. It
         takes three hours on two cores.
         `cifar100_alexnet_small_epochs`: the same optimizers over 5 and over 25 epochs, with the same trials on both.
         It shows whether the order of the optimizers, and the best setting of each, are the same after 25 epochs.
Spaces:  those of `Optimizer.search_space`: the same number of decades of learning rates and of weight decays for each.
         Padam also searches its exponent, with the same number of trials, so that its space contains AMSGrad's.
         The results in `experiments/results` come from narrower spaces, and from Padam with the exponent 1/8.
Run:     make compare STUDY=cifar100_alexnet_small
"""

import dataclasses

from jaxopt_bench import catalog
from jaxopt_bench.optimizers import SGD, AdamW, Constant, Cosine, MultiStep, Optimizer, Padam, Schedule, Space
from jaxopt_bench.study import Claim, Comparison, Contender, Study, Target

SOURCE = "a student study of SGD and AdamW on AlexNet and CIFAR-100, one run each"


def claims(sgd: str, adamw: str, setting: str, differs: str) -> tuple[Claim, ...]:
    """Returns the study's claims about two contenders. The study does not name the split of its losses and accuracies.

    Args:
      sgd: the contender for the study's SGD, which has no momentum.
      adamw: the contender for the study's AdamW.
      setting: the setting of both, in words.
      differs: how the setting here differs from the study's.
    """
    loss = Comparison(measure="train_clean_loss", lower=sgd, higher=adamw)
    accuracy = Comparison(measure="test_accuracy", lower=sgd, higher=adamw)
    return (
        Claim(
            text=f"SGD ends with the lower training loss (0.742 against 1.680), {setting}",
            source=SOURCE,
            comparisons=(loss,),
            differs=differs,
        ),
        Claim(
            text=f"AdamW ends with the higher accuracy (0.31 against 0.22), {setting}",
            source=SOURCE,
            comparisons=(accuracy,),
            differs=differs,
        ),
        Claim(
            text=f"so there is a trade-off between the two, {setting}",
            source=SOURCE,
            comparisons=(loss, accuracy),
            differs=differs,
        ),
    )


def fixed(name: str, optimizer: Optimizer, schedule: Schedule) -> Contender:
    """Returns an optimizer with fixed hyperparameters."""
    return Contender(name=name, optimizer=optimizer, schedule=schedule, space=Space())


MOMENTUM = SGD(momentum=0.9)
PADAM = Padam(partial=1 / 8, bias_correction=True, eps=1e-8, gradient_unit=0.01)  # as its authors train it

STUDYS_SGD, STUDYS_ADAMW = SGD(learning_rate=0.01, weight_decay=5e-4), AdamW(learning_rate=0.01, weight_decay=5e-4)
AT_100_EPOCHS = "batch size 128 instead of 4, and 100 epochs instead of 300"
TUNED = "each optimizer's learning rate and weight decay are tuned"
SEVERAL_SEEDS = "several seeds instead of one run each"

AT_HALF_AND_TWO_THIRDS = MultiStep(boundaries=(50, 200 / 3), factor=0.1)  # 150 and 200 of the study's 300 epochs

MODERN = catalog.find("cifar100_alexnet_sgd_modern").workload
AS_PUBLISHED = catalog.find("cifar100_alexnet_sgd").workload
FIRST_STEPS = dataclasses.replace(  # the examples that are not used for training become validation examples
    AS_PUBLISHED, epochs=1, problem=dataclasses.replace(AS_PUBLISHED.problem, validation_fraction=0.6)
)
SMALL = dataclasses.replace(catalog.find("cifar100_alexnet_small_sgd").workload, epochs=5)
SMALL_25 = dataclasses.replace(SMALL, name="cifar100_alexnet_small_25", epochs=25)
SMALL_CONTENDERS = (
    Contender(name="sgd", optimizer=MOMENTUM),
    Contender(name="adamw", optimizer=AdamW()),
    Contender(name="padam", optimizer=PADAM),
    Contender(name="sgd_plain", optimizer=SGD()),
)
SMALL_TARGET = Target(workload="cifar100_alexnet_small", measure="validation_accuracy", value=0.25)

STUDIES = {
    "cifar100_alexnet": Study(
        name="cifar100_alexnet",
        question="SGD or AdamW for AlexNet on CIFAR-100, at a student study's setting and tuned?",
        workloads=(MODERN,),
        contenders=(
            fixed("sgd_as_published", STUDYS_SGD, AT_HALF_AND_TWO_THIRDS),
            fixed("adamw_as_published", STUDYS_ADAMW, AT_HALF_AND_TWO_THIRDS),
            Contender(name="sgd_plain", optimizer=SGD(), schedule=Cosine(warmup=5)),
            Contender(name="sgd", optimizer=MOMENTUM, schedule=Cosine(warmup=5)),
            Contender(name="adamw", optimizer=AdamW(), schedule=Cosine(warmup=5)),
        ),
        trials=16,
        finalists=3,
        finalist_seeds=2,  # 6 more runs of each tuned optimizer, in addition to 21
        seeds=5,
        track_test=True,
        claims=claims("sgd_as_published", "adamw_as_published", "at its own setting", AT_100_EPOCHS)
        + claims("sgd_plain", "adamw", "when both are tuned", f"{AT_100_EPOCHS}; {TUNED}"),
    ),
    "cifar100_alexnet_as_published": Study(
        name="cifar100_alexnet_as_published",
        question="Do the first seed study's two runs come out alike over several seeds?",
        workloads=(AS_PUBLISHED,),
        contenders=(
            fixed("sgd", STUDYS_SGD, MultiStep(boundaries=(150, 200), factor=0.1)),
            fixed("adamw", STUDYS_ADAMW, MultiStep(boundaries=(150, 200), factor=0.1)),
        ),
        seeds=5,
        track_test=True,
        claims=claims("sgd", "adamw", "at its own setting", SEVERAL_SEEDS),
    ),
    "cifar100_alexnet_first_steps": Study(
        name="cifar100_alexnet_first_steps",
        question="How does training begin at the first seed study's setting, and what helps AdamW?",
        workloads=(FIRST_STEPS,),
        contenders=(
            fixed("sgd", STUDYS_SGD, Constant()),
            fixed("adamw", STUDYS_ADAMW, Constant()),
            fixed("adamw_warmup", STUDYS_ADAMW, Constant(warmup=0.2)),
            fixed("adamw_1e-4", dataclasses.replace(STUDYS_ADAMW, learning_rate=1e-4), Constant()),
        ),
        seeds=3,
    ),
    "cifar100_alexnet_small": Study(
        name="cifar100_alexnet_small",
        question="SGD, AdamW or Padam for the small AlexNet on CIFAR-100, in five epochs?",
        workloads=(SMALL,),
        contenders=SMALL_CONTENDERS,
        trials=6,
        finalists=0,  # as in the recorded results
        seeds=3,
        track_test=True,
        targets=(SMALL_TARGET,),
        claims=claims(
            "sgd_plain",
            "adamw",
            "when both are tuned",
            f"a small AlexNet, batch size 128 instead of 4, and 5 epochs instead of 300; {TUNED}",
        ),
    ),
    "cifar100_alexnet_small_epochs": Study(
        name="cifar100_alexnet_small_epochs",
        question="Does a comparison over 5 epochs predict one over 25, for the small AlexNet on CIFAR-100?",
        workloads=(SMALL, SMALL_25),
        contenders=SMALL_CONTENDERS,
        trials=6,
        finalists=0,
        seeds=3,
        track_test=True,
        same_trials=True,
        targets=(SMALL_TARGET, dataclasses.replace(SMALL_TARGET, workload="cifar100_alexnet_small_25", value=0.4)),
        claims=claims(
            "sgd_plain",
            "adamw",
            "when both are tuned",
            f"a small AlexNet, batch size 128 instead of 4, and 5 or 25 epochs instead of 300; {TUNED}",
        ),
    ),
}
