"""The peers: onnxruntime's quantizer (uint8 activations, per-channel int8 weights), and NNCF with its defaults."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime.quantization as ort
from onnxruntime.quantization.shape_inference import quant_pre_process

from amctq.data.inputs import samples_in
from amctq.data.samples import Batch, Batches

ORT_METHODS = {
    "minmax": ort.CalibrationMethod.MinMax,
    "entropy": ort.CalibrationMethod.Entropy,
    "percentile": ort.CalibrationMethod.Percentile,
}
NNCF = "nncf"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What ``quantize_static`` can be told about its file; the defaults are those of its guide for x86.

    Attributes:
        per_channel: a scale for each output channel of a weight, else one.
        activations: integer type of activations.
        weights: integer type of weights.
        reduce_range: weights of 7 bits, for CPUs without VNNI.
        only: the operators that are quantized; all that it knows if empty.
        qdq: write QuantizeLinear and DequantizeLinear, else QLinear operators.
    """

    per_channel: bool = True
    activations: ort.QuantType = ort.QuantType.QUInt8
    weights: ort.QuantType = ort.QuantType.QInt8
    reduce_range: bool = False
    only: tuple[str, ...] = ()
    qdq: bool = True


class Reader(ort.CalibrationDataReader):
    """Calibration images for onnxruntime, under the names of the graph's inputs.

    Args:
        batches: the images.
        log: print on stderr how many images were read, for a process that may end without a message.
    """

    def __init__(self, batches: Batches, *, log: bool = False) -> None:
        self._batches: Iterator[Batch] = iter(batches)
        self._log = log
        self._images = 0

    def get_next(self) -> dict[str, Any] | None:
        batch = next(self._batches, None)
        if batch is None:
            return None
        inputs, _ = batch
        first, self._images = self._images + 1, self._images + samples_in(inputs)
        if self._log:
            print(f"images {first} to {self._images}", file=sys.stderr, flush=True)
        return dict(inputs)


_GUIDE = Variant()


def quantize_static(
    model: onnx.ModelProto,
    reader: Reader,
    *,
    method: str,
    target: Path,
    variant: Variant = _GUIDE,
    pre_process: bool = True,
    symbolic_shapes: bool = True,
) -> None:
    """onnxruntime's quantizer, used as in its own guide.

    MinMax needs no streaming: its graph reduces every tensor to two numbers. (CalibMaxIntermediateOutputs, which would
    stream them, loses earlier images in onnxruntime 1.32, and fails if the images are a multiple of it.)

    Args:
        model: the float graph, opset 13 or newer.
        reader: the calibration images.
        method: key of ORT_METHODS.
        target: the file to write.
        variant: the kind of file.
        pre_process: first optimise the graph and infer shapes, as the guide recommends.
        symbolic_shapes: infer them with SymPy too; it does not know every operator.
    """
    logging.getLogger().setLevel(logging.ERROR)  # it recommends quant_pre_process on every run
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "float.onnx"
        onnx.save(model, source)
        if pre_process:
            quant_pre_process(source, source, skip_symbolic_shape=not symbolic_shapes)
        ort.quantize_static(
            source,
            target,
            reader,
            quant_format=ort.QuantFormat.QDQ if variant.qdq else ort.QuantFormat.QOperator,
            activation_type=variant.activations,
            weight_type=variant.weights,
            per_channel=variant.per_channel,
            reduce_range=variant.reduce_range,
            op_types_to_quantize=list(variant.only) or None,
            calibrate_method=ORT_METHODS[method],
        )


def quantize_nncf(model: onnx.ModelProto, batches: Batches, *, target: Path) -> None:
    """NNCF with its defaults, on all images of ``batches``."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    dataset = nncf.Dataset(list(batches), lambda batch: dict(batch[0]))
    onnx.save(nncf.quantize(model, dataset, subset_size=len(batches)), target)
