"""The inputs of a convolution as a matrix: a row for each weight of an output channel, a column for each position.

A convolution is then the product of its weight, (C_out, d) with d = C_in · k_h · k_w, and this matrix (im2col).
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from amctq.quant import numerics
from amctq.quant.numerics import Float32Array


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Where a convolution looks; every tuple has one number for each spatial axis.

    Attributes:
        kernel: size of the kernel.
        strides: step of the window.
        begins: zeros before the inputs; a negative number cuts inputs off.
        ends: the same behind.
        dilations: step between the taps of the kernel.
        spread: step between inputs with zeros in between, of a transposed convolution; else 1.
        turned: the last tap comes first, as in a transposed convolution.
        groups: the channels are divided into as many convolutions of their own.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    dilations: tuple[int, ...]
    spread: tuple[int, ...]
    turned: bool
    groups: int

    def columns(self, windows: Float32Array) -> Float32Array:
        """(groups, d, positions) of what ``windows`` yields, or of a part of it; positions run over images first."""
        count, axes = len(windows), len(self.kernel)
        grouped = windows.reshape(count, self.groups, -1, *windows.shape[2:])
        positions, taps = range(3, 3 + axes), range(3 + axes, 3 + 2 * axes)
        ordered = np.ascontiguousarray(grouped.transpose(1, 2, *taps, 0, *positions))
        return ordered.reshape(self.groups, ordered.shape[1] * math.prod(self.kernel), -1)

    def sums(self, windows: Float32Array) -> NDArray[np.float64]:
        """The sums of ``columns`` over the positions, float64 of shape (groups, d), without making them."""
        axes = len(self.kernel)
        over = (0, *range(2, 2 + axes))
        found = np.empty((windows.shape[1], *self.kernel))
        for tap in itertools.product(*map(range, self.kernel)):
            at: Any = (..., *tap)
            found[at] = numerics.sums(windows[at], over)
        return found.reshape(self.groups, -1)

    def windows(self, images: Float32Array) -> Float32Array:
        """A view (N, C, *positions, *kernel) of the inputs (N, C, …) with their padding."""
        axes: Any = tuple(range(2, 2 + len(self.kernel)))
        reach = tuple((size - 1) * step + 1 for size, step in zip(self.kernel, self.dilations, strict=True))
        every: Any = (..., *(slice(None, None, step) for step in (*self.strides, *self.dilations)))
        view: Float32Array = sliding_window_view(self._padded(images), reach, axis=axes)[every]
        return np.flip(view, axis=tuple(range(-len(axes), 0))) if self.turned else view

    def _padded(self, images: Float32Array) -> Float32Array:
        sizes = [(size - 1) * step + 1 for size, step in zip(images.shape[2:], self.spread, strict=True)]
        before, after = ([max(zeros, 0) for zeros in edge] for edge in (self.begins, self.ends))
        room = [sum(parts) for parts in zip(before, sizes, after, strict=True)]
        padded = np.zeros((*images.shape[:2], *room), np.float32)
        places = zip(before, sizes, self.spread, strict=True)
        inside: Any = (..., *(slice(start, start + size, step) for start, size, step in places))
        padded[inside] = images
        ends = zip(self.begins, self.ends, room, strict=True)
        kept: Any = (..., *(slice(max(-begin, 0), length - max(-end, 0)) for begin, end, length in ends))
        cut: Float32Array = padded[kept]
        return cut
