"""The request of ``amctq analyze``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from amctq.choices import ExportFormat, TargetIsa, WeightStorage
from amctq.services import request as shared
from amctq.services.analyze.options import TUNING_IMAGES
from amctq.services.ptq.request import PtqRequest


@dataclass(frozen=True, kw_only=True)
class AnalyzeRequest(PtqRequest):
    """The request of ``amctq analyze``. Each field is the option of the same name; the option's help explains it.

    It quantizes as ``PtqRequest`` does. Fields without an option have no meaning without an exported file, without test
    images, or for one layer alone.

    Raises:
        UsageError: a value is out of its range, or two options contradict each other.
    """

    tuning_images: Annotated[int | None, replace(TUNING_IMAGES, after="batch_size")] = None
    output_dir: Annotated[Path, shared.OUTPUT_DIR] = Path("analysis")
    weight_bits: Annotated[int | None, shared.WIDTH] = None
    max_size: float | None = None
    analyze: bool = True
    eval_images: int | None = 0
    export: tuple[ExportFormat, ...] = ()  # those of the target, whose limits hold here too
    soc_version: str | None = None
    max_drop: float | None = None
    simulate: bool = False
    auto: bool = False
    resume: bool = False
    equalize: bool = False
    weight_storage: WeightStorage = WeightStorage.INT8
    isa: TargetIsa | None = None
