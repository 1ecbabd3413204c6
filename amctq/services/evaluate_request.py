"""The request of ``amctq evaluate``."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated

from amctq.choices import Runtime
from amctq.errors import UsageError
from amctq.services.option import INPUT, RUN, Option
from amctq.services.qat.request import QatRequest
from amctq.services.request import CKPT, DATASET, NetworkRequest


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest(NetworkRequest):
    """The request of ``amctq evaluate``. Exactly one of ``ckpt``, ``onnx`` and ``mindir`` must be given.

    Attributes:
        onnx: may be a deploy file for NPUs. A file of amctq contains its preprocessing.

    Raises:
        UsageError: a value is out of its range, or two options contradict each other.
    """

    dataset: Annotated[str | Path, replace(DATASET, aliases=("dataset_path", "eval_dataset"))]
    ckpt: Annotated[Path | None, CKPT] = None
    onnx: Annotated[
        Path | None, Option(INPUT, "Exported ONNX file: float, INT8, or a deploy file for ATC.", metavar="FILE")
    ] = None
    mindir: Annotated[Path | None, Option(INPUT, "Exported MindIR file: float or INT8.", metavar="FILE")] = None
    runtime: Annotated[
        Runtime, Option(RUN, "What runs the ONNX file; openvino needs pip install 'amctq[openvino]'.", after="metric")
    ] = Runtime.ONNXRUNTIME

    def __post_init__(self) -> None:
        super().__post_init__()
        from amctq.networks.registry import is_model_file

        if is_model_file(self.model):
            message = f"--model {self.model} is a file: --onnx or --mindir measures it"
            raise UsageError(
                message, hint="leave --model out; --image-size, --mean and --std say how images are prepared"
            )
        if sum(file is not None for file in (self.ckpt, self.onnx, self.mindir)) != 1:
            message = "evaluate takes one of --ckpt, --onnx and --mindir"
            raise UsageError(message, hint="give the one to measure")
        if self.runtime is not Runtime.ONNXRUNTIME and self.onnx is None:
            message = f"--runtime {self.runtime.value} runs ONNX files, and none is evaluated"
            raise UsageError(message, hint="leave it out, or give --onnx")
        if self.name_map is not None and self.ckpt is None:
            message = "--name-map is about a checkpoint, and none is evaluated"
            raise UsageError(message, hint="leave it out, or give --ckpt")
        if self.eval_images == 0:
            message = "--eval-images 0: there would be nothing to evaluate"
            raise UsageError(message, hint="give a number from 1 up, or all")


def original_request(request: QatRequest) -> EvaluateRequest:
    """Make the request for ``qat --original``: measure its float checkpoint on the same images."""
    dataset = request.dataset if request.eval_dataset is None else request.eval_dataset
    assert dataset is not None
    same = {item.name: getattr(request, item.name) for item in fields(NetworkRequest)}
    return EvaluateRequest(dataset=dataset, ckpt=request.ckpt, **same)
