"""An ordinary PyTorch input pipeline: workers crop and flip single images on the host, and batches are transferred.

A first script usually does this. The comparison shows the benefit of keeping the images on the device.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from experiments.speed.inputs.workloads import Images
from experiments.speed.torch_side.training import PADDING, Trainer, Variant
from jaxopt_bench.training import Task


class Augmented(Dataset):
    """Images cropped, flipped and normalised on the host, one by one."""

    def __init__(self, images: Images, mean: tuple[float, ...], std: tuple[float, ...]):
        self.images, self.labels = images.images, images.labels
        self.mean, self.std = np.asarray(mean, np.float32), np.asarray(std, np.float32)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = np.pad(self.images[index], ((PADDING, PADDING), (PADDING, PADDING), (0, 0)))
        top, left, flip = np.random.randint([2 * PADDING + 1, 2 * PADDING + 1, 2])
        height, width = self.images.shape[1:3]
        image = image[top : top + height, left : left + width]
        image = image[:, ::-1] if flip else image
        pixels = (image.astype(np.float32) / 255 - self.mean) / self.std
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))), int(self.labels[index])


class LoaderTrainer(Trainer):
    """A network in training, fed by a `DataLoader`."""

    def __init__(self, task: Task, images: Images, device: torch.device):
        super().__init__(task, images, Variant(channels_last=True), device)
        workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.loader = DataLoader(
            Augmented(images, task.problem.facts["mean"], task.problem.facts["std"]),
            batch_size=task.experiment.workload.batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            pin_memory=device.type == "cuda",
            persistent_workers=True,
            multiprocessing_context="forkserver",  # a fork would copy thread locks of JAX and CUDA
        )
        self.ahead = workers * 2  # batches that the workers prefetch
        self.batches = self._forever()

    def settle(self) -> None:
        """Uses up the batches that the workers made while other contenders were measured."""
        for _ in range(self.ahead):
            next(self.batches)

    def _batch(self) -> tuple[Tensor, Tensor]:
        images, labels = next(self.batches)
        return (
            images.to(self.device, non_blocking=True, memory_format=torch.channels_last),
            labels.to(self.device, non_blocking=True),
        )

    def _forever(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader
