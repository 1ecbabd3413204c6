"""Photographs as detectors take them: RGB, 0 to 1, padded to one size. The dataset of ``detectors.py``.

The environment says where they are and how large they become: DETECTORS_IMAGES, a folder, and DETECTORS_SIZE, HxW.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_EACH = 32  # samples to calibrate with, and as many others to compare
_GREY = (114, 114, 114)


def photographs(role: str) -> list[tuple[NDArray[np.float32], None]]:
    """32 samples, float32 (3, H, W), without targets; ``train`` and ``test`` have other files."""
    files = sorted(path for path in Path(os.environ["DETECTORS_IMAGES"]).rglob("*") if path.is_file())
    files = files[:: len(files) // (2 * _EACH)][: 2 * _EACH]
    return [(_prepared(file), None) for file in (files[:_EACH] if role == "train" else files[_EACH:])]


def _prepared(file: Path) -> NDArray[np.float32]:
    height, width = map(int, os.environ["DETECTORS_SIZE"].split("x"))
    image = Image.open(file).convert("RGB")
    image.thumbnail((width, height), Image.Resampling.BILINEAR)
    padded = Image.new("RGB", (width, height), _GREY)
    padded.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
    return np.asarray(padded, np.float32).transpose(2, 0, 1) / 255
