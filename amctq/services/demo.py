"""``amctq demo``: a whole run on the data and weights of the package, without network access, dataset or NPU.

It does the same as ``prepare-cifar --synthetic`` and ``ptq`` with their defaults, in one directory, so a user can
repeat these commands and change them.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.choices import ExportFormat
from amctq.data.manifest import MANIFEST, Manifest
from amctq.data.staging import NAMES
from amctq.files import Artifact, OutputDirectory, writing
from amctq.pretrained import CHECKPOINT, MODEL
from amctq.progress import OnEvent, Reporter, silent
from amctq.services.demo_request import DemoRequest
from amctq.services.prepare_cifar import stage_generated
from amctq.services.ptq.plan import plan_ptq, ptq_files
from amctq.services.ptq.ptq import run_ptq
from amctq.services.ptq.result import PtqResult


@dataclass(frozen=True, kw_only=True, eq=False)
class DemoResult:
    """The result of a demonstration.

    Attributes:
        request: the request.
        manifest: of the pictures.
        quantized: the result of ``ptq``.
        seconds: wall time of drawing the pictures; the rest is in ``quantized``.
    """

    request: DemoRequest
    manifest: Manifest
    quantized: PtqResult
    seconds: Mapping[str, float]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The published files."""
        return self.quantized.artifacts

    @property
    def next_commands(self) -> dict[str, str]:
        """Further commands, by purpose; the last one needs the user's own files."""
        folder = self.request.output_dir
        quantized = self.quantized.plan
        carried = ("--dataset", folder, "--ckpt", folder / CHECKPOINT.name, "--model", MODEL)
        return {
            "measure the INT8 file again": _line(
                "evaluate", "--dataset", folder, "--onnx", folder / quantized.model_files[ExportFormat.ONNX]
            ),
            "the same with weights of 4 bits": _line(
                "ptq", *carried, "--weight-bits", "4", "--output-dir", folder / "4-bits"
            ),
            "CIFAR-10 itself and the official ResNet-50, from the internet": " && ".join(
                [_line("prepare-cifar"), _line("fetch-model", "resnet50")]
            ),
            "a network of yours": _line("ptq", "--dataset", "DATA", "--ckpt", "FILE.ckpt", "--model", "resnet50"),
        }

    def data(self) -> dict[str, Any]:
        """The result, ready for JSON; ``ptq`` is the content of report.json."""
        return {
            "schema": 1,
            "command": "demo",
            "output_dir": str(self.request.output_dir),
            "checkpoint": str(self.request.output_dir / CHECKPOINT.name),
            "pictures": {"origin": dict(self.manifest.origin), "classes": list(self.manifest.classes)},
            "ptq": self.quantized.data(),
            "next": [{"purpose": purpose, "command": command} for purpose, command in self.next_commands.items()],
            "timing": {"seconds": {phase: round(value, 3) for phase, value in self.seconds.items()}},
        }


def demo(request: DemoRequest, on_event: OnEvent = silent) -> DemoResult:
    """Draw pictures, quantize the network of the package, and measure the result.

    Args:
        request: the request.
        on_event: receives progress, notices and warnings.

    Returns:
        The measured result. All files are in ``request.output_dir``; after an error, none is.

    Raises:
        UsageError: files would be overwritten.
        UnavailableError: MindSpore does not work on this machine.
        CheckError: the INT8 file fails a check.
        WriteError: the output directory cannot be written.
    """
    ptq = request.quantization
    reporter = Reporter(on_event)
    names = (*NAMES, CHECKPOINT.name, *ptq_files(ptq))
    with OutputDirectory(request.output_dir, names=names, force=request.force) as output:
        reporter.info("generated pictures of ten classes, not CIFAR-10, and a small network trained on such pictures")
        manifest = stage_generated(request.pictures, output, reporter)
        with writing(output.path / CHECKPOINT.name):
            shutil.copyfile(CHECKPOINT, output.staged(CHECKPOINT.name))
        plan = plan_ptq(ptq, dataset=output.staged(MANIFEST).parent)
        result = run_ptq(plan, output, on_event)
    return DemoResult(request=request, manifest=manifest, quantized=result, seconds=dict(reporter.seconds))


def _line(*words: str | Path) -> str:
    """A command line, quoted for a shell."""
    return shlex.join(["amctq", *map(str, words)])
