"""What a layer reads in a network that is rounded up to it, beside what it reads in the float network."""

from __future__ import annotations

import numpy as np

from amctq.quant.numerics import Float32Array
from amctq.quant.rounding.columns import Windows
from amctq.quant.rounding.inputs import InputStatistics, InputWatcher, SecondMoments, WantedInputs


class PairWatcher:
    """Adds up the statistics of a tensor that layers read, in two networks at once.

    Both are watched as one tensor with twice the channels: its second moments hold those of each, and how the two are
    correlated.

    Args:
        windows: where a convolution looks; None for a product with a matrix, whose inputs are the last axis.
    """

    def __init__(self, windows: Windows | None) -> None:
        self._windows = windows
        self._watcher = InputWatcher(windows, second=True, networks=2)

    def expect(self, images: int) -> None:
        """Say how many images there will be."""
        self._watcher.expect(images)

    def update(self, read: Float32Array, wanted: Float32Array) -> None:
        """See a batch: of the network that is rounded in part, and of the float one."""
        self._watcher.update(_side_by_side(read, wanted, self._windows))

    def finish(self) -> InputStatistics:
        """The statistics of all that was seen; called once."""
        both = self._watcher.finish()
        d = both.mean.shape[1] // 2
        assert both.second is not None
        covariance, mean = both.second.covariance, both.second.mean
        second = SecondMoments(covariance=covariance[:, :d, :d], mean=mean[:, :d])
        wanted = WantedInputs(mean=both.mean[:, d:], cross=covariance[:, d:, :d], center=mean[:, d:])
        return InputStatistics(mean=both.mean[:, :d], second=second, wanted=wanted)


def _side_by_side(one: Float32Array, other: Float32Array, windows: Windows | None) -> Float32Array:
    """The inputs of both in each group of channels."""
    if windows is None:
        return np.concatenate([one, other], axis=-1)
    count, channels, *rest = one.shape
    grouped = [array.reshape(count, windows.groups, -1, *rest) for array in (one, other)]
    found: Float32Array = np.concatenate(grouped, axis=2).reshape(count, 2 * channels, *rest)
    return found
