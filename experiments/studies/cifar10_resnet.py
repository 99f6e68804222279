"""cifar10_resnet*: the question of the second seed study, SGD, Adam, Nadam, AMSGrad or Padam on a ResNet and CIFAR-10.

Asks:    whether Padam does worse than AMSGrad, with a smoother curve of the test error, and whether its partial
         exponent determines how fast it converges. A student study concludes this from one run of each optimizer.
         AdamW is included, because it is the usual choice today.
Studies: `cifar10_resnet`: ResNet-18 over 200 epochs, with the schedule of Padam's authors.
         `cifar10_resnet20_short`: ResNet-20 over 3 epochs. It takes some hours on two cores.
         `padam_partial`: Padam with exponents from 1/16 to 1/2. The learning rate is tuned for each exponent.
         `padam_partial_short`: the same question with ResNet-20 over 3 epochs and 12 exponents from 1/24 to 1/2. It
         is for the claim about convergence: a correlation needs several exponents, each with a tuned learning rate.
Spaces:  those of `Optimizer.search_space`: the same number of decades of learning rates and of weight decays for each.
         Padam also searches its exponent, with the same number of trials, so that its space contains AMSGrad's.
         The results in `experiments/results` come from narrower spaces, in which Padam had SGD's learning rates.
Run:     make compare STUDY=cifar10_resnet20_short
"""

import dataclasses

from jaxopt_bench import catalog
from jaxopt_bench.optimizers import SGD, Adam, AdamW, AMSGrad, Cosine, MultiStep, Nadam, Padam, Schedule
from jaxopt_bench.study import Association, Claim, Comparison, Contender, Study, Target, space_of

SOURCE = "a student study of five optimizers on a ResNet and CIFAR-10, one run each"
TUNED = "each optimizer is tuned, with several seeds instead of one run each"
GOVERNS = "Padam's extra hyperparameter governs how fast it converges"
CLAIMS = (
    Claim(
        text="Padam does worse than AMSGrad",
        source=SOURCE,
        comparisons=(Comparison(measure="test_accuracy", lower="padam", higher="amsgrad"),),
    ),
    Claim(
        text="Padam's curve of the test error is smoother than AMSGrad's",
        source=SOURCE,
        comparisons=(Comparison(measure="test_error_roughness", lower="padam", higher="amsgrad"),),
    ),
    Claim(
        text=GOVERNS,
        source=SOURCE,
        associations=(Association(measure="mean_clean_loss", contender="padam", field="optimizer.partial"),),
    ),
)


def claims(differs: str) -> tuple[Claim, ...]:
    """Returns the study's claims. `differs` describes how the setting here differs from the study's."""
    return tuple(dataclasses.replace(claim, differs=differs) for claim in CLAIMS)


PADAM = Padam(partial=1 / 8, bias_correction=True, eps=1e-8, gradient_unit=0.01)  # as its authors train it


def contenders(schedule: Schedule) -> tuple[Contender, ...]:
    """Returns the study's five optimizers and AdamW."""
    optimizers = {
        "sgd": SGD(momentum=0.9),
        "adam": Adam(),
        "nadam": Nadam(),
        "amsgrad": AMSGrad(),
        "padam": PADAM,
        "adamw": AdamW(),
    }
    return tuple(Contender(name=name, optimizer=one, schedule=schedule) for name, one in optimizers.items())


def padam_at(numerator: int, denominator: int) -> Contender:
    """Returns Padam with the exponent `numerator` / `denominator`. Only its learning rate is tuned."""
    optimizer = dataclasses.replace(PADAM, partial=numerator / denominator, weight_decay=5e-4)
    space = space_of({"learning_rate": optimizer.search_space()["learning_rate"]})
    return Contender(name=f"padam_{numerator}_{denominator}", optimizer=optimizer, schedule=Cosine(), space=space)


RESNET18 = catalog.find("cifar10_resnet18_sgd").workload
RESNET20 = catalog.find("cifar10_resnet20_sgd").workload
FASTER = "Padam converges faster at an exponent of 1/16 than at 1/2"
TWENTY_FOURTHS = tuple(padam_at(numerator, 24) for numerator in range(1, 13))

STUDIES = {
    "cifar10_resnet": Study(
        name="cifar10_resnet",
        question="SGD, Adam, Nadam, AMSGrad, Padam or AdamW for a ResNet on CIFAR-10?",
        workloads=(RESNET18,),
        contenders=contenders(MultiStep(boundaries=(100, 150), factor=0.1)),
        trials=16,
        finalists=3,
        finalist_seeds=2,  # 6 more runs of each optimizer, in addition to 21
        seeds=5,
        track_test=True,
        targets=(Target(workload="cifar10_resnet18", measure="validation_accuracy", value=0.92),),
        claims=claims(TUNED),
    ),
    "cifar10_resnet20_short": Study(
        name="cifar10_resnet20_short",
        question="SGD, Adam, Nadam, AMSGrad, Padam or AdamW for ResNet-20 on CIFAR-10, in three epochs?",
        workloads=(dataclasses.replace(RESNET20, epochs=3),),
        contenders=contenders(Cosine()),
        trials=4,
        finalists=0,  # as in the recorded results
        seeds=3,
        track_test=True,
        targets=(Target(workload="cifar10_resnet20", measure="validation_accuracy", value=0.6),),
        claims=claims(f"ResNet-20 over 3 epochs; {TUNED}"),
    ),
    "padam_partial": Study(
        name="padam_partial",
        question="What does Padam's partial exponent do, from nearly SGD to AMSGrad?",
        workloads=(dataclasses.replace(RESNET20, epochs=30),),
        contenders=tuple(padam_at(1, denominator) for denominator in (16, 8, 4, 2)),
        trials=8,
        finalists=2,
        finalist_seeds=2,  # 4 more runs of each optimizer, in addition to 13
        seeds=5,
        track_test=True,
        targets=(Target(workload="cifar10_resnet20", measure="validation_accuracy", value=0.8),),
        claims=(
            Claim(
                text=FASTER,
                source="ours, of the second seed study's claim that the exponent governs how fast Padam converges",
                comparisons=(Comparison(measure="mean_clean_loss", lower="padam_1_16", higher="padam_1_2"),),
            ),
        ),
    ),
    "padam_partial_short": Study(
        name="padam_partial_short",
        question="Does Padam's partial exponent govern how fast ResNet-20 converges, in three epochs?",
        workloads=(dataclasses.replace(RESNET20, epochs=3),),
        contenders=TWENTY_FOURTHS,
        trials=4,
        finalists=0,
        seeds=3,
        claims=(
            Claim(
                text=GOVERNS,
                source=SOURCE,
                associations=(
                    Association(
                        measure="mean_clean_loss",
                        contenders=tuple(contender.name for contender in TWENTY_FOURTHS),
                        field="optimizer.partial",
                    ),
                ),
                differs="ResNet-20 over 3 epochs; the learning rate is tuned for each exponent, with several seeds "
                "instead of one run each",
            ),
        ),
    ),
}
