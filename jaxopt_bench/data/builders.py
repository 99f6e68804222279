"""Writes data sets in TFDS's own layout as ArrayRecord files, without TensorFlow.

This is the one module that imports TFDS at its top; import it only where a data set must be prepared.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets.public_api as tfds
from jaxtyping import UInt8
from PIL import Image
from tensorflow_datasets.image_classification import cifar, mnist

from jaxopt_bench.data.archives import Contents, Examples
from jaxopt_bench.data.specs import DATASETS

_FORMAT = "array_record"


def write(name: str, contents: Contents, data_dir: Path) -> None:
    """Writes `contents` to `<data_dir>/<name>/<version>`.

    TFDS writes to a folder of another name and renames it at the end, so a folder of the right name is whole.

    Args:
      name: the data set's name.
      contents: its verified examples.
      data_dir: TFDS's data directory.

    Raises:
      OSError: if the folder cannot be written, or another process made it meanwhile.
    """
    builder = _BUILDERS[name](data_dir=str(data_dir))
    builder.contents = contents
    builder.download_and_prepare(file_format=_FORMAT)


class _FromContents:
    """Generates a builder's examples from verified arrays, with TFDS's own keys and so in its record order."""

    contents: Contents
    info: Any

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # the contents are at hand
        for feature, names in self.contents.label_names.items():
            self.info.features[feature].names = list(names)
        return {split: self._generate_examples(split, part) for split, part in self.contents.splits.items()}

    def _generate_examples(self, split: str, examples: Examples) -> Iterator[tuple[int, dict[str, Any]]]:
        has_id = "id" in self.info.features
        for index, image in enumerate(examples.images):
            labels = {feature: int(values[index]) for feature, values in examples.labels.items()}
            names = {"id": f"{split}_{index:05d}"} if has_id else {}
            yield index, {**names, "image": _png(image), **labels}


class Cifar10(_FromContents, cifar.Cifar10, skip_registration=True):  # type: ignore[call-arg]
    """TFDS's `cifar10`, the same records written without TensorFlow."""

    VERSION = tfds.core.Version(DATASETS["cifar10"].version)


class Cifar100(_FromContents, cifar.Cifar100, skip_registration=True):  # type: ignore[call-arg]
    """TFDS's `cifar100`, the same records written without TensorFlow."""

    VERSION = tfds.core.Version(DATASETS["cifar100"].version)


class MNIST(_FromContents, mnist.MNIST, skip_registration=True):  # type: ignore[call-arg]
    """TFDS's `mnist`, the same records written without TensorFlow."""

    VERSION = tfds.core.Version(DATASETS["mnist"].version)


class FashionMNIST(_FromContents, mnist.FashionMNIST, skip_registration=True):  # type: ignore[call-arg]
    """TFDS's `fashion_mnist`, the same records written without TensorFlow."""

    VERSION = tfds.core.Version(DATASETS["fashion_mnist"].version)


class Digits(_FromContents, tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """The handwritten digits of the UCI repository that scikit-learn ships; see `digits/README.md`."""

    VERSION = tfds.core.Version(DATASETS["digits"].version)
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Intensities 0 to 16 are stored times 15."}

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=DATASETS["digits"].shape),
            "label": tfds.features.ClassLabel(num_classes=DATASETS["digits"].num_classes),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="1,797 handwritten digits of 8 × 8 pixels, split into 1,437 and 360 by class.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="https://doi.org/10.24432/C50P49",
            license="CC BY 4.0",
            citation="E. Alpaydin and C. Kaynak. Optical Recognition of Handwritten Digits. UCI, 1998.",
        )


_BUILDERS: dict[str, Any] = {
    "digits": Digits,
    "mnist": MNIST,
    "fashion_mnist": FashionMNIST,
    "cifar10": Cifar10,
    "cifar100": Cifar100,
}


def _png(image: UInt8[np.ndarray, "height width channels"]) -> io.BytesIO:
    # TFDS's image feature encodes arrays with TensorFlow, but takes a file of PNG bytes as it is.
    encoded = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(encoded, format="png")
    encoded.seek(0)
    return encoded
