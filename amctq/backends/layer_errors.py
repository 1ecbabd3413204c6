"""What quantization does to each layer's output, for all layers in one pass over the samples.

The graph of the pass computes every layer four times side by side: in float, and on its float input with rounded
weights, with a rounded input, and with both. The whole quantized network stands beside it. Only sums leave the pass:

    signal Σ y²,  noise Σ (y − ŷ)²,  power Σ ŷ²        SQNR = 10 log10(signal / noise)

and, of what each layer reads, the ranges of its channels and the share of values beyond the quantizer's range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from amctq.backends.base import QuantizedNetwork
from amctq.data.inputs import Inputs, part, samples_in
from amctq.graph.float_graph import FloatGraph
from amctq.graph.rewrite import GraphWriter
from amctq.graph.topology import fuse
from amctq.inference.onnx_session import OnnxSession
from amctq.quant.channel_ranges import ChannelRanges, ranges_of
from amctq.quant.folding import FusedParameters
from amctq.quant.integer import IntegerLayer
from amctq.quant.numerics import Float32Array, QParams, dequantize_bias

# Values of the inputs of one pass: three images of 224 x 224. All activations are some hundred times as many.
_VALUES_AT_ONCE = 3 * 3 * 224 * 224
_AXES_AS_INPUT = 18  # the opset from which on ReduceMin has its axes as an input
_WEIGHTS, _ACTIVATIONS, _BOTH, _ACCUMULATED = "weights", "activations", "both", "accumulated"


@dataclass(kw_only=True)
class Sums:
    """Of one way to compute a layer's output, over all values of all samples.

    Attributes:
        signal: of the float output, Σ y².
        noise: Σ (y − ŷ)².
        power: of the other output, Σ ŷ².
    """

    signal: float = 0.0
    noise: float = 0.0
    power: float = 0.0

    @property
    def sqnr_db(self) -> float:
        """Infinite where nothing differs."""
        return math.inf if self.noise == 0 else 10 * math.log10(max(self.signal, 1e-300) / self.noise)

    @property
    def cosine(self) -> float:
        """Of the angle between the two outputs: 2 Σ yŷ = Σ y² + Σ ŷ² − Σ (y − ŷ)²."""
        lengths = math.sqrt(self.signal * self.power)
        return (self.signal + self.power - self.noise) / (2 * lengths) if lengths else float(self.noise == 0)


@dataclass(kw_only=True, eq=False)
class LayerErrors:
    """What the passes have found of one layer.

    Attributes:
        weights: at its output, on its float input, with rounded weights alone.
        activations: with a rounded input alone; None where its input stays in float.
        both: with both.
        accumulated: in the quantized network, whose layers before it are quantized too.
        read: the channels of what it reads.
        weight: the channels of its float weight, with BatchNorm folded in.
        clip: the lowest and the highest value that the integers of its input stand for; None where it stays in float.
        clipped: number of values that it reads and that are beyond that.
        values: number of values that it reads.
    """

    weights: Sums = field(default_factory=Sums)
    activations: Sums | None = None
    both: Sums = field(default_factory=Sums)
    accumulated: Sums = field(default_factory=Sums)
    read: ChannelRanges
    weight: ChannelRanges
    clip: tuple[float, float] | None
    clipped: float = 0.0
    values: float = 0.0

    @property
    def clipped_share(self) -> float | None:
        """The share of values that the quantizer clips."""
        return None if self.clip is None or not self.values else self.clipped / self.values


def layer_errors(
    quantized: QuantizedNetwork, batches: Iterable[Inputs], advance: Callable[[int], None]
) -> Mapping[str, LayerErrors]:
    """Run the samples once, and compare all layers.

    Args:
        quantized: the quantized network; none of its layers is equalized.
        batches: the samples' inputs.
        advance: called with the number of samples done.

    Returns:
        By layer, what was found.
    """
    in_float = {layer.name for layer in quantized.activations.plan.float_layers}
    fused = fuse(quantized.network.graph, quantized.topology)
    found = {item.layer.name: _nothing(item, fused, in_float) for item in quantized.layers}
    session = OnnxSession(_Writer(quantized, fused, found).model())
    names = [port.name for port in session.outputs]
    done = 0
    for inputs in batches:
        for some in _parts(inputs):
            for name, array in zip(names, session.run(some, names), strict=True):
                layer, _, figure = name.rpartition("|")
                _add(found[layer], figure, array)
            done += samples_in(some)
            advance(done)
    return found


def _nothing(item: IntegerLayer, fused: Mapping[str, FusedParameters], in_float: set[str]) -> LayerErrors:
    quantizes = item.layer.name not in in_float
    return LayerErrors(
        activations=Sums() if quantizes else None,
        read=ChannelRanges(),
        weight=ranges_of(fused[item.layer.name].weight),
        clip=item.activation.range if quantizes else None,
    )


def _parts(inputs: Inputs) -> Iterator[Inputs]:
    values = sum(array.size for array in inputs.values()) / samples_in(inputs)
    at_once = max(1, int(_VALUES_AT_ONCE / values))
    for start in range(0, samples_in(inputs), at_once):
        yield part(inputs, slice(start, start + at_once))


def _add(found: LayerErrors, figure: str, array: NDArray[np.float32]) -> None:
    way, _, what = figure.partition(".")
    if way == "low":
        found.read.lower(array)
    elif way == "high":
        found.read.raise_to(array)
    elif way in {"clipped", "values"}:
        setattr(found, way, getattr(found, way) + float(array))
    elif way == "signal":
        for sums in (found.weights, found.activations, found.both, found.accumulated):
            if sums is not None:
                sums.signal += float(array)
    else:
        sums = getattr(found, way)
        setattr(sums, what, getattr(sums, what) + float(array))


class _Writer(GraphWriter):
    """The float network with the further ways to compute each layer."""

    def __init__(
        self, quantized: QuantizedNetwork, fused: Mapping[str, FusedParameters], found: Mapping[str, LayerErrors]
    ) -> None:
        self._graph: FloatGraph = quantized.network.graph
        super().__init__(self._graph, ())
        self._found = found
        self._items = {item.layer.output: item for item in quantized.layers}
        self._nodes_by_name = {node.name: node for node in self._graph.model.graph.node}
        self._fused = fused
        self._whole = quantized.onnx_graph()
        self._opset = next(item.version for item in self._graph.model.opset_import if not item.domain)
        self._sums: list[str] = []

    def model(self) -> onnx.ModelProto:
        """The graph, whose outputs are the figures: ``<layer>|<figure>``."""
        for node, _ in self.walk():
            self.copy(node, node.input)
            for output in node.output:
                if output in self._items:
                    self._write_layer(self._items[output])
        self._write_whole()
        outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in self._sums]
        return self.finish(outputs=outputs)

    def _write_layer(self, item: IntegerLayer) -> None:
        layer, name = item.layer, item.layer.name
        bias = None if item.bias is None else dequantize_bias(item.bias, item.bias_scale)
        rounded = self._parameters(name, "rounded", layer.as_stored(item.weight.dequantized()), bias)
        fused = self._fused[name]
        self._square(f"{name}|signal", layer.output)
        self._compare(item, _WEIGHTS, [layer.input, *rounded])
        if self._found[name].activations is None:
            self._compare(item, _BOTH, [layer.input, *rounded])
        else:
            read = self._rounded(name, layer.input, item.activation)
            whole = self._parameters(name, "whole", layer.as_stored(fused.weight), fused.bias)
            self._compare(item, _ACTIVATIONS, [read, *whole])
            self._compare(item, _BOTH, [read, *rounded])
        self._write_read(item)

    def _parameters(self, name: str, how: str, weight: Float32Array, bias: Float32Array | None) -> list[str]:
        both = [self.initializer(f"{name}|{how}.weight", weight)]
        return both if bias is None else [*both, self.initializer(f"{name}|{how}.bias", bias)]

    def _compare(self, item: IntegerLayer, way: str, inputs: list[str]) -> None:
        output = f"{item.layer.name}|{way}"
        self.copy(self._nodes_by_name[item.layer.node], inputs, [output])
        self._differ(item, way, output)

    def _differ(self, item: IntegerLayer, way: str, output: str) -> None:
        name = item.layer.name
        error = self.node("Sub", f"{name}|{way}.error", [item.layer.output, output], f"{name}|{way}.error")
        self._square(f"{name}|{way}.noise", error)
        self._square(f"{name}|{way}.power", output)

    def _square(self, name: str, tensor: str) -> None:
        self._sums.append(self.node("ReduceSumSquare", name, [tensor], name, keepdims=0))

    def _rounded(self, name: str, tensor: str, qparams: QParams) -> str:
        scale = self.initializer(f"{name}|scale", np.asarray(qparams.scale, np.float32))
        zero = self.initializer(f"{name}|zero", np.asarray(qparams.zero_point_uint8, np.uint8))
        integers = self.node("QuantizeLinear", f"{name}|q", [tensor, scale, zero], f"{name}|q")
        return self.node("DequantizeLinear", f"{name}|dq", [integers, scale, zero], f"{name}|dq")

    def _write_read(self, item: IntegerLayer) -> None:
        """The channels of what the layer reads; those of a product with a matrix are the last axis."""
        name, tensor = item.layer.name, item.layer.input
        axes = [0, *range(2, item.weight.values.ndim)]
        if item.layer.kind.is_dense:
            width = self.initializer(f"{name}|rows.shape", np.array([-1, self._width(item)], np.int64))
            tensor = self.node("Reshape", f"{name}|rows", [tensor, width], f"{name}|rows")
            axes = [0]
        for op, key in (("ReduceMin", "low"), ("ReduceMax", "high")):
            inputs, attributes = [tensor], {"axes": axes}
            if self._opset >= _AXES_AS_INPUT:
                inputs = [tensor, self.initializer(f"{name}|{key}.axes", np.array(axes, np.int64))]
                attributes = {}
            self._sums.append(self.node(op, f"{name}|{key}", inputs, f"{name}|{key}", keepdims=0, **attributes))
        size = self.node("Size", f"{name}|size", [tensor], f"{name}|size")
        self._sums.append(self.node("Cast", f"{name}|values", [size], f"{name}|values", to=onnx.TensorProto.FLOAT))
        clip = self._found[name].clip
        if clip is not None:
            # Half a step beyond the last integer still rounds to it.
            margin = item.activation.scale / 2
            beyond = []
            for op, key, limit in (("Less", "below", clip[0] - margin), ("Greater", "above", clip[1] + margin)):
                end = self.initializer(f"{name}|{key}.end", np.asarray(limit, np.float32))
                beyond.append(self.node(op, f"{name}|{key}", [tensor, end], f"{name}|{key}"))
            either = self.node("Or", f"{name}|beyond", beyond, f"{name}|beyond")
            ones = self.node("Cast", f"{name}|ones", [either], f"{name}|ones", to=onnx.TensorProto.FLOAT)
            self._sums.append(self.node("ReduceSum", f"{name}|clipped", [ones], f"{name}|clipped", keepdims=0))

    def _width(self, item: IntegerLayer) -> int:
        """Number of columns of what a product with a matrix reads."""
        shape = self._graph.shapes.get(item.layer.input, ())
        last = shape[-1] if shape else None
        return last if last is not None else int(item.weight.values.shape[-1])

    def _write_whole(self) -> None:
        """The quantized network, with names of its own, on the same inputs."""
        inputs = set(self._graph.inputs)

        def own(name: str) -> str:
            return name if not name or name in inputs else f"quantized/{name}"

        for tensor in self._whole.graph.initializer:
            self.tensor(own(tensor.name), tensor)
        written: set[str] = set()
        for node in self._whole.graph.node:
            node.name = own(node.name)
            written.update(node.output)
            self.append(node, [own(name) for name in node.input], [own(name) for name in node.output])
        for output, item in self._items.items():
            if output in written:
                self._differ(item, _ACCUMULATED, own(output))
