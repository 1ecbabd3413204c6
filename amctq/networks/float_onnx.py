"""The float network as ONNX: MindSpore exports MindIR, and amctq reads it."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

from amctq.errors import InputError
from amctq.graph.float_graph import FloatGraph
from amctq.graph.mindir.reader import read_mindir
from amctq.networks.exporting import exporting

INPUT_NAME = "image"
OUTPUT_NAME = "logits"
# The batch of the export. Nothing is computed with it, so it may be large; a small number would divide other sizes.
_BATCHES = (1009, 1013, 1019, 1021, 1031, 1033, 1039, 1049, 1051, 1061, 1063, 1069)


def export_float(network: Any, input_shape: tuple[int, int, int], scratch: Path) -> FloatGraph:
    """A MindSpore network as ONNX, opset 17, with a dynamic batch.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode, from one image tensor to one logits tensor.
        input_shape: (C, H, W) of one image.
        scratch: path of MindSpore's file; the caller removes it.

    Raises:
        InputError: MindSpore cannot export the network, amctq cannot read it, or it has several inputs or outputs.
        OSError: there is no room for the file.
    """
    import mindspore
    from mindspore.common.initializer import Zero

    _check_inputs(network)
    batch = _batch(network, input_shape)
    # With an initializer it has no values until they are asked for: a thousand images of 1,600 pixels take 30 GB.
    example = mindspore.Tensor(shape=[batch, *input_shape], dtype=mindspore.float32, init=Zero())
    model = mindir_of(network, (example,), scratch)
    parameters = {parameter.name: parameter.asnumpy() for parameter in network.get_parameters()}
    read = read_mindir(model, batch, inputs=(INPUT_NAME,), outputs=(OUTPUT_NAME,), parameters=parameters)
    rank = len(read.model.graph.output[0].type.tensor_type.shape.dim)
    if rank != 2:
        message = f"the network has an output of rank {rank}, expected one (N, classes) tensor of logits"
        raise InputError(message, hint="give amctq only the classifier, without loss or extra heads")
    return FloatGraph(model=read.model, file_bytes=read.model.ByteSize(), half=read.half)


def _check_inputs(network: Any) -> None:
    """Make sure that ``construct`` can be called with one tensor; what MindSpore says otherwise is hard to understand.

    Raises:
        InputError: it needs more, or takes none.
    """
    signature = inspect.signature(network.construct)
    try:
        signature.bind(None)
    except TypeError as error:
        needed = [name for name, item in signature.parameters.items() if item.default is item.empty]
        names = ", ".join(needed) or "nothing"
        message = f"the network has other inputs than one tensor: construct() takes {names}"
        raise InputError(message, hint="give amctq a network that takes one tensor of images") from error


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


def _batch(network: Any, input_shape: tuple[int, int, int]) -> int:
    """A prime that no size of the network is a multiple of, so that its multiples in the graph come from the batch."""
    sizes = {size for parameter in network.get_parameters() for size in parameter.shape}
    sizes |= {*input_shape, math.prod(input_shape[1:]), math.prod(input_shape)}
    return next((batch for batch in _BATCHES if all(size % batch for size in sizes if size)), _BATCHES[0])
