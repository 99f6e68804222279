"""The suite's workloads against PyTorch: the same losses in the first steps, from the same weights and batches.

PyTorch's own networks, losses, gradients and AdamW are an independent oracle for those of the project. The tests run
only if PyTorch is installed (the extra `peers`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from experiments.speed.inputs.suite import suite_task, suite_workloads
from experiments.speed.jax_side.suite import first_losses, first_steps
from experiments.speed.measure.agreement import DisagreementError
from experiments.speed.sections.suite import compare
from jaxopt_bench.training import CodePath

torch: Any = pytest.importorskip("torch")


ALWAYS = ("digits_vae_mini", "mnist1d_gru_mini", "noisy_quadratic_mini", "poisson_mini")
"""Workloads of different kinds. The tests of all other workloads are slow tests."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(w.name, marks=() if w.name in ALWAYS else pytest.mark.slow) for w in suite_workloads()],
)
def test_the_first_losses_are_those_of_pytorch(name, digits_dir):
    from experiments.speed.torch_side import suite

    (workload,) = suite_workloads([name])
    task = suite_task(workload, digits_dir, CodePath("pure", "compiled", "map"), drops=False)
    ours, theirs = first_losses(task), suite.first_losses(task, first_steps(task), torch.device("cpu"))
    assert len(set(theirs)) == 3  # the weights change, so that gradients and updates are compared too
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("wrong", [1.001, float("nan")])
def test_another_loss_is_refused_and_the_message_names_the_workload_and_the_step(wrong):
    with pytest.raises(DisagreementError, match=r"poisson: the loss of step 2 is .* Expected"):
        compare("poisson", [1.0, 2.0 * wrong, 3.0], [1.0, 2.0, 3.0])
