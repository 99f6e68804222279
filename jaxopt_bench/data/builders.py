"""Writes data sets in TFDS's own layout as ArrayRecord files, without TensorFlow.

This is the only module that imports TFDS at its top. Import it only to prepare a data set.
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

    TFDS writes to a folder with a temporary name and renames it at the end, so a folder with the final name is
    complete.

    Args:
      name: the name of the data set.
      contents: the verified examples.
      data_dir: the data directory of TFDS.

    Raises:
      OSError: if the folder cannot be written, or another process created it in the meantime.
    """
    builder = _BUILDERS[name](data_dir=str(data_dir))
    builder.contents = contents
    builder.download_and_prepare(file_format=_FORMAT)


class _FromContents:
    """Generates the examples of a builder from verified arrays, with the keys and thus the record order of TFDS."""

    contents: Contents
    info: Any

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        del dl_manager  # nothing has to be downloaded
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
    """The `cifar10` of TFDS. It writes the same records without TensorFlow."""

    VERSION = tfds.core.Version(DATASETS["cifar10"].version)


class Cifar100(_FromContents, cifar.Cifar100, skip_registration=True):  # type: ignore[call-arg]
    """The `cifar100` of TFDS. It writes the same records without TensorFlow."""

    VERSION = tfds.core.Version(DATASETS["cifar100"].version)


class MNIST(_FromContents, mnist.MNIST, skip_registration=True):  # type: ignore[call-arg]
    """The `mnist` of TFDS. It writes the same records without TensorFlow."""

    VERSION = tfds.core.Version(DATASETS["mnist"].version)


class FashionMNIST(_FromContents, mnist.FashionMNIST, skip_registration=True):  # type: ignore[call-arg]
    """The `fashion_mnist` of TFDS. It writes the same records without TensorFlow."""

    VERSION = tfds.core.Version(DATASETS["fashion_mnist"].version)


class Digits(_FromContents, tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """The handwritten digits of the UCI repository that scikit-learn includes; see `digits/README.md`."""

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
    # The image feature of TFDS encodes arrays with TensorFlow, but accepts a file of PNG bytes without changes.
    encoded = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(encoded, format="png")
    encoded.seek(0)
    return encoded
