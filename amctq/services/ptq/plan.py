"""The plan of ``amctq ptq``: its request, once everything cheap has been checked."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import Backend
from amctq.backends.choice import Asked, resolve_backend
from amctq.choices import (
    ActAlgo,
    ExportFormat,
    Placement,
    TargetIsa,
    WeightAlgo,
    WeightStorage,
)
from amctq.data.samples import Batches, Samples, Split
from amctq.data.source import DataSource, find_dataset
from amctq.errors import InputError, UsageError
from amctq.export.targets import Target, resolve_target
from amctq.files import reading
from amctq.networks.checkpoint import check_readable
from amctq.networks.registry import ModelSpec, find_model
from amctq.progress import Reporter
from amctq.runtime import ResolvedDevice, cpu_instructions, resolve_device
from amctq.services.ptq.request import PtqRequest
from amctq.services.run.atc import om_name, require_atc

if TYPE_CHECKING:
    from amctq.quant.config import QuantConfig
    from amctq.quant.layers import Topology

REPORT, LOG, CONFIG, RECORD = "report.json", "amctq.log", "config.json", "calibration_record.txt"
PLACEMENT = "placement.json"
CALIB_IMAGES = 32


@dataclass(frozen=True, kw_only=True, eq=False)
class PtqPlan:
    """A request that has passed every check that costs nothing.

    Attributes:
        request: what was asked for.
        spec: the network.
        data: the dataset, found and not read.
        device: where MindSpore runs.
        backend: the engine.
        backend_reason: why this one.
        calibration_images: how many images calibrate.
        target: the x86 instructions that the ONNX file is written for.
    """

    request: PtqRequest
    spec: ModelSpec
    data: DataSource
    device: ResolvedDevice
    backend: Backend
    backend_reason: str
    calibration_images: int
    target: Target

    @property
    def model_files(self) -> dict[ExportFormat, str]:
        """Names of the INT8 model by format, in the order asked for."""
        return _model_files(self.request, self.spec)

    @property
    def files(self) -> tuple[str, ...]:
        """What the run will write; the report last, because it speaks of the others."""
        return (*self.backend.own_files, *ptq_files(self.request))

    def batches(self, samples: Samples) -> Batches:
        """``samples`` in batches of the size asked for."""
        return Batches(samples=samples, size=self.request.batch_size)

    def metadata(self, images: Split) -> dict[str, str]:
        """What whoever runs the exported file must know of it, as its metadata."""
        channels, height, width = images.calibration.input_shape
        known = {
            "amctq.model": self.spec.name,
            "amctq.num_classes": str(self.request.num_classes),
            "amctq.input": f"float32 NCHW {channels}x{height}x{width}",
        }
        preprocessing = images.calibration.preprocessing
        if preprocessing is not None:
            known["amctq.preprocessing"] = json.dumps(asdict(preprocessing))
        return known


def ptq_files(request: PtqRequest) -> tuple[str, ...]:
    """What a run will write; the report last, because it speaks of the others.

    Raises:
        UsageError: there is no such model.
        InputError: the file of a model of the user's own is not there.
    """
    config = () if request.record else (CONFIG,)
    placement = (PLACEMENT,) if request.resolved_placement is Placement.ORT else ()
    models = _model_files(request, find_model(request.model))
    compiled = () if request.soc_version is None else (om_name(models[ExportFormat.ASCEND]),)
    return (*models.values(), *compiled, *config, RECORD, *placement, LOG, REPORT)


def _model_files(request: PtqRequest, spec: ModelSpec) -> dict[ExportFormat, str]:
    return {form: f"{spec.name}_quant{form.suffix}" for form in request.export}


def plan_ptq(request: PtqRequest, *, dataset: Path | None = None) -> PtqPlan:
    """Check everything that can be checked without MindSpore, and before anything is read whole.

    Args:
        request: what to do.
        dataset: where the dataset lies for now, if the request names the place where it will lie.

    Raises:
        UsageError: options contradict each other or name what there is not.
        InputError: dataset, checkpoint, configuration or record are not there.
        UnavailableError: backend or device are missing.
    """
    spec = find_model(request.model)
    data = find_dataset(str(dataset or request.dataset))
    with reading(f"--ckpt {request.ckpt}"):
        check_readable(request.ckpt)
    for option, path in (("--config", request.config), ("--record", request.record)):
        with reading(f"{option} {path}"):
            if path is not None and not path.is_file():
                message = f"{option} {path}: no such file"
                raise InputError(message, hint="check the path")
    require_atc(request.soc_version)
    device = resolve_device(request.device, request.device_id)
    backend, reason = resolve_backend(request.backend, _asked(request), device, batch_size=request.batch_size)
    request = replace(request, export=request.export or backend.default_export)
    return PtqPlan(
        request=request,
        spec=spec,
        data=data,
        device=device,
        backend=backend,
        backend_reason=reason,
        calibration_images=_calibration_images(request),
        target=resolve_target(request.isa, cpu_instructions(), request.weight_storage, request.act_type),
    )


def _asked(request: PtqRequest) -> Asked:
    return Asked(
        formats=request.export,
        device=request.device,
        act_algo=request.act_algo or ActAlgo.IFMR,
        act_type=request.act_type,
        weight_bits=request.weight_bits or 8,
        weight_algo=request.weight_algo or WeightAlgo.ARQ,
        weight_storage=request.weight_storage,
        isa=request.isa or TargetIsa.VNNI,
        placement=request.placement,
        from_record=request.record is not None,
    )


def quant_config(request: PtqRequest, topology: Topology, reporter: Reporter) -> QuantConfig:
    """What shall be done to each layer: by ``--config``, else by options.

    Args:
        request: what was asked for.
        topology: of the network.
        reporter: is warned of what is corrected in the file.

    Raises:
        UsageError: ``--skip-layer`` matches nothing, or ``--weight-storage int4`` has nothing to store.
        InputError: the file is not what it must be, or no layer is left.
    """
    from amctq.amct_files.config_file import read_config
    from amctq.quant.config import default_config

    if request.config is not None:
        config = read_config(request.config, topology, reporter.warn)
        refuse_idle_int4(request, (layer.weight.bits for layer in config.enabled.values()))
        return config
    return default_config(
        topology,
        algo=request.act_algo or ActAlgo.IFMR,
        symmetric=request.act_symmetric,
        per_tensor=request.per_tensor,
        weight_bits=request.weight_bits or 8,
        weight_algo=request.weight_algo or WeightAlgo.ARQ,
        skip=request.skip_layers,
    )


def refuse_idle_int4(request: PtqRequest, weight_bits: Iterable[int]) -> None:
    """Refuse ``--weight-storage int4`` where a configuration or a record has no layer of 4 bits.

    Raises:
        UsageError: there is none.
    """
    if request.weight_storage is WeightStorage.INT4 and 4 not in set(weight_bits):
        message = f"--weight-storage int4: {request.config or request.record} has no layer with weights of 4 bits"
        raise UsageError(message, hint="leave --weight-storage out, or quantize with --weight-bits 4")


def _calibration_images(request: PtqRequest) -> int:
    """``--calib-images``, else the configuration's batch_num × batch size, else 32."""
    batch_num = None
    if request.config is not None:
        from amctq.amct_files.config_file import read_batch_num

        batch_num = read_batch_num(request.config)
    if batch_num is not None and request.calib_images is not None:
        message = f"--calib-images and batch_num in {request.config} both say how many images calibrate"
        raise UsageError(message, hint="leave one of the two out")
    if request.calib_images is not None:
        return request.calib_images
    return CALIB_IMAGES if batch_num is None else batch_num * request.batch_size
