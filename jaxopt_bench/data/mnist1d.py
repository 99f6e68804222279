"""MNIST-1D: ten shapes of 12 numbers, which are stretched, shifted, sheared and noisy, in sequences of 40 numbers.

The data are generated from a seed with the procedure of the authors, and the numbers are the same as theirs. No file
is read or written.

Source: Greydanus and Kobak 2020, "Scaling down Deep Learning with MNIST-1D", arXiv 2011.14439, and the package
`mnist1d` of the authors (Apache-2.0).
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float, Float32, Int32

SEED = 42
LENGTH = 40
CLASSES = 10
EXAMPLES = 5000
TRAIN_EXAMPLES = 4000

_TEMPLATES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
_LEAST_PADDING, _MOST_PADDING = 36, 60  # zeros after a template
_STRETCHED = 12 + _MOST_PADDING  # length of a sequence before it is sampled
_SCALES = 0.4  # the width of the interval of factors around 1
_SHIFTS = 48  # a sequence is rotated by 0 to 47 positions
_SMOOTH_NOISE, _NOISE = 0.25, 0.02  # standard deviations; that of the smooth noise before smoothing
_SMOOTHING = 2  # standard deviation of the Gaussian filter, in positions
_SHEAR = 0.75  # the width of the interval of slopes around 0
_OFFSET = 1e-8  # added to templates, so that none of their numbers is zero like the padding


@functools.cache
def generate() -> tuple[Float32[np.ndarray, "examples length"], Int32[np.ndarray, " examples"]]:
    """Returns the sequences and their classes in the authors' order. The first 4,000 are the training examples.

    The numbers of all examples together have mean 0 and standard deviation 1. They are drawn in half a second from
    NumPy's `RandomState`, because its stream of numbers never changes.
    """
    from scipy import ndimage  # imported here, so that the command line starts without it

    random = np.random.RandomState(SEED)
    templates = np.asarray(_TEMPLATES, float)
    templates = templates - templates.mean(1, keepdims=True)
    templates /= templates.std(1, keepdims=True)
    templates = (templates - templates[:, :1]) / 6 + _OFFSET

    labels = np.repeat(np.arange(CLASSES, dtype=np.int32), EXAMPLES // CLASSES)
    signals, smooth, white = np.empty((3, EXAMPLES, _STRETCHED))
    slopes = np.empty(EXAMPLES)
    for i, label in enumerate(labels):  # the same order of draws as the authors'
        padding = _LEAST_PADDING + int(random.rand() * (_MOST_PADDING - _LEAST_PADDING + 1))
        signal = _sample(np.concatenate([templates[label], np.zeros(padding)]), _STRETCHED)
        signal *= 1 + _SCALES * (random.rand() - 0.5)
        signals[i] = np.roll(signal, random.choice(_SHIFTS))
        smooth[i] = random.randn(_STRETCHED)
        white[i] = random.randn(_STRETCHED)
        slopes[i] = _SHEAR * (random.rand() - 0.5)

    noise = ndimage.gaussian_filter1d(_SMOOTH_NOISE * smooth, _SMOOTHING, axis=1)
    signals = np.where(signals != 0, signals, noise) + _NOISE * white
    signals -= slopes[:, None] * np.linspace(-0.5, 0.5, _STRETCHED)
    sequences = np.stack([_sample(signal, LENGTH) for signal in signals])
    order = random.permutation(EXAMPLES)
    sequences = sequences[order]
    standard = (sequences - sequences.mean()) / sequences.std()
    return standard.astype(np.float32), labels[order]


def _sample(signal: Float[np.ndarray, " before"], length: int) -> Float[np.ndarray, " after"]:
    """Returns a signal at `length` equally spaced positions, linearly interpolated."""
    return np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(signal)), signal)
