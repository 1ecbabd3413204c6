"""Calibration: a forward pass for each image, in which observers see every tensor that will be quantized.

As in AMCT, activations are float and weights are fake-quantized during calibration (docs/en/reference.md,
"Calibration"). onnxruntime runs the exported graph, which ``inference.proof`` has compared with MindSpore before. The
observers keep one core busy; meanwhile the next forward pass runs.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

import numpy as np
import onnx
from onnx import helper

from amctq.backends.base import CALIBRATION
from amctq.data.inputs import Inputs, part, repeated, samples_in
from amctq.data.samples import Batches
from amctq.errors import InputError
from amctq.graph.float_graph import FloatGraph
from amctq.graph.rewrite import GraphWriter
from amctq.inference.onnx_session import OnnxSession
from amctq.progress import Reporter
from amctq.quant.folding import FusedParameters
from amctq.quant.layers import Topology
from amctq.quant.numerics import EPSILON, SMALLEST_NORMAL, Float32Array, QParams
from amctq.quant.observers import NonFiniteError, Observer
from amctq.quant.replaced import input_warning

# Limit for the activations of one forward pass; two passes are in memory. A batch that needs more is divided.
# ResNet-50 at 224 x 224 needs 64 MB for an image. One to four images a pass are equally fast, eight are a sixth slower.
_BYTES_AT_ONCE = 256 << 20
_FLOAT = 4  # bytes
_OVERFLOWS = "the checkpoint overflows on these images; check it and the data"


class Watcher(Protocol):
    """Gathers statistics of a tensor."""

    def expect(self, images: int) -> None:
        """Say how many images there will be."""

    def update(self, values: Float32Array) -> None:
        """See a batch."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Watch:
    """An observer on a tensor.

    Attributes:
        tensor: its name in the float graph.
        observer: it sees all values of the tensor.
        what: the name of the tensor in messages.
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
    inputs: Mapping[str, Sequence[Watcher]] = MappingProxyType({}),
    smallest: float = EPSILON,
) -> tuple[QParams, ...]:
    """Show every batch's activations to the observers.

    Args:
        graph: the float network.
        topology: the layers of ``graph`` that are quantized.
        fused: by layer, its parameters during calibration: float bias, and float or fake-quantized weight.
        watches: which tensors are observed.
        batches: the calibration images.
        reporter: gets the progress, and a warning of every range that is not zero and is replaced.
        inputs: by tensor that layers read, who watches it too.
        smallest: a smaller scale becomes 1, as in ``numerics.range_qparams``.

    Returns:
        Scale and offset for each watch.

    Raises:
        InputError: a tensor holds NaN or infinity, or values so large that no range in float32 has them.
    """
    # No output is needed for what the graph takes.
    tensors = dict.fromkeys([*(watch.tensor for watch in watches), *inputs])
    tapped = [name for name in tensors if name not in graph.inputs]
    session = OnnxSession(_tapped_graph(graph, topology, fused, tapped), shares_cores=True)
    for watch in watches:
        watch.observer.expect(batches.images)
    for watcher in itertools.chain(*inputs.values()):
        watcher.expect(batches.images)
    done = 0
    with reporter.phase(CALIBRATION, batches.images) as advance:
        for samples, activations, seconds in _passes(session, batches, tapped):
            reporter.add_part("calibration forward", seconds)
            began = time.perf_counter()
            _observe(watches, activations)
            for tensor, watchers in inputs.items():
                for watcher in watchers:
                    watcher.update(activations[tensor])
            reporter.add_part("calibration observers", time.perf_counter() - began)
            done += samples
            advance(done)
    result: list[QParams] = []
    if not watches:
        return ()
    with reporter.phase("search", len(watches), "tensors") as advance:
        for index, watch in enumerate(watches):
            result.append(_qparams(watch, smallest, reporter))
            advance(index + 1)
    return tuple(result)


def _qparams(watch: Watch, smallest: float, reporter: Reporter) -> QParams:
    with np.errstate(over="ignore", invalid="ignore"):  # what comes of it is refused
        qparams = watch.observer.qparams(smallest=smallest)
    if not np.isfinite((qparams.scale, *qparams.range)).all():
        message = f"{watch.what} comes close to the largest float32 while calibrating, and no range holds it"
        raise InputError(message, hint=_OVERFLOWS)
    if qparams.scale == 1.0:  # a range of zeros, or one that is replaced
        true = watch.observer.qparams(smallest=SMALLEST_NORMAL)
        if true.scale < smallest:
            reporter.warn(input_warning(watch.what, true))
    return qparams


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """The shape of a tensor, which depends on the number of images.

    Attributes:
        shape: for one image.
        axis: the one that grows with the images: not always the first, as in a network that puts time steps first. It
            has one row for each image, or several, if a network processes positions one by one. None where none grows.
    """

    shape: tuple[int, ...]
    axis: int | None

    @property
    def size(self) -> int:
        """Number of values for one image."""
        return math.prod(self.shape)

    def of(self, images: int, memory: Float32Array) -> Float32Array:
        """The array of so many images in the first part of ``memory``."""
        if self.axis is None:
            return memory[: self.size].reshape(self.shape)
        shape = list(self.shape)
        shape[self.axis] *= images
        return memory[: images * self.size].reshape(shape)


def _layouts(session: OnnxSession, example: Inputs, tapped: list[str]) -> list[_Layout]:
    """The layouts of tensors, read off the passes of one and of two samples."""
    if not tapped:
        return []
    one, two = (session.run(inputs, tapped) for inputs in (example, repeated(example, 2)))
    return [
        _Layout(
            shape=few.shape,
            axis=next((axis for axis, size in enumerate(many.shape) if size != few.shape[axis]), None),
        )
        for few, many in zip(one, two, strict=True)
    ]


def _passes(
    session: OnnxSession, batches: Batches, tapped: list[str]
) -> Iterator[tuple[int, dict[str, Float32Array], float]]:
    """For each forward pass: how many samples, the tapped tensors and the inputs, and the seconds that it took.

    The next pass overwrites the arrays.
    """
    # The size of one sample's activations limits the size of a pass.
    example = part(batches.first(), slice(1))
    layouts = _layouts(session, example, tapped)
    size = sum(layout.size for layout in layouts) * _FLOAT + sum(array.nbytes for array in example.values())
    at_once = min(batches.size, max(1, _BYTES_AT_ONCE // size))
    # Two passes are in memory: the one that is observed, and the next. Their memory is allocated only once, because
    # onnxruntime does not free all that it allocates for each pass.
    memory = itertools.cycle([[np.empty(at_once * layout.size, np.float32) for layout in layouts] for _ in range(2)])
    parts = (
        part(inputs, slice(start, start + at_once))
        for inputs, _ in batches
        for start in range(0, samples_in(inputs), at_once)
    )

    def forward_next() -> tuple[int, dict[str, Float32Array], float] | None:
        # The worker thread also prepares the images: resizing them takes as long as a small network.
        inputs = next(parts, None)
        if inputs is None:
            return None
        began = time.perf_counter()
        samples = samples_in(inputs)
        arrays = zip(tapped, layouts, next(memory), strict=True)
        outputs = {name: layout.of(samples, array) for name, layout, array in arrays}
        if outputs:
            session.run_into(inputs, outputs)
        return samples, {**inputs, **outputs}, time.perf_counter() - began

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="amctq-forward") as worker:
        pending = worker.submit(forward_next)
        while (finished := pending.result()) is not None:
            pending = worker.submit(forward_next)
            yield finished


def _observe(watches: tuple[Watch, ...], activations: Mapping[str, Float32Array]) -> None:
    for watch in watches:
        try:
            watch.observer.update(activations[watch.tensor])
        except NonFiniteError as error:
            message = f"{watch.what} holds NaN or infinity while calibrating"
            raise InputError(message, hint=_OVERFLOWS) from error


def _tapped_graph(
    graph: FloatGraph, topology: Topology, fused: Mapping[str, FusedParameters], tapped: list[str]
) -> onnx.ModelProto:
    """The network with the weights of ``fused``, without BatchNorm, with the tapped tensors as outputs."""
    writer = GraphWriter(graph, topology.layers)
    for node, layer in writer.walk():
        if layer is None:
            writer.copy(node, node.input)
            continue
        parameters = fused[layer.name]
        inputs = [layer.input, writer.initializer(f"{layer.name}.weight.fused", layer.as_stored(parameters.weight))]
        if parameters.bias is not None:
            inputs.append(writer.initializer(f"{layer.name}.bias.fused", parameters.bias))
        writer.layer(layer, node, inputs)
    outputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tapped]
    return writer.finish(outputs=outputs or None)  # onnxruntime loads no graph that yields nothing
