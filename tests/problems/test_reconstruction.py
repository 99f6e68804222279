"""Autoencoders: images against scikit-learn, losses and gradients against PyTorch, ELBO against torch.distributions."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from jaxopt_bench import prng
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import MLP
from jaxopt_bench.problems import Autoencoder, Problem, VariationalAutoencoder

torch: Any = pytest.importorskip("torch")

SMALL = MLP(widths=(9, 6), activation="tanh")
LAYERS = tuple(itertools.product(("encoder", "decoder"), ("dense1", "dense2", "head")))


@pytest.fixture(scope="module")
def autoencoder(digits_dir) -> Problem:
    return Autoencoder(encoder=SMALL, code=3).load(digits_dir)


@pytest.fixture(scope="module")
def variational(digits_dir) -> Problem:
    return VariationalAutoencoder(encoder=SMALL, code=3).load(digits_dir)


def initial(problem: Problem) -> Any:
    """Returns parameters that are larger than the initial ones, so that the loss depends on the code."""
    return jax.tree.map(lambda p: 1.5 * p, problem.initial(prng.key(0, prng.Purpose.INITIALISATION))[0])


def trained_on(problem: Problem, params: Any, batch: Any, draw: prng.Draw) -> tuple[Any, Any]:
    return jax.value_and_grad(lambda p: problem.training(p, {}, batch, draw)[0])(params)


class Copy(torch.nn.Module):
    """The same networks in PyTorch, in float64."""

    def __init__(self, params: Any):
        super().__init__()
        self.layers = torch.nn.ModuleDict()
        for part, name in LAYERS:
            kernel, bias = (np.asarray(params[part][name][kind], np.float64) for kind in ("kernel", "bias"))
            layer = torch.nn.Linear(*kernel.shape).double()
            layer.weight.data, layer.bias.data = torch.tensor(kernel.T), torch.tensor(bias)
            self.layers[f"{part}_{name}"] = layer

    def run(self, part: str, inputs: Any) -> Any:
        for name in ("dense1", "dense2"):
            inputs = torch.tanh(self.layers[f"{part}_{name}"](inputs))
        return self.layers[f"{part}_head"](inputs)

    def check_gradient(self, gradient: Any) -> None:
        for part, name in LAYERS:
            layer = self.layers[f"{part}_{name}"]
            for kind, expected in (("kernel", layer.weight.grad.T.numpy()), ("bias", layer.bias.grad.numpy())):
                close = 1e-5 * np.abs(expected).max()
                np.testing.assert_allclose(gradient[part][name][kind], expected, rtol=1e-4, atol=close)


def test_pixels_are_those_of_scikit_learn_divided_by_16(autoencoder):
    pixels = np.concatenate([autoencoder.train, autoencoder.validation, autoencoder.split("test")])
    assert [len(autoencoder.train), len(autoencoder.validation)] == [1293, 144]
    expected = load_digits().data / 16
    order = lambda rows: rows[np.lexsort(rows.T)]  # noqa: E731
    np.testing.assert_array_equal(order(pixels), order(expected))


def test_the_autoencoders_loss_and_gradient_are_those_of_pytorch(autoencoder):
    params, batch = initial(autoencoder), autoencoder.train[:20]
    copy, pixels = Copy(params), torch.tensor(batch, dtype=torch.float64)
    logits = copy.run("decoder", copy.run("encoder", pixels))
    losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum(dim=1)
    errors = ((torch.sigmoid(logits) - pixels) ** 2).sum(dim=1)
    found = autoencoder.evaluation(params, {}, batch)
    np.testing.assert_allclose(found["loss"], losses.detach(), rtol=1e-5)
    np.testing.assert_allclose(found["reconstruction_error"], errors.detach(), rtol=1e-5)
    losses.mean().backward()
    loss, gradient = trained_on(autoencoder, params, batch, prng.Draw(0, 0))
    assert loss == pytest.approx(losses.mean().item(), rel=1e-5)
    copy.check_gradient(gradient)
    assert not autoencoder.random


def torch_bound(copy: Copy, pixels: Any, noise: Any) -> Any:
    """Returns the negative ELBO of images by `torch.distributions`, for given standard normal draws of the codes."""
    mean, log_variance = copy.run("encoder", pixels).chunk(2, dim=1)
    posterior = torch.distributions.Normal(mean, torch.exp(log_variance / 2))
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    divergence = torch.distributions.kl_divergence(posterior, prior).sum(dim=1)
    logits = copy.run("decoder", mean + torch.exp(log_variance / 2) * noise)
    likelihood = torch.distributions.Binomial(16, logits=logits).log_prob(torch.round(16 * pixels))
    return divergence - likelihood.sum(dim=-1)


def test_the_variational_autoencoders_loss_and_gradient_are_those_of_pytorch(variational):
    """Both sides use the noise that a training step draws."""
    params, batch, draw = initial(variational), variational.train[:20], prng.Draw(5, 7)
    _, _, key = jax.random.split(draw.key(prng.Purpose.LOSS), 3)
    noise = torch.tensor(np.asarray(jax.random.normal(key, (1, 20, 3))), dtype=torch.float64)[0]
    copy = Copy(params)
    bound = torch_bound(copy, torch.tensor(batch, dtype=torch.float64), noise).mean()
    bound.backward()
    loss, gradient = trained_on(variational, params, batch, draw)
    assert loss == pytest.approx(bound.item(), rel=1e-5)
    copy.check_gradient(gradient)
    other, _ = trained_on(variational, params, batch, prng.Draw(5, 8))
    assert loss != other
    assert variational.random


def test_evaluation_estimates_the_bound_with_the_same_draws_for_all_images(variational):
    params, batch = initial(variational), variational.train[:30]
    found = variational.evaluation(params, {}, batch)
    alone = variational.evaluation(params, {}, batch[7:8])
    assert found["loss"][7] == pytest.approx(float(alone["loss"][0]), rel=1e-6)
    copy, pixels = Copy(params), torch.tensor(batch, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        draws = torch.stack(
            [
                torch_bound(copy, pixels, torch.randn(30, 3, dtype=torch.float64, generator=generator))
                for _ in range(400)
            ]
        )
    spread = draws.std(dim=0).numpy()
    exact = draws.mean(dim=0).numpy()
    # The mean of 16 draws has a quarter of one draw's standard deviation, the mean of 400 draws a twentieth.
    assert (np.abs(found["loss"] - exact) < 4 * spread * np.hypot(1 / 4, 1 / 20)).all()
    of_the_mean = torch_bound(copy, pixels, torch.zeros(30, 3, dtype=torch.float64)).detach().numpy()
    assert np.mean((np.asarray(found["loss"]) - exact) ** 2) < np.mean((of_the_mean - exact) ** 2)
    np.testing.assert_allclose(found["bits_per_dimension"], np.asarray(found["loss"]) / 64 / np.log(2), rtol=1e-6)


def test_the_probabilities_of_all_images_sum_to_one():
    """Over all 17 values of one pixel, the probabilities of a decoder that ignores its code sum to 1."""

    class OnePixel:
        encode = staticmethod(lambda pixels, key: jnp.zeros((len(pixels), 6)))  # a standard normal posterior
        decode = staticmethod(lambda code, key: jnp.full((len(code), 1), 0.7))

    config = VariationalAutoencoder(encoder=SMALL, code=3)
    losses, _ = config.losses(OnePixel(), jnp.arange(17.0)[:, None] / 16, None)
    assert np.exp(-np.asarray(losses)).sum() == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(("kind", "pixels"), [(Autoencoder, 64), (VariationalAutoencoder, 32 * 32)])
def test_the_loss_per_pixel_is_the_loss_divided_by_the_number_of_pixels(kind, pixels, digits_dir):
    """Each of the 64 pixels of a digit is the number of dark pixels among 4 × 4 binary pixels."""
    summed, config = kind(encoder=SMALL, code=3).load(digits_dir), kind(encoder=SMALL, code=3, per_pixel=True)
    mean = config.load(digits_dir)
    params, batch, draw = initial(summed), summed.train[:20], prng.Draw(1, 2)
    (loss, gradient), (whole, of_whole) = (trained_on(problem, params, batch, draw) for problem in (mean, summed))
    assert loss == pytest.approx(float(whole) / pixels, rel=1e-5)
    for own, other in zip(*map(jax.tree.leaves, (gradient, of_whole)), strict=True):
        np.testing.assert_allclose(own, other / pixels, rtol=1e-4, atol=1e-9)
    found, others = mean.evaluation(params, {}, batch), summed.evaluation(params, {}, batch)
    for name in found.keys() - {"loss"}:
        np.testing.assert_allclose(found[name], others[name], rtol=1e-6)
    assert "pixel" in mean.all_metrics[-1].unit
    assert kind.from_json(config.to_json()) == config
    assert "per_pixel" not in kind().to_json()  # older runs do not have this field


def test_the_page_shows_each_image_beside_its_reconstruction(autoencoder):
    params, test = initial(autoencoder), autoencoder.split("test")
    outputs = autoencoder.predictions(params, {}, test)
    (view,) = autoencoder.views(test, outputs)
    assert view.images.shape == (24, 8, 17, 1)
    np.testing.assert_array_equal(view.images[..., :8, 0], np.round(255 * test[:24].reshape(-1, 8, 8)))
    np.testing.assert_array_equal(view.images[..., 9:, :], np.round(255 * np.asarray(outputs["reconstructions"][:24])))
    errors = autoencoder.evaluation(params, {}, test[:24])["reconstruction_error"]
    np.testing.assert_allclose([float(caption) for caption in view.captions], errors, atol=0.006)


def test_the_variational_autoencoder_shows_the_reconstruction_of_the_mean_code(variational):
    params, batch = initial(variational), variational.train[:5]
    copy, pixels = Copy(params), torch.tensor(batch, dtype=torch.float64)
    expected = torch.sigmoid(copy.run("decoder", copy.run("encoder", pixels)[:, :3])).detach().reshape(5, 8, 8, 1)
    np.testing.assert_allclose(variational.predictions(params, {}, batch)["reconstructions"], expected, atol=1e-5)


def test_parameter_shapes_need_no_data(variational):
    config = VariationalAutoencoder(encoder=SMALL, code=3)
    shapes = jax.tree.map(lambda leaf: leaf.shape, config.parameter_shapes())
    assert shapes == jax.tree.map(lambda leaf: leaf.shape, initial(variational))
    assert shapes["decoder"]["dense1"]["kernel"] == (3, 6)


def test_data_sets_without_images_are_refused():
    with pytest.raises(UserError, match=r"VariationalAutoencoder\.dataset is 'mnist1d', which consists of sequences"):
        VariationalAutoencoder(dataset="mnist1d")
    with pytest.raises(UserError, match="unknown dataset 'digit'; did you mean digits"):
        Autoencoder(dataset="digit")
