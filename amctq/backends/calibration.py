"""Calibration: one forward pass per image, every quantized tensor observed on the way.

As AMCT does it (reference §4.8), activations stay float while calibrating, behind weights that are already
fake-quantized. The pass runs in onnxruntime over the exported graph, which ``export.verify`` has proved equal to
MindSpore's own forward before.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import helper

from amctq.data.batches import Batches
from amctq.errors import InputError
from amctq.export.session import OnnxSession
from amctq.progress import Narrator
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.observers import NonFiniteError, Observer
from amctq.quant.rewrite import GraphWriter
from amctq.quant.topology import FloatGraph, Topology


def observe_activations(
    graph: FloatGraph,
    topology: Topology,
    *,
    weights: Mapping[str, Float32Array],
    biases: Mapping[str, Float32Array | None],
    observers: Mapping[str, Observer],
    batches: Batches,
    narrator: Narrator,
) -> dict[str, QParams]:
    """Show every batch's activations to the observers.

    Args:
        graph: the float network.
        topology: of ``graph``.
        weights: by layer, what its weight (C_out, …) shall be while calibrating, BatchNorm folded in.
        biases: by layer, its bias (C_out,) with BatchNorm folded in, or None.
        observers: by tensor of ``graph``.
        batches: the calibration images.
        narrator: is told of every batch.

    Returns:
        Scale and offset by tensor.

    Raises:
        InputError: a tensor holds NaN or infinity.
    """
    # The images themselves are no output of the graph: they are at hand.
    tapped = [tensor for tensor in observers if tensor != graph.input_name]
    session = OnnxSession(_tapped_graph(graph, topology, weights, biases, tapped))
    seen = 0
    with narrator.phase("calibration", len(batches.images)) as advance:
        for images, _ in batches:
            activations = dict(zip(tapped, session.run(images, tapped), strict=True))
            if graph.input_name in observers:
                activations[graph.input_name] = images
            for tensor, observer in observers.items():
                try:
                    observer.update(activations[tensor])
                except NonFiniteError as error:
                    readers = ", ".join(layer.name for layer in topology.layers if layer.input == tensor)
                    message = f"the input of {readers} holds NaN or infinity while calibrating"
                    raise InputError(message, hint="the checkpoint overflows on these images; check it") from error
            seen += len(images)
            advance(seen)
    with narrator.phase("search", len(observers), "tensors") as advance:
        result = {}
        for tensor, observer in observers.items():
            result[tensor] = observer.qparams()
            advance(len(result))
    return result


def _tapped_graph(
    graph: FloatGraph,
    topology: Topology,
    weights: Mapping[str, Float32Array],
    biases: Mapping[str, Float32Array | None],
    tapped: list[str],
) -> onnx.ModelProto:
    """The network with other weights, BatchNorm folded, and the tapped tensors as its outputs."""
    writer = GraphWriter(graph)
    for layer in topology.layers:
        inputs = [layer.input, writer.initializer(f"{layer.name}.weight.fused", weights[layer.name])]
        bias = biases[layer.name]
        if bias is not None:
            inputs.append(writer.initializer(f"{layer.name}.bias.fused", bias))
        writer.replace(layer, inputs)
    return writer.finish([helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tapped])
