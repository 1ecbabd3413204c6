"""The float network as ONNX: MindSpore exports MindIR, and amctq reads it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amctq.data.inputs import InputSpec
from amctq.graph.float_graph import FloatGraph
from amctq.graph.mindir.reader import read_mindir
from amctq.graph.prime_batch import prime_batch
from amctq.networks.exporting import exporting


def export_float(network: Any, inputs: Mapping[str, InputSpec], scratch: Path) -> FloatGraph:
    """A MindSpore network as ONNX, opset 17, with a dynamic batch.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode.
        inputs: what it takes, in the order of construct().
        scratch: path of MindSpore's file; the caller removes it.

    Raises:
        InputError: MindSpore cannot export the network, or amctq cannot read it.
        OSError: there is no room for the file.
    """
    batch = _batch(network, inputs)
    model = mindir_of(network, tuple(_example(spec, batch) for spec in inputs.values()), scratch)
    parameters = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
    read = read_mindir(model, batch, inputs=tuple(inputs), parameters=parameters)
    return FloatGraph(model=read.model, file_bytes=read.model.ByteSize(), half=read.half)


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


def _batch(network: Any, inputs: Mapping[str, InputSpec]) -> int:
    """The batch of the export."""
    sizes = {size for parameter in network.get_parameters() for size in parameter.shape}
    for shape in (spec.shape for spec in inputs.values()):
        sizes |= {*shape, math.prod(shape[1:]), math.prod(shape)}
    return prime_batch(sizes)
