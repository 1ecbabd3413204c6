"""Small pictures of samples, for the report."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from amctq.data.preprocess import Preprocessing
    from amctq.data.samples import Samples

_SIDE = 64  # pixels


def thumbnails(samples: Samples, positions: NDArray[np.int64]) -> list[str] | None:
    """Pictures of the samples at some positions, as PNG in data URIs; None where samples are no images.

    Raises:
        InputError: a sample cannot be read.
    """
    specs = list(samples.inputs.values())
    if len(specs) != 1 or not specs[0].is_image or specs[0].shape[0] not in {1, 3}:
        return None
    if not len(positions) or not samples.indexed:
        return None
    order = np.argsort(positions)  # a file is read in its order
    inputs, _ = samples.chosen(positions[order])
    (images,) = inputs.values()
    pictures = dict(zip(order.tolist(), (_picture(image, samples.preprocessing) for image in images), strict=True))
    return [pictures[place] for place in range(len(positions))]


def _picture(image: NDArray[Any], preprocessing: Preprocessing | None) -> str:
    from PIL import Image

    pixels = _pixels(image, preprocessing).transpose(1, 2, 0)
    picture = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])
    picture.thumbnail((_SIDE, _SIDE))
    content = io.BytesIO()
    picture.save(content, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _pixels(image: NDArray[Any], preprocessing: Preprocessing | None) -> NDArray[np.uint8]:
    """uint8 (C, H, W): what the image was before it was normalized; of one that came prepared, from black to white."""
    values = image.astype(np.float64)
    if preprocessing is None:
        low, high = float(values.min()), float(values.max())
        values = (values - low) / (high - low) if high > low else np.zeros_like(values)
    else:
        mean, std = np.asarray(preprocessing.mean), np.asarray(preprocessing.std)
        if len(values) == 1:  # as in Preprocessing.grey
            mean, std = mean.mean(keepdims=True), std.mean(keepdims=True)
        values = values * std[:, None, None] + mean[:, None, None]
    pixels: NDArray[np.uint8] = np.clip(np.rint(values * 255.0), 0, 255).astype(np.uint8)
    return pixels
