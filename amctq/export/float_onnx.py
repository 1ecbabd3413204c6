"""The float network as ONNX, the way MindSpore itself exports it."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx

from amctq.errors import InputError, first_line
from amctq.export.opset import raise_opset
from amctq.export.pooling import name_global_pooling
from amctq.quant.topology import FloatGraph

INPUT_NAME = "image"
OUTPUT_NAME = "logits"


def export_float(network: Any, input_shape: tuple[int, int, int], scratch: Path) -> FloatGraph:
    """Export a MindSpore network to ONNX, opset 17, with a dynamic batch.

    Args:
        network: ``mindspore.nn.Cell`` in inference mode, taking one image tensor and giving one logits tensor.
        input_shape: (C, H, W) of one image.
        scratch: where MindSpore may put its file; the caller removes it.

    Raises:
        InputError: MindSpore cannot export the network, or it has several outputs.
        OSError: there is no room for the file.
    """
    import mindspore
    import numpy as np

    example = mindspore.Tensor(np.zeros((1, *input_shape), np.float32))
    # A second export of one network in one process fails on what the first one cached.
    network.compile_cache.clear()
    try:
        with _plain_path(scratch) as path:
            _refuse_full_disk(network, scratch)
            mindspore.onnx.export(
                network,
                example,
                file_name=path,
                input_names=[INPUT_NAME],
                output_names=[OUTPUT_NAME],
                dynamic_axes={INPUT_NAME: {0: "N"}},
            )
    except OSError:
        raise
    except Exception as error:
        message = f"MindSpore cannot export this network to ONNX: {first_line(error)}"
        raise InputError(message, hint=_how_to_rewrite(str(error))) from error
    model = onnx.load(scratch)
    ranks = [len(value.type.tensor_type.shape.dim) for value in model.graph.output]
    if ranks != [2]:
        message = f"the network has outputs of rank {ranks}, expected one (N, classes) tensor of logits"
        raise InputError(message, hint="give amctq the classifier alone, without loss or extra heads")
    # dynamic_axes leaves the output at the batch of the example, and onnxruntime then warns on every run.
    for value in model.graph.output:
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    return FloatGraph(model=name_global_pooling(raise_opset(model)), file_bytes=scratch.stat().st_size)


def _refuse_full_disk(network: Any, target: Path) -> None:
    """MindSpore does not say that a disk is full: it leaves no file, or half of one."""
    needed = sum(parameter.nbytes for parameter in network.get_parameters())
    if shutil.disk_usage(target.parent).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))


@contextlib.contextmanager
def _plain_path(path: Path) -> Iterator[str]:
    """Another name of ``path``: MindSpore refuses to export to one with spaces or Chinese characters."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _how_to_rewrite(text: str) -> str:
    if "Inplace" in text or "TensorMove" in text:
        return "write x = x + y (or ops.add(x, y)) where construct() has x += y: the ONNX exporter refuses the latter"
    return "rewrite the named operation in construct() with one that mindspore.onnx.export supports"
