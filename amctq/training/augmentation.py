"""The sample's augmentation: RandomCrop(32, padding 4) and RandomHorizontalFlip(0.5), for images of any size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amctq.training.randomness import Purpose, below, draw

_PADDING = 8  # an eighth of each side: 4 pixels of CIFAR-10's 32


def crop_and_flip(images: NDArray[np.uint8], *, seed: int, epoch: int, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Shift each image by up to an eighth of its sides, fill with black, and mirror half of the images.

    Args:
        images: uint8 (N, C, H, W).
        seed: of the run.
        epoch: from 0.
        indices: int64 (N,), the number of each training image; seed, epoch and number decide everything.

    Returns:
        uint8 (N, C, H, W).
    """
    count, channels, height, width = images.shape
    vertical, horizontal = height // _PADDING, width // _PADDING
    top = below(draw(seed, Purpose.TOP, epoch, indices), 2 * vertical + 1)
    left = below(draw(seed, Purpose.LEFT, epoch, indices), 2 * horizontal + 1)
    flip = draw(seed, Purpose.FLIP, epoch, indices) >> np.uint64(63) == 1
    padded = np.zeros((count, channels, height + 2 * vertical, width + 2 * horizontal), np.uint8)
    padded[:, :, vertical : vertical + height, horizontal : horizontal + width] = images
    rows = top[:, None] + np.arange(height)
    columns = left[:, None] + np.where(flip[:, None], np.arange(width)[::-1], np.arange(width))
    image, channel = np.ogrid[:count, :channels]
    changed: NDArray[np.uint8] = padded[
        image[:, :, None, None], channel[:, :, None, None], rows[:, None, :, None], columns[:, None, None, :]
    ]
    return changed
