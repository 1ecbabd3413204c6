"""Forward passes of the float graph with some parameters exchanged, whose inner tensors come out.

onnxruntime runs the graph, which ``inference.proof`` has compared with MindSpore before. The next pass runs while the
tensors of this one are looked at.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from amctq.data.inputs import Inputs, part, repeated, samples_in
from amctq.data.samples import Batches
from amctq.graph.float_graph import FloatGraph
from amctq.graph.rewrite import GraphWriter
from amctq.inference.onnx_session import OnnxSession
from amctq.quant.folding import FusedParameters
from amctq.quant.layers import Topology
from amctq.quant.numerics import Float32Array

# Limit for the activations of one forward pass; two passes are in memory. A batch that needs more is divided.
# ResNet-50 at 224 x 224 needs 64 MB for an image. One to four images a pass are equally fast, eight are a sixth slower.
_BYTES_AT_ONCE = 256 << 20
_FLOAT = 4  # bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """What a forward pass of some samples has given; the next pass overwrites the arrays.

    Attributes:
        samples: how many.
        tensors: for each session, its tapped tensors and the inputs, by name.
        seconds: how long it took.
    """

    samples: int
    tensors: tuple[dict[str, Float32Array], ...]
    seconds: float


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


def forward_passes(sessions: Sequence[OnnxSession], batches: Batches, tapped: Sequence[str]) -> Iterator[Pass]:
    """Run all samples through each of some sessions, a part of a batch at a time.

    Args:
        sessions: of graphs whose tensors have the same names and shapes.
        batches: the samples.
        tapped: the tensors that come out, besides the inputs.
    """
    # The size of one sample's activations limits the size of a pass.
    example = part(batches.first(), slice(1))
    layouts = _layouts(sessions[0], example, tapped)
    size = sum(layout.size for layout in layouts) * len(sessions) * _FLOAT
    size += sum(array.nbytes for array in example.values())
    at_once = min(batches.size, max(1, _BYTES_AT_ONCE // size))
    # Two passes are in memory: the one that is looked at, and the next. Their memory is allocated only once, because
    # onnxruntime does not free all that it allocates for each pass.
    memory = itertools.cycle(
        [[np.empty(at_once * layout.size, np.float32) for layout in layouts] for _ in sessions] for _ in range(2)
    )
    parts = (
        part(inputs, slice(start, start + at_once))
        for inputs, _ in batches
        for start in range(0, samples_in(inputs), at_once)
    )

    def forward_next() -> Pass | None:
        # The worker thread also prepares the images: resizing them takes as long as a small network.
        inputs = next(parts, None)
        if inputs is None:
            return None
        began = time.perf_counter()
        samples, tensors = samples_in(inputs), []
        for session, arrays in zip(sessions, next(memory), strict=True):
            places = zip(tapped, layouts, arrays, strict=True)
            outputs = {name: layout.of(samples, array) for name, layout, array in places}
            if outputs:
                session.run_into(inputs, outputs)
            tensors.append({**inputs, **outputs})
        return Pass(samples=samples, tensors=tuple(tensors), seconds=time.perf_counter() - began)

    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="amctq-forward") as worker:
        pending = worker.submit(forward_next)
        while (finished := pending.result()) is not None:
            pending = worker.submit(forward_next)
            yield finished


def tapped_session(
    graph: FloatGraph, topology: Topology, fused: Mapping[str, FusedParameters], tapped: Sequence[str]
) -> OnnxSession:
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
    # onnxruntime loads no graph that yields nothing.
    return OnnxSession(writer.finish(outputs=outputs or None), shares_cores=True)


def _layouts(session: OnnxSession, example: Inputs, tapped: Sequence[str]) -> list[_Layout]:
    """The layouts of tensors, read off the passes of one and of two samples."""
    if not tapped:
        return []
    one, two = (session.run(inputs, list(tapped)) for inputs in (example, repeated(example, 2)))
    return [
        _Layout(
            shape=few.shape,
            axis=next((axis for axis, size in enumerate(many.shape) if size != few.shape[axis]), None),
        )
        for few, many in zip(one, two, strict=True)
    ]
