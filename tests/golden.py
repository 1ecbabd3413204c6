"""What Huawei's AMCT itself wrote (../shared/amct_golden), and how to ask amctq for the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from tests.command import Shared

# AMCT's images, prepared as AMCT's run prepared them.
_IMAGES = """
import numpy as np

def images(role):
    count = {count} if role == "train" else 1
    with np.load({path!r}) as file:
        pictures, labels = file["images"][:count], file["labels"][:count]
    mean = np.asarray([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
    std = np.asarray([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
    for image, label in zip(pictures, labels):
        yield (image.astype(np.float32) / np.float32(255) - mean) / std, int(label)
"""
# PyTorch's name of the last layer, and MindSpore's.
NAMES = {"linear": "end_point"}


@dataclass(frozen=True, eq=False)
class Deployed:
    """The numbers of one layer of a deploy file, as they stand there."""

    scale: float
    offset: float
    parameter: NDArray[np.uint64]
    weight: NDArray[np.int8]
    bias: NDArray[np.int32]

    def same_as(self, other: Deployed) -> bool:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return all(np.array_equal(one, two) for one, two in pairs)


def golden(shared: Shared, name: str) -> Path:
    """A file or folder; the test is skipped where it is not."""
    path = shared.root / "amct_golden" / name
    if not path.exists():
        pytest.skip(f"needs {path}, which AMCT wrote")
    return path


def options(shared: Shared, folder: Path, count: int = 32) -> tuple[Any, ...]:
    """The options that name AMCT's network and images, of which the loader is written into ``folder``."""
    path = golden(shared, "calib32_uint8.npz")
    (folder / "amct_images.py").write_text(_IMAGES.format(path=str(path), count=count))
    network = shared.network("resnet20", f"{folder / 'amct_images.py'}:images")
    return (*network, "--calib-images", count, "--eval-images", 0)


def deployed(path: Path) -> dict[str, Deployed]:
    """The layers of a deploy file, by MindSpore's name."""
    model = onnx.load(path)
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    layers = {}
    for dequant in model.graph.node:
        if dequant.op_type == "AscendDequant":
            node = makers[dequant.input[0]]
            quant = {item.name: helper.get_attribute_value(item) for item in makers[node.input[0]].attribute}
            name = dequant.name.removesuffix(".dequant")
            layers[NAMES.get(name, name)] = Deployed(
                scale=quant["scale"],
                offset=quant["offset"],
                parameter=arrays[dequant.input[1]],
                weight=arrays[node.input[1]],
                bias=arrays[node.input[2]],
            )
    return layers
