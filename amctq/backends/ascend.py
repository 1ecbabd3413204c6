"""All that the native engine does differently on an Ascend NPU. None of this has run on an NPU yet.

The rest is the same everywhere: calibration, weights, record and ONNX use NumPy and onnxruntime on the host.
"""

from __future__ import annotations

from typing import Any

import mindspore
from mindspore import nn, ops


def on_npu() -> bool:
    """Whether MindSpore runs on an NPU."""
    return bool(mindspore.get_context("device_target") == "Ascend")


def rounding(npu: bool) -> Any:
    """The operator that rounds half to even. On a CPU, Rint is three times faster; NPUs have Round."""
    return ops.Round() if npu else ops.Rint()


def use_half_precision(network: nn.Cell) -> None:
    """As amp O2 in AMCT's sample: float16, except BatchNorm and cells that choose float32 themselves."""
    network.to_float(mindspore.float16)
    for _, cell in network.cells_and_names():
        if isinstance(cell, nn.BatchNorm2d):
            cell.to_float(mindspore.float32)


def end_half_precision(network: nn.Cell) -> None:
    """Undo ``use_half_precision`` if it was used, because a float32 network is exported and compared."""
    if any(getattr(cell, "fp16", False) for _, cell in network.cells_and_names()):
        network.to_float(mindspore.float32)
        network.compile_cache.clear()  # or the float16 compilation would run
