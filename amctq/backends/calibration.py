"""Calibration: one forward pass per image, every quantized tensor observed on the way.

As AMCT does it (reference §4.8), activations stay float while calibrating, behind weights that are already
fake-quantized. The pass runs in onnxruntime over the exported graph, which ``export.verify`` has proved equal to
MindSpore's own forward before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import helper

from amctq.data.samples import Batches
from amctq.errors import InputError
from amctq.export.session import OnnxSession
from amctq.progress import Narrator
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.observers import NonFiniteError, Observer
from amctq.quant.rewrite import GraphWriter
from amctq.quant.topology import FloatGraph, FusedParameters, Topology

# What the activations of one forward pass may take; a batch is cut where it would need more.
_BYTES_AT_ONCE = 256 << 20


@dataclass(frozen=True, kw_only=True, eq=False)
class Watch:
    """An observer on a tensor.

    Attributes:
        tensor: its name in the float graph.
        observer: of its values.
        what: what people call the tensor.
    """

    tensor: str
    observer: Observer
    what: str


def observe_activations(
    graph: FloatGraph,
    topology: Topology,
    fused: Mapping[str, FusedParameters],
    *,
    watches: tuple[Watch, ...],
    batches: Batches,
    narrator: Narrator,
) -> tuple[QParams, ...]:
    """Show every batch's activations to the observers.

    Args:
        graph: the float network.
        topology: the layers of ``graph`` that are quantized.
        fused: by layer, what its parameters shall be while calibrating: fake-quantized weight, float bias.
        watches: which tensors are observed.
        batches: the calibration images.
        narrator: is told of every batch.

    Returns:
        Scale and offset for each watch.

    Raises:
        InputError: a tensor holds NaN or infinity.
    """
    # The images themselves are no output of the graph: they are at hand.
    tapped = list(dict.fromkeys(watch.tensor for watch in watches if watch.tensor != graph.input_name))
    session = OnnxSession(_tapped_graph(graph, topology, fused, tapped))
    done, at_once = 0, 1
    with narrator.phase("calibration", batches.images) as advance:
        for images, _ in batches:
            start = 0
            while start < len(images):
                part = images[start : start + at_once]
                began = time.perf_counter()
                activations = dict(zip(tapped, session.run(part, tapped), strict=True)) if tapped else {}
                narrator.add_part("calibration forward", time.perf_counter() - began)
                activations[graph.input_name] = part
                _observe(watches, activations)
                start += len(part)
                advance(done + start)
                # The first image alone tells how large a pass may be.
                size = sum(array.nbytes for array in activations.values()) // len(part)
                at_once = max(1, min(batches.size, _BYTES_AT_ONCE // max(size, 1)))
            done += len(images)
    result = []
    with narrator.phase("search", len(watches), "tensors") as advance:
        for index, watch in enumerate(watches):
            result.append(watch.observer.qparams())
            advance(index + 1)
    return tuple(result)


def _observe(watches: tuple[Watch, ...], activations: Mapping[str, Float32Array]) -> None:
    for watch in watches:
        try:
            watch.observer.update(activations[watch.tensor])
        except NonFiniteError as error:
            message = f"{watch.what} holds NaN or infinity while calibrating"
            raise InputError(message, hint="the checkpoint overflows on these images; check it and the data") from error


def _tapped_graph(
    graph: FloatGraph, topology: Topology, fused: Mapping[str, FusedParameters], tapped: list[str]
) -> onnx.ModelProto:
    """The network with other weights, BatchNorm folded, and the tapped tensors as its outputs."""
    writer = GraphWriter(graph, topology.layers)
    for node, layer in writer.walk():
        if layer is None:
            writer.copy(node, node.input)
            continue
        parameters = fused[layer.name]
        inputs = [layer.input, writer.initializer(f"{layer.name}.weight.fused", parameters.weight)]
        if parameters.bias is not None:
            inputs.append(writer.initializer(f"{layer.name}.bias.fused", parameters.bias))
        writer.layer(layer, node, inputs)
    return writer.finish(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tapped)
