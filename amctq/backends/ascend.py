"""What amctq's own engine does otherwise on an Ascend NPU: all of it stands here, and none of it has run on one.

The rest is the same everywhere: calibration, weights, record and ONNX are NumPy's and onnxruntime's, on the host.
"""

from __future__ import annotations

from typing import Any

import mindspore
from mindspore import nn, ops


def on_npu() -> bool:
    """Whether MindSpore runs on an NPU."""
    return bool(mindspore.get_context("device_target") == "Ascend")


def rounding(npu: bool) -> Any:
    """Half to even: Rint takes a third of the time of Round on a CPU; NPUs have the latter."""
    return ops.Round() if npu else ops.Rint()


def use_half_precision(network: nn.Cell) -> None:
    """The sample's amp O2: float16, but for BatchNorm and for cells that know better."""
    network.to_float(mindspore.float16)
    for _, cell in network.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d):
            cell.to_float(mindspore.float32)


def end_half_precision(network: nn.Cell) -> None:
    """Undo ``use_half_precision`` where it was used: what is exported and compared is a float32 network."""
    if any(getattr(cell, "fp16", False) for _, cell in network.cells_and_names()):
        network.to_float(mindspore.float32)
        network.compile_cache.clear()  # what has been compiled would not notice
