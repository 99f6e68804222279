"""Flax linen networks, their configurations, and a table of them by name.

This package does not depend on data sets, optimizers or training.
"""

from __future__ import annotations

from jaxopt_bench.errors import UserError
from jaxopt_bench.models.alexnet import AlexNet, AlexNetSmall
from jaxopt_bench.models.base import Inputs, Model
from jaxopt_bench.models.cnn import CNN
from jaxopt_bench.models.cnn1d import CNN1D
from jaxopt_bench.models.custom import USERS, ImportedModel, load, wrap_model
from jaxopt_bench.models.gru import GRU
from jaxopt_bench.models.layers import Layers
from jaxopt_bench.models.mlp import MLP
from jaxopt_bench.models.overview import count_parameters, parameter_overview
from jaxopt_bench.models.resnet import CifarResNet, ResNet
from jaxopt_bench.models.transformer import Transformer
from jaxopt_bench.models.vgg import VGG
from jaxopt_bench.models.vit import ViT
from jaxopt_bench.models.wide_resnet import WideResNet
from jaxopt_bench.user_config import UserTable

MODELS: UserTable[Model] = UserTable(
    USERS,
    alexnet=AlexNet(),
    alexnet_small=AlexNetSmall(),
    cnn=CNN(),
    cnn1d=CNN1D(),
    gru=GRU(),
    mlp=MLP(),
    resnet20=CifarResNet(depth=20),
    resnet32=CifarResNet(depth=32),
    resnet44=CifarResNet(depth=44),
    resnet56=CifarResNet(depth=56),
    resnet110=CifarResNet(depth=110),
    resnet18=ResNet(depth=18),
    resnet34=ResNet(depth=34),
    resnet50=ResNet(depth=50),
    transformer=Transformer(),
    vgg11=VGG(depth=11),
    vgg13=VGG(depth=13),
    vgg16=VGG(depth=16),
    vgg19=VGG(depth=19),
    vit_tiny=ViT(),
    wrn16_4=WideResNet(depth=16, width=4),
    wrn28_10=WideResNet(depth=28, width=10),
)


def check_inputs(model: Model, inputs: Inputs, of: str) -> None:
    """Checks that a model accepts examples of a kind.

    Args:
      model: the model.
      inputs: the kind.
      of: the source of the examples, such as "the data set mnist1d".

    Raises:
      UserError: if the model does not accept them. The message names the models that do.
    """
    if inputs not in model.inputs:
        fitting = ", ".join(sorted(name for name, entry in MODELS.items() if inputs in entry.inputs))
        raise UserError(
            f"the model {MODELS.name_of(model)} takes {' or '.join(model.inputs)}, but {of} consists of {inputs}. "
            f"Expected a model that takes {inputs}: {fitting}."
        )


def model_label(model: Model) -> str:
    """Returns the name of a model for titles of runs. For a user's model, it is the name of its class or function."""
    return MODELS.name_of(model).rpartition(":")[2]


__all__ = [
    "CNN",
    "CNN1D",
    "GRU",
    "MLP",
    "MODELS",
    "VGG",
    "AlexNet",
    "AlexNetSmall",
    "CifarResNet",
    "ImportedModel",
    "Inputs",
    "Layers",
    "Model",
    "ResNet",
    "Transformer",
    "ViT",
    "WideResNet",
    "check_inputs",
    "count_parameters",
    "load",
    "model_label",
    "parameter_overview",
    "wrap_model",
]
