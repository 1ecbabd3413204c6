"""The float network as ONNX: MindSpore exports MindIR, and amctq reads it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from amctq.data.inputs import InputSpec
from amctq.errors import InputError
from amctq.files import writing
from amctq.graph.float_graph import FloatGraph
from amctq.graph.mindir.integers import has_doubtful, integers
from amctq.graph.mindir.reader import ReadGraph, read_mindir
from amctq.graph.prime_batch import prime_batch
from amctq.networks.exporting import exporting


def export_float(network: Any, inputs: Mapping[str, InputSpec], scratch: Path) -> FloatGraph:
    """The first of ``float_graphs``."""
    return next(float_graphs(network, inputs, scratch))


def float_graphs(network: Any, inputs: Mapping[str, InputSpec], scratch: Path) -> Iterator[FloatGraph]:
    """A MindSpore network as ONNX, opset 17, with a dynamic batch.

    MindIR does not say which of its numbers come from the batch: all multiples of a prime batch are taken for such. A
    second graph follows where one of them may be a number of the network. It is made with a batch that divides no
    number of the first export, so it is right where the first is wrong; it costs a second export.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode.
        inputs: what it takes, in the order of construct().
        scratch: path of MindSpore's file; the caller removes it.

    Raises:
        InputError: MindSpore cannot export the network, or amctq cannot read it.
        WriteError: there is no room for the file.
    """
    parameters = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
    sizes = _sizes(network, inputs)
    batch = prime_batch(sizes)
    model = _exported(network, inputs, batch, scratch)
    doubtful = has_doubtful(model, batch)
    try:
        read = read_mindir(model, batch, inputs=tuple(inputs), parameters=parameters)
    except InputError:
        if not doubtful:
            raise
    else:
        # Where a limit is a number of images, the images of the proof may not reach it.
        if not (doubtful and read.computes_with_batch):
            yield _graph(read)
    if doubtful:
        batch = prime_batch(sizes | integers(model))
        model = _exported(network, inputs, batch, scratch)
        yield _graph(read_mindir(model, batch, inputs=tuple(inputs), parameters=parameters))


def _graph(read: ReadGraph) -> FloatGraph:
    return FloatGraph(model=read.model, file_bytes=read.model.ByteSize(), half=read.half)


def _exported(network: Any, inputs: Mapping[str, InputSpec], batch: int, scratch: Path) -> Any:
    with writing(scratch.parent):
        return mindir_of(network, tuple(_example(spec, batch) for spec in inputs.values()), scratch)


def _example(spec: InputSpec, batch: int) -> Any:
    import mindspore
    from mindspore.common.initializer import Zero

    # With an initializer it has no values until they are asked for: a thousand images of 1,600 pixels take 30 GB.
    return mindspore.Tensor(shape=[batch, *spec.shape], dtype=getattr(mindspore, spec.mindspore_dtype), init=Zero())


def mindir_of(network: Any, examples: tuple[Any, ...], scratch: Path) -> Any:
    """The network's MindIR, ``mindspore.train.mind_ir_pb2.ModelProto``, without the values of its parameters.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode.
        examples: tensors of the shapes and types of its inputs.
        scratch: path of MindSpore's file; the caller removes it.

    Raises:
        InputError: MindSpore cannot export the network.
        OSError: there is no room for the file.
    """
    import mindspore

    models = []

    def keep(model: Any) -> None:
        """Take the model before MindSpore writes the parameters into it; they are at hand, and may be large."""
        models.append(type(model)())
        models[0].CopyFrom(model)
        del model.graph.parameter[:]

    with exporting(network, scratch, "MindIR") as path:
        mindspore.export(network, *examples, file_name=path, file_format="MINDIR", custom_func=keep)
    return models[0]


def _sizes(network: Any, inputs: Mapping[str, InputSpec]) -> set[int]:
    """The sizes of a network that are known before it is exported."""
    sizes = {size for parameter in network.get_parameters() for size in parameter.shape}
    for shape in (spec.shape for spec in inputs.values()):
        sizes |= {*shape, math.prod(shape[1:]), math.prod(shape)}
    return sizes
