"""Derivatives of networks with respect to their inputs in PyTorch, for differential equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def second_derivative(network: nn.Module, points: Tensor) -> Tensor:
    """Returns the second derivative of a network of one coordinate at points [points, 1], in the same shape.

    In compiled mode, it is the derivative of a directional derivative, because torch.compile does not support gradients
    of gradients (double backward). In eager mode, it is the gradient of a gradient.
    """
    if torch.compiler.is_compiling():
        direction = torch.ones_like(points)

        def first(at: Tensor) -> Tensor:
            return torch.func.jvp(network, (at,), (direction,))[1]

        return torch.func.jvp(first, (points,), (direction,))[1]
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(network(points).sum(), points, create_graph=True)
    return torch.autograd.grad(slope.sum(), points, create_graph=True)[0]
