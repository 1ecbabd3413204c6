"""The common request of ``ptq`` and ``qat``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from amctq.choices import BackendName, ExportFormat, Language, Target
from amctq.errors import UsageError
from amctq.export.targets import TARGETS, TargetRules
from amctq.services import request as shared
from amctq.services.contradictions import refuse_other_target
from amctq.services.option import LANG
from amctq.services.request import NetworkRequest


@dataclass(frozen=True, kw_only=True)
class QuantizationRequest(NetworkRequest):
    """The common request of ``ptq`` and ``qat``. They declare a field again if its help text differs.

    Attributes:
        calib_images: None means the configuration's batch_num times the batch size, else 32.
        config: None means AMCT's defaults for every layer.
        record: None means that a calibration runs.
        export: empty means the default format of the back end, onnx or air.
        soc_version: None means that ATC is not run.
        max_drop: None means no limit.
        auto: the network is chosen by ``max_drop``, on other samples than those of the evaluation.
        target: what the file is for.
    """

    ckpt: Annotated[Path | None, shared.CKPT]
    calib_images: Annotated[int | None, shared.CALIB_IMAGES] = None
    config: Path | None = None
    record: Path | None = None
    max_drop: Annotated[float | None, shared.MAX_DROP] = None
    auto: bool = False
    allow_poor_float: Annotated[bool, shared.ALLOW_POOR_FLOAT] = False
    backend: Annotated[BackendName, shared.BACKEND] = BackendName.AUTO
    target: Annotated[Target, shared.TARGET] = Target.ONNXRUNTIME
    export: Annotated[tuple[ExportFormat, ...], shared.EXPORT] = ()
    soc_version: Annotated[str | None, shared.SOC_VERSION] = None
    output_dir: Annotated[Path, shared.OUTPUT_DIR] = Path()
    lang: Annotated[Language | None, LANG] = None
    force: Annotated[bool, shared.FORCE] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_no_images(self.calib_images)
        _refuse_idle_chip(self.soc_version, self.resolved_export)
        refuse_other_target(self.target, self)

    @property
    def rules(self) -> TargetRules:
        """What the target wants."""
        return TARGETS[self.target]

    @property
    def resolved_export(self) -> tuple[ExportFormat, ...]:
        """The formats asked for, or those of the target; empty for the default of the back end. AMCT has only AIR."""
        return self.export or (() if self.backend is BackendName.AMCT else self.rules.export)


def _refuse_no_images(calib_images: int | None) -> None:
    """Refuse a run without images, which would leave activations in float: such a file is small and not fast.

    Raises:
        UsageError: the number is below 1.
    """
    if calib_images is not None and calib_images < 1:
        message = f"--calib-images {calib_images}: expected at least 1: the ranges of activations come from images"
        hint = "--calib-images 1 takes a single one; --weight-algo squant rounds the weights without any"
        raise UsageError(message, hint=hint)


def _refuse_idle_chip(soc_version: str | None, export: tuple[ExportFormat, ...]) -> None:
    """Refuse ``--soc-version`` if there is no deploy file to compile, or if it is not the name of a chip.

    Raises:
        UsageError: one of the two.
    """
    if soc_version is None:
        return
    if ExportFormat.ASCEND not in export:
        message = f"--soc-version {soc_version}: there is no deploy file to compile"
        raise UsageError(message, hint="add ascend to --export, or leave --soc-version out")
    if not re.fullmatch(r"\w+", soc_version, re.ASCII):
        message = f"--soc-version {soc_version!r}: expected the name of a chip, such as Ascend310P3"
        raise UsageError(message, hint="npu-smi info shows it; put Ascend in front of the name there")
