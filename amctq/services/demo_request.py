"""The request of ``amctq demo``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from amctq.choices import BackendName, Device, ExportFormat
from amctq.pretrained import CHECKPOINT, MODEL
from amctq.services.option import RUN, Option, Request
from amctq.services.prepare_cifar_request import PrepareCifarRequest
from amctq.services.ptq.request import PtqRequest
from amctq.services.request import FORCE, OUTPUT_DIR


@dataclass(frozen=True, kw_only=True)
class DemoRequest(Request):
    """The request of ``amctq demo``. Each field is the option of the same name; the option's help explains it.

    Attributes:
        output_dir: folder of all output: pictures, checkpoint, the quantized network and its report.

    Raises:
        UsageError: a value is out of its range.
    """

    seed: Annotated[
        int, Option(RUN, "Random seed for the pictures and for the choice of calibration images.", min=0)
    ] = 1
    output_dir: Annotated[Path, OUTPUT_DIR] = Path("demo")
    force: Annotated[bool, FORCE] = False

    @property
    def pictures(self) -> PrepareCifarRequest:
        """The request of ``prepare-cifar`` that makes the same pictures."""
        return PrepareCifarRequest(synthetic=True, seed=self.seed, output_dir=self.output_dir)

    @property
    def quantization(self) -> PtqRequest:
        """The request of ``ptq`` that gives the same result: its defaults, on the CPU."""
        return PtqRequest(
            dataset=self.output_dir,
            ckpt=CHECKPOINT,
            model=MODEL,
            seed=self.seed,
            device=Device.CPU,
            backend=BackendName.NATIVE,
            export=(ExportFormat.ONNX,),
            output_dir=self.output_dir,
        )
