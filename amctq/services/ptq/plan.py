"""The plan of ``amctq ptq``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from amctq.backends.choice import Asked
from amctq.choices import (
    AMCT_WEIGHT_BITS,
    AUTO,
    ArqRule,
    BackendName,
    ExportFormat,
    LiteDevice,
    Placement,
    TargetIsa,
    WeightAlgo,
)
from amctq.errors import InputError
from amctq.export.isa import resolve_isa
from amctq.networks.registry import find_model, is_model_file
from amctq.runtime import cpu_count, cpu_instructions
from amctq.services.ptq.request import PtqRequest
from amctq.services.run.page import PAGE
from amctq.services.run.plan import LOG, RECORD, REPORT, RunPlan, compiled_files, model_files, plan_run

CONFIG, PLACEMENT = "config.json", "placement.json"
_CONVERTER_CONFIGS = {LiteDevice.CPU: ".cfg", LiteDevice.ASCEND: "_ascend.cfg"}  # beside the MindIR file
TUNING_IMAGES = 64
_COSTS_IMAGES = 256  # the costs of widths are small differences
# A drop is counted in samples: where 2 % of them become right or wrong, it has a standard error of 0.3 points.
_DROP_IMAGES = 2000
Kind = TypeVar("Kind", bound="PtqPlan")


@dataclass(frozen=True, kw_only=True, eq=False)
class PtqPlan(RunPlan):
    """A request that has passed every check that needs no MindSpore."""

    request: PtqRequest

    @property
    def asked_bits(self) -> int | None:
        """What ``--weight-bits`` and ``--layer-bits`` say at least."""
        return self.request.narrowest_weights

    @property
    def files(self) -> tuple[str, ...]:
        """Files that the run will write; the report comes last, with its page."""
        return (*self.backend.own_files, *_files(self.request, self.record_files))

    @property
    def converter_configs(self) -> Mapping[LiteDevice, str]:
        """Names of converter_lite's configurations; empty where no file is for it."""
        return _converter_configs(self.model_files)

    @property
    def why_no_tables(self) -> str | None:
        """Placement ``ort`` quantizes them."""
        if not self.request.rules.integer_tables:
            return f"{self.request.target.value} looks up no table in integers"
        return None if self.request.resolved_placement is Placement.ORT else super().why_no_tables

    @property
    def widths(self) -> tuple[int, ...]:
        """What ``--weight-bits auto`` chooses from, the narrowest first: what the target and this CPU take."""
        widest = self.isa.weight_bits
        return (*(bits for bits in self.request.rules.widths if bits < widest), widest)

    @property
    def why_no_record(self) -> str | None:
        """Equalization changes the weights that a record belongs to; and it holds not every width."""
        if self.request.equalize:
            return "--equalize changes the weights, and AMCT's record belongs to those of the checkpoint"
        beyond = [str(bits) for bits in self.widths if bits not in AMCT_WEIGHT_BITS]
        if self.request.weight_bits == AUTO and beyond:
            return f"AMCT's record cannot hold weights of {' and '.join(beyond)} bits, which may be chosen"
        return super().why_no_record

    def tuning_images(self, dataset: str, left: int) -> int:
        """Number of images on which layers are measured: ``--tuning-images``, or the default as far as there are some.

        Args:
            dataset: its name, for messages.
            left: how many neither calibrate nor are needed to evaluate.

        Raises:
            InputError: none is left.
        """
        request = self.request
        if request.tuning_images is not None:
            return request.tuning_images
        usual = _DROP_IMAGES if request.auto else TUNING_IMAGES
        if request.weight_bits == AUTO:
            usual = _DROP_IMAGES if request.max_size is None else _COSTS_IMAGES
        if left < 0:
            return usual  # too many calibrate, which is refused first
        if left == 0:
            message = f"{dataset}: every image calibrates or evaluates, and none is left to measure the layers on"
            raise InputError(message, hint="ask for fewer --calib-images, or give more training images")
        return min(usual, left)

    @property
    def arq_rule(self) -> ArqRule:
        """The rule of ARQ's scales: AMCT's where AMCT places activations, else the one that the instructions need."""
        request = self.request
        by_amct = request.resolved_placement is Placement.ASCEND
        return request.arq_rule or (ArqRule.AMCT if by_amct else self.isa.arq_rule)

    @property
    def corrects_biases(self) -> bool:
        """Whether biases make up for rounded weights: by default wherever amctq chooses the scales."""
        if self.request.bias_correction is not None:
            return self.request.bias_correction
        return self.backend.name is BackendName.NATIVE and self.request.record is None


def ptq_files(request: PtqRequest) -> tuple[str, ...]:
    """Files that a run will write, except those of its back end; the report comes last, with its page.

    Raises:
        UsageError: there is no such model.
        InputError: the file of the user's own model is missing.
    """
    return _files(request, (RECORD,))


def _files(request: PtqRequest, record: tuple[str, ...]) -> tuple[str, ...]:
    stem = f"{find_model(request.model).name}_quant"
    models, converter = compiled_files(request, stem), _converter_configs(model_files(request, stem))
    if converter:  # no file holds amctq's own quantization
        return (*models, *converter.values(), LOG, REPORT, PAGE)
    config = () if request.record and not request.config else (CONFIG,)
    placement = (PLACEMENT,) if request.resolved_placement is Placement.ORT else ()
    return (*models, *config, *record, *placement, LOG, REPORT, PAGE)


def _converter_configs(models: Mapping[ExportFormat, str]) -> dict[LiteDevice, str]:
    model = models.get(ExportFormat.MSLITE)
    if model is None:
        return {}
    return {device: model.removesuffix(".mindir") + ending for device, ending in _CONVERTER_CONFIGS.items()}


def plan_ptq(request: PtqRequest, *, dataset: Path | None = None) -> PtqPlan:
    """Check everything that can be checked without MindSpore and without reading the dataset.

    Args:
        request: the request.
        dataset: present path of the dataset, if ``request`` has the path where it will be later.

    Raises:
        AmctqError: as ``plan_run``.
    """
    return plan_calibration(PtqPlan, request, dataset=dataset)


def plan_calibration(kind: type[Kind], request: PtqRequest, *, dataset: Path | None = None) -> Kind:
    """Check everything that can be checked without MindSpore and without reading the dataset.

    Args:
        kind: the plan of the command.
        request: the request.
        dataset: present path of the dataset, if ``request`` has the path where it will be later.

    Raises:
        AmctqError: as ``plan_run``.
    """
    storage, act_type = request.weight_storage, request.resolved_act_type
    isa = resolve_isa(
        request.isa,
        cpu_instructions(),
        storage,
        act_type,
        request.target,
        in_pairs=request.widest_weight_algo is WeightAlgo.ARQ and request.arq_rule in {None, ArqRule.PAIRS},
        placement=request.resolved_placement,
        threads=cpu_count(),
    )
    if request.weight_bits is None and request.config is None and request.record is None:
        request = replace(request, weight_bits=isa.weight_bits)
    return plan_run(
        kind,
        request,
        _asked(request),
        isa,
        dataset=str(dataset or request.dataset),
        evaluation_dataset=None,
        retrain=False,
    )


def _asked(request: PtqRequest) -> Asked:
    return Asked(
        export=request.resolved_export,
        device=request.device,
        act_algo=request.resolved_act_algo,
        act_type=request.resolved_act_type,
        weight_bits=request.narrowest_weights,
        weight_algo=request.resolved_weight_algo,
        bias_correction=bool(request.bias_correction),
        equalize=request.equalize,
        auto=request.auto,
        weight_storage=request.weight_storage,
        isa=request.isa or TargetIsa.VNNI,
        placement=request.placement,
        target=request.target,
        record=request.record is not None,
        file=is_model_file(request.model),
    )
