"""What there is to quantize, read from the ONNX graph that MindSpore exports.

The exported graph is a truthful map of the network whatever Python built it: its initializers carry the parameter
names, and its edges tell which BatchNorm follows which convolution and which layers share an input.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from amctq.errors import InputError
from amctq.quant.numerics import Float32Array


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """The float network as ONNX.

    Attributes:
        model: opset 17, one input of shape (N, C, H, W) and one output of shape (N, classes), N dynamic.
        file_bytes: size of the file as MindSpore exported it.
    """

    model: onnx.ModelProto
    file_bytes: int

    @property
    def input_name(self) -> str:
        """Name of the image tensor."""
        return str(self.model.graph.input[0].name)

    @property
    def output_name(self) -> str:
        """Name of the logits tensor."""
        return str(self.model.graph.output[0].name)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one image."""
        channels, height, width = self.model.graph.input[0].type.tensor_type.shape.dim[1:]
        return channels.dim_value, height.dim_value, width.dim_value

    @cached_property
    def arrays(self) -> Mapping[str, NDArray[np.generic]]:
        """Initializers by name."""
        return {item.name: numpy_helper.to_array(item) for item in self.model.graph.initializer}

    @cached_property
    def consumers(self) -> Mapping[str, tuple[onnx.NodeProto, ...]]:
        """Nodes that read each tensor."""
        found: dict[str, list[onnx.NodeProto]] = {}
        for node in self.model.graph.node:
            for name in dict.fromkeys(node.input):
                found.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in found.items()}

    @cached_property
    def producers(self) -> Mapping[str, onnx.NodeProto]:
        """The node that makes each tensor."""
        return {name: node for node in self.model.graph.node for name in node.output}

    def with_arrays(self, arrays: Mapping[str, NDArray[np.generic]]) -> FloatGraph:
        """The same graph with other values in some of its initializers.

        Args:
            arrays: by name, of the shapes that are there; names that the graph lacks are passed over.
        """
        model = onnx.ModelProto()
        model.CopyFrom(self.model)
        for item in model.graph.initializer:
            if item.name not in arrays:
                continue
            before = self.arrays[item.name]
            if arrays[item.name].shape != before.shape:
                message = f"{item.name} is {before.shape} in the graph, and {arrays[item.name].shape} was given"
                raise ValueError(message)
            item.CopyFrom(numpy_helper.from_array(arrays[item.name].astype(before.dtype), item.name))
        return FloatGraph(model=model, file_bytes=self.file_bytes)


class LayerKind(str, Enum):
    """What AMCT calls the layer types that it quantizes."""

    CONV = "Conv2d"
    DENSE = "Dense"


@dataclass(frozen=True, kw_only=True)
class BatchNorm:
    """The BatchNormalization that a convolution is fused with; fields name initializers of shape (C_out,)."""

    gamma: str
    beta: str
    mean: str
    variance: str
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class QuantizableLayer:
    """One Conv2d or Dense with constant weights.

    Attributes:
        name: the cell's name in MindSpore, ``layer1.0.conv1``.
        kind: Conv2d or Dense.
        node: name of its ONNX node.
        input: tensor that it reads. Layers with the same input share one activation quantizer.
        raw_output: tensor that its node yields.
        output: tensor that it yields, after the BatchNorm where one is fused.
        weight: initializer of shape (C_out, …).
        bias: initializer of shape (C_out,), or None.
        batch_norm: what is fused into it, or None.
        batch_norm_node: name of that node, or None.
        fusion_skipped: a BatchNorm follows, and is not fused.
    """

    name: str
    kind: LayerKind
    node: str
    input: str
    raw_output: str
    output: str
    weight: str
    bias: str | None
    batch_norm: BatchNorm | None
    batch_norm_node: str | None
    fusion_skipped: bool = False

    def without_fusion(self) -> QuantizableLayer:
        """The same layer, its BatchNorm left behind it."""
        return replace(
            self,
            output=self.raw_output,
            batch_norm=None,
            batch_norm_node=None,
            fusion_skipped=self.batch_norm is not None,
        )


@dataclass(frozen=True, kw_only=True)
class FloatLayer:
    """A Conv or Dense that stays in float, and why."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Topology:
    """All layers of a network that can be quantized, in the order of execution, and those that cannot."""

    layers: tuple[QuantizableLayer, ...]
    left_in_float: tuple[FloatLayer, ...]

    def without_fusion(self, names: Container[str]) -> Topology:
        """The same, the layers of these names without their BatchNorm."""
        return replace(
            self, layers=tuple(layer.without_fusion() if layer.name in names else layer for layer in self.layers)
        )

    def only(self, names: Container[str]) -> Topology:
        """The same with the layers of these names alone."""
        return replace(self, layers=tuple(layer for layer in self.layers if layer.name in names))


def read_topology(graph: FloatGraph) -> Topology:
    """Find the layers to quantize: every Conv2d and Dense, first and last included, as AMCT chooses them.

    Raises:
        InputError: the network has no layer that can be quantized.
    """
    layers: list[QuantizableLayer] = []
    in_float: list[FloatLayer] = []
    uses = Counter(name for node in graph.model.graph.node for name in node.input if name in graph.arrays)
    for node in graph.model.graph.node:
        if node.op_type not in {"Conv", "Gemm", "MatMul"}:
            continue
        name = _layer_name(node)
        reason = _why_not(node, graph, uses)
        if reason is None:
            layers.append(_layer(name, node, graph))
        elif reason:
            in_float.append(FloatLayer(name=name, reason=reason))
    if not layers:
        found = "; ".join(f"{layer.name}: {layer.reason}" for layer in in_float) or "no Conv2d and no Dense"
        message = f"the network has no layer to quantize ({found})"
        raise InputError(message, hint="amctq quantizes nn.Conv2d (dilation 1, ungrouped or depthwise) and nn.Dense")
    return Topology(layers=tuple(layers), left_in_float=tuple(dict.fromkeys(in_float)))


@dataclass(frozen=True, kw_only=True, eq=False)
class FusedParameters:
    """A layer's weight (C_out, …) and bias (C_out,) or None with its BatchNorm folded in, both float32."""

    weight: Float32Array
    bias: Float32Array | None


def fuse(graph: FloatGraph, topology: Topology) -> dict[str, FusedParameters]:
    """Fold each layer's BatchNorm into its weight and bias; by layer name, in the order of execution.

    w' = w·γ/√(σ²+ε), b' = (b-μ)·γ/√(σ²+ε) + β (AMCT conv_bn_fusion_pass.py, reference §4.10), in float64.

    Raises:
        InputError: a result is not finite.
    """
    return {layer.name: fold(layer, graph.arrays) for layer in topology.layers}


def fold(layer: QuantizableLayer, arrays: Mapping[str, NDArray[Any]]) -> FusedParameters:
    """The same for one layer, from the values of the parameters that it names.

    Raises:
        InputError: a result is not finite.
    """
    weight = arrays[layer.weight].astype(np.float64)
    bias = None if layer.bias is None else arrays[layer.bias].astype(np.float64)
    norm = layer.batch_norm
    if norm is not None:
        gamma, beta, mean, variance = (
            arrays[name].astype(np.float64) for name in (norm.gamma, norm.beta, norm.mean, norm.variance)
        )
        with np.errstate(all="ignore"):  # a negative variance is reported below
            factor = gamma / np.sqrt(variance + norm.epsilon)
        weight = weight * factor.reshape(-1, *(1,) * (weight.ndim - 1))
        bias = ((0.0 if bias is None else bias) - mean) * factor + beta
    for array in (weight, bias):
        if array is not None and not np.isfinite(array).all():
            message = f"layer {layer.name}: its weights, with BatchNorm folded in, hold NaN or infinity"
            raise InputError(message, hint="the checkpoint is damaged, or its training diverged")
    return FusedParameters(weight=weight.astype(np.float32), bias=None if bias is None else bias.astype(np.float32))


def _layer_name(node: onnx.NodeProto) -> str:
    name = str(node.input[1]) if len(node.input) > 1 else str(node.name)
    return name.removesuffix(".weight")


def _attributes(node: onnx.NodeProto) -> dict[str, object]:
    return {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}


def _why_not(node: onnx.NodeProto, graph: FloatGraph, uses: Counter[str]) -> str | None:
    """Why a node stays in float: None where it does not, "" where it is no layer at all (two activations)."""
    weight = graph.arrays.get(node.input[1])
    if weight is None:
        return ""
    if uses[node.input[1]] > 1:
        return "its weights are used more than once"
    if len(node.input) > 2 and node.input[2] and node.input[2] not in graph.arrays:
        return "its bias is not constant"
    attributes = _attributes(node)
    if node.op_type == "Conv":
        if weight.ndim != 4:
            return f"its weights have {weight.ndim} axes, only 2-D convolutions are quantized"
        if any(step != 1 for step in attributes.get("dilations", [1, 1])):  # type: ignore[attr-defined]
            return f"dilation {attributes['dilations']}"
        group = attributes.get("group", 1)
        depthwise = weight.shape[1] == 1 and weight.shape[0] == group
        if group != 1 and not depthwise:
            return f"grouped convolution (group {group}), neither ungrouped nor depthwise"
        return None
    if node.op_type == "Gemm":
        plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 1}
        if any(attributes.get(key, 0 if key.startswith("trans") else 1.0) != value for key, value in plain.items()):
            return "a Gemm that is no Dense (alpha, beta or a transposed operand)"
        if len(node.input) > 2 and (bias := graph.arrays.get(node.input[2])) is not None and bias.ndim != 1:
            return "its bias is no vector"
        return None
    return "a MatMul; amctq quantizes what MindSpore exports as Gemm, which nn.Dense on (N, C) is"


def _layer(name: str, node: onnx.NodeProto, graph: FloatGraph) -> QuantizableLayer:
    norm_node = _batch_norm_after(node, graph) if node.op_type == "Conv" else None
    norm = None
    if norm_node is not None:
        _, gamma, beta, mean, variance = norm_node.input
        norm = BatchNorm(
            gamma=gamma,
            beta=beta,
            mean=mean,
            variance=variance,
            epsilon=float(_attributes(norm_node).get("epsilon", 1e-5)),  # type: ignore[arg-type]
        )
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
    return QuantizableLayer(
        name=name,
        kind=LayerKind.CONV if node.op_type == "Conv" else LayerKind.DENSE,
        node=node.name,
        input=node.input[0],
        raw_output=node.output[0],
        output=(norm_node or node).output[0],
        weight=node.input[1],
        bias=bias,
        batch_norm=norm,
        batch_norm_node=None if norm_node is None else norm_node.name,
    )


def _batch_norm_after(node: onnx.NodeProto, graph: FloatGraph) -> onnx.NodeProto | None:
    """The BatchNormalization that alone reads this convolution's output, with constant parameters."""
    if node.output[0] == graph.output_name:
        return None
    consumers = graph.consumers.get(node.output[0], ())
    if len(consumers) != 1 or consumers[0].op_type != "BatchNormalization":
        return None
    norm = consumers[0]
    return norm if all(name in graph.arrays for name in norm.input[1:]) else None
