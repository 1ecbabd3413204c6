"""What ``amctq demo`` is asked for."""

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
    """The request of ``amctq demo``. Each field is the option of the same name; its help says what it means.

    Attributes:
        output_dir: where everything goes: pictures, checkpoint, the quantized network and its report.

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
        """What ``prepare-cifar`` would be asked for."""
        return PrepareCifarRequest(synthetic=True, seed=self.seed, output_dir=self.output_dir)

    @property
    def quantization(self) -> PtqRequest:
        """What ``ptq`` would be asked for: its defaults, on the CPU."""
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
