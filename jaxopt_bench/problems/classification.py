"""Classification: each example has one of several classes, and a network returns a logit for each class."""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jaxtyping import Array, Float, Integer, Key, PyTree

from jaxopt_bench import data
from jaxopt_bench.config import ConfigTable, number_field
from jaxopt_bench.data import Augmentation, augment, normalise, standardise
from jaxopt_bench.data.cache import mean_and_std
from jaxopt_bench.data.specs import feature_mean_and_std
from jaxopt_bench.errors import UserError
from jaxopt_bench.models import CNN, MODELS, Inputs, Layers, Model, check_inputs, model_label
from jaxopt_bench.models.layers import LayersPath
from jaxopt_bench.prng import Draw
from jaxopt_bench.problems.base import Params, Problem, SplitProblem, Variables
from jaxopt_bench.problems.classification_views import classification_training_views, classification_views
from jaxopt_bench.problems.metrics import LOSS, Metric
from jaxopt_bench.problems.networks import apply_with_averages, initial_variables, parameter_shapes

_OF_FILES = ("target", "resize")


class LabelledInputs(NamedTuple):
    """Stored examples and their classes.

    Attributes:
      inputs: images as bytes [examples, height, width, channels], or vectors or sequences as float32 [examples, …],
        on the device or the host.
      labels: int32 [examples].
    """

    inputs: Any
    labels: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification(SplitProblem):
    """A network is trained to predict classes. The loss is the mean cross-entropy in nats; accuracy is the main metric.

    Inputs are normalised, or standardised, by their mean and standard deviation over the training and validation
    examples.

    Raises:
      UserError: if the data set is unknown, the model or the augmentation does not fit it, or a field has the wrong
        type or is out of bounds.
    """

    kinds: ClassVar[Mapping[str, ConfigTable[Any]]] = {"model": MODELS}
    metric_names: ClassVar[tuple[str, ...] | None] = ("accuracy", LOSS)
    added_later: ClassVar[tuple[str, ...]] = _OF_FILES

    dataset: str = "digits"
    """The name of a data set, or the path of your own data: a file of arrays (.npz), a table (.csv), or a folder with
    one subfolder of images for each class."""
    target: str | None = None
    """The column of a table (.csv) that contains the classes. Other data sets need no value."""
    resize: tuple[int, int] | None = number_field(None, at_least=1)
    """Height and width in pixels to which the images of a folder are scaled. Images of one size need no value."""
    model: Model = CNN()  # noqa: RUF009 (it is frozen)
    """The network."""
    augmentation: Augmentation = Augmentation()
    """Random changes of the training images, drawn again in each step. Vectors and sequences cannot be augmented."""
    label_smoothing: float = number_field(0.0, at_least=0, below=1)
    """Probability mass that is spread evenly over all classes in the training targets."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The type of the computations of the network. Parameters are always float32."""
    validation_fraction: float = number_field(0.1, at_least=0, below=1)
    """The share of the training split that is used for validation: its last examples. 0 means no validation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if data.is_file_name(self.dataset) and self.dataset not in data.DATASETS:
            object.__setattr__(self, "dataset", data.file_name(self.dataset))
        if isinstance(self.dataset, data.FileName):
            data.check_data_options(self.dataset, self.target, self.resize)
        else:
            self._check_inputs(data.dataset(self.dataset).inputs, f"the data set {self.dataset}")
            for name in _OF_FILES:
                if getattr(self, name) is not None:
                    raise UserError(
                        f"{name} is {getattr(self, name)!r}, but {self.dataset} is not a file. Expected None."
                    )

    @property
    def title(self) -> str:
        """The data set and the network, such as "digits_cnn"."""
        dataset = self.dataset.rstrip("/").partition(".")[0]
        return f"{dataset}_{model_label(self.model)}"

    def parameter_shapes(self) -> PyTree[jax.ShapeDtypeStruct]:
        """Returns the shapes and types of the parameters. It reads only a user's own data, and computes nothing."""
        if isinstance(self.dataset, data.FileName):
            read = data.read_user_data(self.dataset, self.target, self.resize)
            shape, classes = read.train[0].shape[1:], len(read.class_names)
        else:
            spec = data.dataset(self.dataset)
            shape, classes = spec.shape, spec.num_classes
        module = self.model.module(classes, Layers(self.dtype))
        return parameter_shapes(module, jax.ShapeDtypeStruct((1, *shape), jnp.float32))

    def load(self, data_dir: pathlib.Path | None = None, layers: LayersPath = "plain") -> Problem:
        """Reads the data set and returns the problem; see `ProblemConfig.load`."""
        if isinstance(self.dataset, data.FileName):
            return self._on_user_data(data.read_user_data(self.dataset, self.target, self.resize), layers)
        dataset = data.load(self.dataset, data_dir)
        train, validation = data.train_validation(dataset.split("train"), self.validation_fraction)
        return self.on_examples(
            LabelledInputs(train.inputs, train.labels),
            validation=None if validation is None else LabelledInputs(validation.inputs, validation.labels),
            test=lambda: LabelledInputs((split := dataset.split("test")).inputs, split.labels),
            class_names=dataset.class_names,
            mean=dataset.mean,
            std=dataset.std,
            layers=layers,
        )

    def _on_user_data(self, read: data.UserData, layers: LayersPath) -> Problem:
        train, validation = data.train_validation(data.Split(*read.train), self.validation_fraction)
        inputs = read.train[0]
        mean, std = mean_and_std(inputs) if _kind(inputs) == "images" else feature_mean_and_std(inputs)
        problem = self.on_examples(
            LabelledInputs(train.inputs, train.labels),
            validation=None if validation is None else LabelledInputs(validation.inputs, validation.labels),
            test=lambda: LabelledInputs(*read.test),
            class_names=read.class_names,
            mean=mean,
            std=std,
            layers=layers,
        )
        return dataclasses.replace(problem, facts={**problem.facts, "digest": read.digest})

    def on_examples(
        self,
        train: LabelledInputs,
        *,
        validation: LabelledInputs | None = None,
        test: Callable[[], LabelledInputs] | None = None,
        class_names: Sequence[str],
        mean: Sequence[float],
        std: Sequence[float],
        layers: LayersPath = "plain",
    ) -> Problem:
        """Returns the problem for the given examples. `dataset` and `validation_fraction` are not used.

        Args:
          train: the training examples.
          validation: the validation examples.
          test: a function that opens the test examples.
          class_names: the names of the classes, in the order of their labels.
          mean: the mean of the inputs, per channel or feature; for images on the scale of 0 to 1.
          std: the standard deviation of the inputs, in the same form.
          layers: see `ProblemConfig.load`.

        Raises:
          UserError: if the model or the augmentation does not fit the examples.
        """
        kind = _kind(train.inputs)
        self._check_inputs(kind, "the data")
        classes, shape = len(class_names), train.inputs.shape[1:]
        classifier = _Classifier(self, self.model.module(classes, Layers(self.dtype, layers)), kind, shape, mean, std)
        return Problem(
            train=train,
            validation=validation,
            test=test,
            init=classifier.init,
            loss=classifier.loss,
            metrics=classification_metrics(classes),
            stateful=True,
            running_averages=True,
            prepare=classifier.prepare,
            outputs=classifier.outputs,
            random=self.model.has_dropout or self.augmentation != Augmentation(),
            facts={"shape": shape, "num_classes": classes, "mean": tuple(mean), "std": tuple(std)},
            views=functools.partial(classification_views, class_names),
            training_views=functools.partial(classification_training_views, class_names, mean, std),
        )

    def _check_inputs(self, kind: Inputs, of: str) -> None:
        """Checks that the model and the augmentation fit examples of a kind; see `check_inputs`."""
        check_inputs(self.model, kind, of)
        if kind != "images" and self.augmentation != Augmentation():
            raise UserError(
                f"Classification.augmentation changes images, but {of} consists of {kind}. Expected no augmentation, "
                "which is the default."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class _Classifier:
    """The functions of a problem for a network that classifies examples of one kind and shape; see `Problem`."""

    config: Classification
    module: nn.Module
    kind: Inputs
    shape: tuple[int, ...]
    mean: Sequence[float]
    std: Sequence[float]

    def init(self, key: Key[Array, ""]) -> tuple[Params, Variables]:
        return initial_variables(self.module, key, jnp.zeros((1, *self.shape), jnp.float32))

    def prepare(self, batch: LabelledInputs, draw: Draw | None) -> LabelledInputs:
        mean, std = self.mean, self.std
        if self.kind != "images":
            return batch._replace(inputs=standardise(batch.inputs, mean, std))
        if draw is None:
            return batch._replace(inputs=normalise(batch.inputs, mean, std))
        augmentation = self.config.augmentation
        return batch._replace(inputs=augment(augmentation, batch.inputs, draw.seed, draw.step, mean, std))

    def loss(
        self, params: Params, batch: LabelledInputs, key: Key[Array, ""] | None, variables: Variables
    ) -> tuple[Float[Array, " batch"], dict[str, Float[Array, " batch"]], Variables]:
        logits, variables = apply_with_averages(self.module, params, variables, batch.inputs, key)
        losses = cross_entropy(logits, batch.labels, 0.0 if key is None else self.config.label_smoothing)
        return losses, {"accuracy": correct(logits, batch.labels)}, variables

    def outputs(self, params: Params, batch: LabelledInputs, variables: Variables) -> dict[str, Array]:
        logits, _ = apply_with_averages(self.module, params, variables, batch.inputs, None)
        # float32, as in the loss: storing them in bfloat16 would round them again
        return {"labels": batch.labels, "logits": logits.astype(jnp.float32)}


def _kind(inputs: Array | np.ndarray) -> Inputs:
    """Returns the kind of stored inputs. Bytes are images."""
    return "images" if inputs.dtype == np.uint8 else "vectors" if inputs.ndim == 2 else "sequences"


def classification_metrics(classes: int) -> tuple[Metric, ...]:
    """Returns the accuracy and the cross-entropy. An untrained model gives all classes the same probability."""
    accuracy = Metric(
        name="accuracy",
        complement="error",
        higher_is_better=True,
        unit="%",
        untrained=1 / classes,
        least=0.0,
        greatest=1.0,
    )
    return accuracy, Metric(name=LOSS, unit="nats", untrained=math.log(classes), least=0.0)


def cross_entropy(
    logits: Float[Array, "batch classes"], labels: Integer[Array, " batch"], smoothing: float = 0.0
) -> Float[Array, " batch"]:
    """Returns the cross-entropy of each example in nats, computed in float32.

    Args:
      logits: unnormalised log-probabilities.
      labels: the classes.
      smoothing: probability mass that is spread evenly over all classes (Szegedy et al., 2016, section 7).
    """
    targets = jax.nn.one_hot(labels, logits.shape[-1])
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), optax.smooth_labels(targets, smoothing))


def correct(logits: Float[Array, "batch classes"], labels: Integer[Array, " batch"]) -> Float[Array, " batch"]:
    """Returns 1 for each example if the logit of its label is the largest and finite, else 0.

    The largest logit is NaN if any logit is NaN, and infinite if a logit overflows. In these cases, `argmax` would
    return the first such class.
    """
    return ((logits.argmax(-1) == labels) & jnp.isfinite(logits.max(-1))).astype(jnp.float32)
