"""cifar10_resnet*: the second seed study's question, SGD, Adam, Nadam, AMSGrad or Padam on a ResNet and CIFAR-10.

Asks:    whether Padam does worse than AMSGrad, with a smoother curve of the test error, and whether its partial
         exponent decides how fast it converges, as a student study reads off one run each. AdamW is with them, as what
         one would take today.
Studies: `cifar10_resnet`: ResNet-18 over 200 epochs, under the schedule of Padam's authors.
         `cifar10_resnet20_short`: ResNet-20 over 3 epochs; some hours on two cores.
         `padam_partial`: Padam at exponents from 1/16 to 1/2, each tuned in its learning rate.
Run:     make compare STUDY=cifar10_resnet20_short
"""

import dataclasses

from jaxopt_bench import catalog
from jaxopt_bench.optimizers import (
    SGD,
    Adam,
    AdamW,
    AMSGrad,
    Axis,
    Cosine,
    MultiStep,
    Nadam,
    Optimizer,
    Padam,
    Schedule,
    Space,
)
from jaxopt_bench.study import Association, Claim, Comparison, Contender, Study, Target

SOURCE = "a student study of five optimizers on a ResNet and CIFAR-10, one run each"
TUNED = "each optimizer is tuned, with several seeds instead of one run each"
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
        text="Padam's extra hyperparameter governs how fast it converges",
        source=SOURCE,
        associations=(Association(measure="mean_clean_loss", contender="padam", field="optimizer.partial"),),
    ),
)


def claims(differs: str) -> tuple[Claim, ...]:
    """Returns what the study says; `differs` is how the setting here differs from the study's."""
    return tuple(dataclasses.replace(claim, differs=differs) for claim in CLAIMS)


MOMENTUM_RATES = Axis(1e-2, 1.0, "log", "ours, two decades around 0.1")
ADAPTIVE_RATES = Axis(1e-4, 1e-2, "log", "ours, two decades around 1e-3")
COUPLED = Axis(1e-5, 1e-2, "log", "ours, three decades around 5e-4")
DECOUPLED = Axis(1e-3, 1.0, "log", "ours, three decades around 0.05")
PARTIAL = Axis(1 / 16, 1 / 2, "log", "Chen et al., 2020, section 5: 1/4, 1/8 and 1/16; 1/2 is AMSGrad")

PADAM = Padam(partial=1 / 8, bias_correction=True, eps=1e-8)  # as its authors train it


def tuned(name: str, optimizer: Optimizer, rates: Axis, decays: Axis, schedule: Schedule, **more: Axis) -> Contender:
    """Returns an optimizer tuned in its learning rate, its weight decay, and what else there is."""
    space = {"learning_rate": rates, "weight_decay": decays, **more}
    named = Space({f"optimizer.{field}": axis for field, axis in space.items()})
    return Contender(name=name, optimizer=optimizer, schedule=schedule, space=named)


def contenders(schedule: Schedule) -> tuple[Contender, ...]:
    """Returns the study's five optimizers and AdamW. Padam's exponent is tuned from the same budget."""
    return (
        tuned("sgd", SGD(momentum=0.9), MOMENTUM_RATES, COUPLED, schedule),
        tuned("adam", Adam(), ADAPTIVE_RATES, COUPLED, schedule),
        tuned("nadam", Nadam(), ADAPTIVE_RATES, COUPLED, schedule),
        tuned("amsgrad", AMSGrad(), ADAPTIVE_RATES, COUPLED, schedule),
        tuned("padam", PADAM, MOMENTUM_RATES, COUPLED, schedule, partial=PARTIAL),
        tuned("adamw", AdamW(), ADAPTIVE_RATES, DECOUPLED, schedule),
    )


def padam_at(denominator: int) -> Contender:
    """Returns Padam with an exponent of 1 over something, tuned in its learning rate.

    The range is the whole span between SGD's learning rates and Adam's.
    """
    optimizer = dataclasses.replace(PADAM, partial=1 / denominator, weight_decay=5e-4)
    space = Space({"optimizer.learning_rate": Axis(1e-4, 1.0, "log", "ours, from Adam's to SGD's")})
    return Contender(name=f"padam_1_{denominator}", optimizer=optimizer, schedule=Cosine(), space=space)


RESNET18 = catalog.find("cifar10_resnet18_sgd").workload
RESNET20 = catalog.find("cifar10_resnet20_sgd").workload
FASTER = "Padam converges faster at an exponent of 1/16 than at 1/2"

STUDIES = {
    "cifar10_resnet": Study(
        name="cifar10_resnet",
        question="SGD, Adam, Nadam, AMSGrad, Padam or AdamW for a ResNet on CIFAR-10?",
        workloads=(RESNET18,),
        contenders=contenders(MultiStep(boundaries=(100, 150), factor=0.1)),
        trials=16,
        finalists=3,
        finalist_seeds=2,  # 6 more runs of an optimizer, which has 21 without them
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
        finalists=0,  # as it was recorded
        seeds=3,
        track_test=True,
        targets=(Target(workload="cifar10_resnet20", measure="validation_accuracy", value=0.6),),
        claims=claims(f"ResNet-20 over 3 epochs; {TUNED}"),
    ),
    "padam_partial": Study(
        name="padam_partial",
        question="What does Padam's partial exponent do, from nearly SGD to AMSGrad?",
        workloads=(dataclasses.replace(RESNET20, epochs=30),),
        contenders=tuple(padam_at(denominator) for denominator in (16, 8, 4, 2)),
        trials=8,
        finalists=2,
        finalist_seeds=2,  # 4 more runs of an optimizer, which has 13 without them
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
}
