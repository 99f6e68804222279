"""The networks the benchmark trains: Flax linen modules, their configurations, and a table of them by name.

Nothing here knows about data sets, optimizers or training.
"""

from __future__ import annotations

from jaxopt_bench.config import Named
from jaxopt_bench.models.alexnet import AlexNet, AlexNetSmall
from jaxopt_bench.models.base import Model
from jaxopt_bench.models.cnn import CNN
from jaxopt_bench.models.layers import Layers
from jaxopt_bench.models.overview import count_parameters, parameter_overview
from jaxopt_bench.models.resnet import CifarResNet, ResNet
from jaxopt_bench.models.vgg import VGG
from jaxopt_bench.models.vit import ViT
from jaxopt_bench.models.wide_resnet import WideResNet

MODELS: Named[Model] = Named(
    "model",
    alexnet=AlexNet(),
    alexnet_small=AlexNetSmall(),
    cnn=CNN(),
    resnet20=CifarResNet(depth=20),
    resnet32=CifarResNet(depth=32),
    resnet44=CifarResNet(depth=44),
    resnet56=CifarResNet(depth=56),
    resnet110=CifarResNet(depth=110),
    resnet18=ResNet(depth=18),
    resnet34=ResNet(depth=34),
    resnet50=ResNet(depth=50),
    vgg11=VGG(depth=11),
    vgg13=VGG(depth=13),
    vgg16=VGG(depth=16),
    vgg19=VGG(depth=19),
    vit_tiny=ViT(),
    wrn16_4=WideResNet(depth=16, width=4),
    wrn28_10=WideResNet(depth=28, width=10),
)

__all__ = [
    "CNN",
    "MODELS",
    "VGG",
    "AlexNet",
    "AlexNetSmall",
    "CifarResNet",
    "Layers",
    "Model",
    "ResNet",
    "ViT",
    "WideResNet",
    "count_parameters",
    "parameter_overview",
]
