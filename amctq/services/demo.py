"""``amctq demo``: the whole way on what the package carries, without network, dataset or NPU.

What it does is what ``prepare-cifar --synthetic`` and ``ptq`` do, with their defaults and into one directory, so that
a user can type the same again and change it.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.choices import ExportFormat, TargetIsa
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
    """What a demonstration found and left behind.

    Attributes:
        request: what was asked for.
        manifest: of the pictures.
        quantized: what ``ptq`` measured.
        seconds: wall time of drawing the pictures; ``quantized`` has that of the rest.
    """

    request: DemoRequest
    manifest: Manifest
    quantized: PtqResult
    seconds: Mapping[str, float]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The files, in their final place."""
        return self.quantized.artifacts

    @property
    def next_commands(self) -> dict[str, str]:
        """What to type next, by what comes of it; the last one takes files of the user's own."""
        folder = self.request.output_dir
        quantized = self.quantized.plan
        bits = "7" if quantized.target.isa is TargetIsa.AVX2 else "4"  # 7: exact and fast without VNNI
        carried = ("--dataset", folder, "--ckpt", folder / CHECKPOINT.name, "--model", MODEL)
        return {
            "measure the INT8 file again": _line(
                "evaluate", "--dataset", folder, "--onnx", folder / quantized.model_files[ExportFormat.ONNX]
            ),
            f"the same with weights of {bits} bits": _line(
                "ptq", *carried, "--weight-bits", bits, "--output-dir", folder / f"{bits}-bits"
            ),
            "CIFAR-10 itself and the official ResNet-50, from the internet": " && ".join(
                [_line("prepare-cifar"), _line("fetch-model", "resnet50")]
            ),
            "a network of yours": _line("ptq", "--dataset", "DATA", "--ckpt", "FILE.ckpt", "--model", "resnet50"),
        }

    def data(self) -> dict[str, Any]:
        """The result, ready for JSON; ``ptq`` is what stands in report.json."""
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
    """Draw pictures, quantize the network that the package carries, and prove what came of it.

    Args:
        request: what to do.
        on_event: is told of progress, notices and warnings.

    Returns:
        The measured result; everything lies in ``request.output_dir``, all at once or nothing.

    Raises:
        UsageError: files would be overwritten.
        UnavailableError: MindSpore does not work here.
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
    """A command as it is typed."""
    return shlex.join(["amctq", *map(str, words)])
