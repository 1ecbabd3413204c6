"""The peers: onnxruntime's quantizer (uint8 activations, per-channel int8 weights), and NNCF with its defaults."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnxruntime.quantization as ort
from onnxruntime.quantization.shape_inference import quant_pre_process

from amctq.data.samples import Batches

ORT_METHODS = {
    "minmax": ort.CalibrationMethod.MinMax,
    "entropy": ort.CalibrationMethod.Entropy,
    "percentile": ort.CalibrationMethod.Percentile,
}
NNCF = "nncf"


class Reader(ort.CalibrationDataReader):
    """Calibration images for onnxruntime.

    Args:
        name: of the graph's input.
        batches: the images.
        log: print on stderr how many images were read, for a process that may end without a message.
    """

    def __init__(self, name: str, batches: Batches, *, log: bool = False) -> None:
        self._name = name
        self._batches: Iterator[Any] = iter(batches)
        self._log = log
        self._images = 0

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        if batch is None:
            return None
        self._images += len(batch[0])
        if self._log:
            print(f"images {self._images - len(batch[0]) + 1} to {self._images}", file=sys.stderr, flush=True)
        return {self._name: batch[0]}


def quantize_static(
    model: onnx.ModelProto,
    reader: Reader,
    *,
    method: str,
    target: Path,
    qdq: bool = True,
    pre_process: bool = True,
) -> None:
    """onnxruntime's quantizer, as its own guide uses it.

    MinMax needs no streaming: its graph reduces every tensor to two numbers. (CalibMaxIntermediateOutputs, which would
    stream them, loses earlier images in onnxruntime 1.32, and fails if the images are a multiple of it.)

    Args:
        model: the float graph, opset 13 or newer.
        reader: the calibration images.
        method: key of ORT_METHODS.
        target: the file to write.
        qdq: in the format of QuantizeLinear and DequantizeLinear, else of QLinear operators.
        pre_process: optimise the graph and infer its shapes first, as the guide recommends.
    """
    logging.getLogger().setLevel(logging.ERROR)  # it recommends quant_pre_process on every run
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.onnx"
        onnx.save(model, source)
        if pre_process:
            quant_pre_process(source, source)
        ort.quantize_static(
            source,
            target,
            reader,
            quant_format=ort.QuantFormat.QDQ if qdq else ort.QuantFormat.QOperator,
            activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
            per_channel=True,
            calibrate_method=ORT_METHODS[method],
        )


def quantize_nncf(model: onnx.ModelProto, batches: Batches, *, target: Path) -> None:
    """NNCF with its defaults, on all images of ``batches``."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    name = model.graph.input[0].name
    dataset = nncf.Dataset(list(batches), lambda batch: {name: batch[0]})
    onnx.save(nncf.quantize(model, dataset, subset_size=len(batches)), target)
