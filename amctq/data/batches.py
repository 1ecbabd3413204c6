"""Batches of prepared images, made when they are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amctq.data.cifar import Images
from amctq.data.preprocess import Preprocessing
from amctq.quant.numerics import Float32Array


@dataclass(frozen=True, kw_only=True, eq=False)
class Batches:
    """Iterates over (images (n, 3, H, W) float32, labels (n,) int64), in order, the last partial batch included."""

    images: Images
    preprocessing: Preprocessing
    batch_size: int

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[Float32Array, NDArray[np.int64]]]:
        for start in range(0, len(self.images), self.batch_size):
            chosen = slice(start, start + self.batch_size)
            yield self.preprocessing(self.images.pixels[chosen]), self.images.labels[chosen]

    def first(self) -> Float32Array:
        """The images of the first batch."""
        return self.preprocessing(self.images.pixels[: self.batch_size])
