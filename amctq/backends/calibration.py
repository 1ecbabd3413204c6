"""Calibration: one forward pass per image, every quantized tensor observed on the way.

Activations stay float while calibrating, and weights are fake-quantized already, as AMCT does it
(docs/en/reference.md, "Calibration"). The pass runs in onnxruntime over the exported graph, which ``inference.proof``
has compared with MindSpore's own forward before. While one pass is observed, which keeps one core busy, the next is
under way.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from amctq.data.samples import Batches
from amctq.errors import InputError
from amctq.graph.float_graph import FloatGraph
from amctq.graph.rewrite import GraphWriter
from amctq.inference.onnx_session import OnnxSession
from amctq.progress import Reporter
from amctq.quant.folding import FusedParameters
from amctq.quant.layers import Topology
from amctq.quant.numerics import Float32Array, QParams
from amctq.quant.observers import NonFiniteError, Observer

# What the activations of one forward pass may take, of which two are held; a batch is cut where it would need more.
# ResNet-50 at 224 x 224 takes 64 MB an image: passes of one to four take the same time, of eight a sixth more.
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
    reporter: Reporter,
) -> tuple[QParams, ...]:
    """Show every batch's activations to the observers.

    Args:
        graph: the float network.
        topology: the layers of ``graph`` that are quantized.
        fused: by layer, what its parameters shall be while calibrating: fake-quantized weight, float bias.
        watches: which tensors are observed.
        batches: the calibration images.
        reporter: is told of every batch.

    Returns:
        Scale and offset for each watch.

    Raises:
        InputError: a tensor holds NaN or infinity.
    """
    # The images themselves are no output of the graph: they are at hand.
    tapped = list(dict.fromkeys(watch.tensor for watch in watches if watch.tensor != graph.input_name))
    session = OnnxSession(_tapped_graph(graph, topology, fused, tapped), shares_cores=True)
    for watch in watches:
        watch.observer.expect(batches.images)
    done = 0
    with reporter.phase("calibration", batches.images) as advance:
        for activations, seconds in _passes(session, batches, tapped, graph.input_name):
            reporter.add_part("calibration forward", seconds)
            began = time.perf_counter()
            _observe(watches, activations)
            reporter.add_part("calibration observers", time.perf_counter() - began)
            done += len(activations[graph.input_name])
            advance(done)
    result = []
    with reporter.phase("search", len(watches), "tensors") as advance:
        for index, watch in enumerate(watches):
            result.append(watch.observer.qparams())
            advance(index + 1)
    return tuple(result)


def _passes(
    session: OnnxSession, batches: Batches, tapped: list[str], image: str
) -> Iterator[tuple[dict[str, Float32Array], float]]:
    """The tapped tensors and the images of one forward pass after the other, and the seconds that it took.

    What is yielded is overwritten once the next has been taken.
    """
    # One image tells how large a pass may be.
    example = batches.first()[:1]
    shapes = [array.shape for array in session.run(example, tapped)] if tapped else []
    size = sum(map(math.prod, shapes)) * example.itemsize + example.nbytes
    at_once = min(batches.size, max(1, _BYTES_AT_ONCE // size))
    # Two passes are held: the one that is observed, and the next. Their memory is taken once, because what onnxruntime
    # would take and give back for every pass does not come back whole.
    memory = itertools.cycle([[np.empty((at_once, *shape), np.float32) for shape in shapes] for _ in range(2)])
    parts = (images[start : start + at_once] for images, _ in batches for start in range(0, len(images), at_once))

    def forward_next() -> tuple[dict[str, Float32Array], float] | None:
        # In the worker the images are made ready too: resizing them takes as long as a small network.
        images = next(parts, None)
        if images is None:
            return None
        began = time.perf_counter()
        # A tensor has one row for an image, or some: of a network that looks at places one by one.
        arrays = (array[: len(images)].reshape(-1, *array.shape[2:]) for array in next(memory))
        outputs = dict(zip(tapped, arrays, strict=True))
        if outputs:
            session.run_into(images, outputs)
        return {image: images, **outputs}, time.perf_counter() - began

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="amctq-forward") as worker:
        under_way = worker.submit(forward_next)
        while (finished := under_way.result()) is not None:
            under_way = worker.submit(forward_next)
            yield finished


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
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tapped]
    return writer.finish(outputs=outputs)
