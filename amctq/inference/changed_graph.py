"""Running many variants of one graph: what comes before the change is computed once.

A variant differs from the reference in some nodes. Whatever does not depend on these has the reference's values; where
such a tensor is kept, the variant runs from there on. A few places are kept, at which little is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from amctq.data.inputs import Inputs, samples_in
from amctq.inference.onnx_session import OnnxSession
from amctq.inference.session import Outputs

_PLACES = 7
_KEPT_BYTES = 512 << 20


@dataclass(frozen=True, kw_only=True)
class _Place:
    """What must be kept to go on behind a node: tensors, and their bytes for one sample."""

    tensors: tuple[str, ...]
    bytes: float


class ReferenceGraph:
    """A graph with its outputs for some samples, against which variants are run.

    Args:
        model: the graph.
        batches: the samples' inputs; they stay in memory.

    Attributes:
        outputs: of the graph, for each batch.
    """

    def __init__(self, model: onnx.ModelProto, batches: Sequence[Inputs]) -> None:
        self._batches = batches
        self._nodes = {node.output[0]: _content(node) for node in model.graph.node if node.output}
        self._constants = {item.name: item for item in model.graph.initializer}
        inferred = {item.name: item for item in onnx.shape_inference.infer_shapes(model).graph.value_info}
        kept = _kept(model, inferred, sum(map(samples_in, batches)))
        names = [item.name for item in model.graph.output]
        session = OnnxSession(_with_outputs(model, [inferred[name] for name in kept]))
        runs = [session.run(inputs, [*names, *kept]) for inputs in batches]
        self.outputs: Sequence[Outputs] = [found[: len(names)] for found in runs]
        self._kept = [dict(zip(kept, found[len(names) :], strict=True)) for found in runs]

    def outputs_of(self, variant: onnx.ModelProto) -> Iterator[Outputs]:
        """The outputs of a variant, batch by batch.

        Args:
            variant: a graph with the same inputs and outputs; tensors of the same name mean the same.
        """
        model, fed = self._rest(variant)
        session = OnnxSession(model)
        for inputs, kept in zip(self._batches, self._kept, strict=True):
            known = {**inputs, **kept}
            yield session.run({name: known[name] for name in fed})

    def _rest(self, variant: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
        """The part of a variant that differs from the reference, and what it reads."""
        same = self._same_tensors(variant)
        kept = self._kept[0]
        wanted = {item.name for item in variant.graph.output}
        nodes = []
        fed: dict[str, None] = {}
        for node in reversed(variant.graph.node):
            needed = [name for name in node.output if name in wanted and not (name in same and name in kept)]
            if needed:
                nodes.append(node)
                wanted.update(node.input)
        graph_inputs = {item.name: item for item in variant.graph.input}
        produced = {name for node in nodes for name in node.output}
        for name in wanted - produced:
            if name in graph_inputs or name in kept:
                fed[name] = None
        names = tuple(sorted(fed))
        if not names:  # nothing that a sample changes; onnxruntime still takes the batch
            names = tuple(graph_inputs)
        inputs = [graph_inputs.get(name) or _described(name, kept[name]) for name in names]
        rest = helper.make_model(
            helper.make_graph(
                nodes[::-1],
                "amctq",
                inputs,
                list(variant.graph.output),
                initializer=[item for item in variant.graph.initializer if item.name in wanted],
            ),
            opset_imports=list(variant.opset_import),
            ir_version=variant.ir_version,
        )
        return rest, names

    def _same_tensors(self, variant: onnx.ModelProto) -> set[str]:
        """Tensors that the variant computes as the reference does."""
        same = {item.name for item in variant.graph.input}
        constants = {item.name: item for item in variant.graph.initializer}
        for node in variant.graph.node:
            if not node.output or self._nodes.get(node.output[0]) != _content(node):
                continue
            if all(not name or name in same or self._same_constant(name, constants) for name in node.input):
                same.update(node.output)
        return same

    def _same_constant(self, name: str, constants: Mapping[str, onnx.TensorProto]) -> bool:
        one, other = self._constants.get(name), constants.get(name)
        return one is not None and other is not None and (one is other or one == other)


def _content(node: onnx.NodeProto) -> bytes:
    return node.SerializeToString(deterministic=True)


def _described(name: str, array: NDArray[np.generic]) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor_value_info(name, kind, [None] * array.ndim)


def _with_outputs(model: onnx.ModelProto, more: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
    """The graph with further outputs."""
    graph = helper.make_graph(
        list(model.graph.node),
        model.graph.name,
        list(model.graph.input),
        [*model.graph.output, *more],
        initializer=list(model.graph.initializer),
    )
    return helper.make_model(graph, opset_imports=list(model.opset_import), ir_version=model.ir_version)


def _kept(model: onnx.ModelProto, inferred: Mapping[str, onnx.ValueInfoProto], samples: int) -> list[str]:
    """The tensors to keep: those alive at a few places, where they are small."""
    places = list(_places(model, _sizes(inferred)))
    found = []
    width = max(1, len(places) // (_PLACES + 1))
    for start in range(width // 2, len(places), width):
        window = [place for place in places[start : start + width] if place is not None]
        if window:
            found.append(min(window, key=lambda place: place.bytes))
    budget = _KEPT_BYTES / samples
    for place in sorted(found, key=lambda place: place.bytes, reverse=True):
        if sum(each.bytes for each in found) <= budget:
            break
        found.remove(place)
    outputs = {item.name for item in model.graph.output}
    return [name for name in dict.fromkeys(name for place in found for name in place.tensors) if name not in outputs]


def _places(model: onnx.ModelProto, sizes: Mapping[str, float]) -> Iterator[_Place | None]:
    """Behind every node that depends on the samples, what is alive there; None where its size is not known."""
    depends = {item.name for item in model.graph.input}
    last_reader: dict[str, int] = {}
    for index, node in enumerate(model.graph.node):
        last_reader |= dict.fromkeys(node.input, index)
    last_reader |= {item.name: len(model.graph.node) for item in model.graph.output}
    alive: dict[str, None] = {}
    for index, node in enumerate(model.graph.node):
        if depends.isdisjoint(node.input):
            continue
        depends.update(node.output)
        alive |= dict.fromkeys(name for name in node.output if name in last_reader)
        alive = {name: None for name in alive if last_reader[name] > index}
        known = [sizes.get(name) for name in alive]
        size = sum(item for item in known if item is not None)
        yield None if None in known else _Place(tensors=tuple(alive), bytes=size)


def _sizes(inferred: Mapping[str, onnx.ValueInfoProto]) -> Mapping[str, float]:
    """By tensor, its bytes for one sample, where its shape is known but for the first axis."""
    found = {}
    for item in inferred.values():
        kind = item.type.tensor_type
        axes = [axis.dim_value for axis in kind.shape.dim]
        if kind.HasField("shape") and all(axes[1:]):
            found[item.name] = (
                float(np.prod([axis or 1 for axis in axes]))
                * np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)).itemsize
            )
    return found
