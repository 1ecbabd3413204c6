"""What ``amctq ptq`` is asked for, and the plan that it becomes once everything cheap has been checked."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amctq.backends.base import Backend, check_capabilities, resolve_backend
from amctq.choices import ActAlgo, ActType, ArqRule, BackendName, Device, ExportFormat, IfmrVariant
from amctq.data.samples import Batches, Samples, Split
from amctq.data.source import DataSource, find_dataset
from amctq.errors import InputError, UnavailableError, UsageError
from amctq.files import reading
from amctq.models.checkpoint import check_readable
from amctq.models.registry import ModelSpec, find_model
from amctq.runtime import ResolvedDevice, resolve_device
from amctq.services.request import NetworkRequest, refuse_below

if TYPE_CHECKING:
    from amctq.quant.config import QuantConfig
    from amctq.quant.topology import Topology

REPORT, LOG, CONFIG, RECORD = "report.json", "amctq.log", "config.json", "calibration_record.txt"
CALIB_IMAGES = 32


@dataclass(frozen=True, kw_only=True)
class PtqRequest(NetworkRequest):
    """What ``amctq ptq`` shall do; fields carry the names of the options.

    Attributes:
        ckpt: MindSpore checkpoint.
        calib_images: how many images calibrate; None for the configuration's batch_num, else 32.
        config: AMCT's config.json; None for every layer by AMCT's defaults.
        record: AMCT's calibration record, which makes calibration unnecessary; None to calibrate.
        act_algo: the observer; None for IFMR.
        ifmr_variant: AMCT's PyTorch code, or the Ascend operator.
        arq_rule: which of the two weight scales.
        act_symmetric: offsets fixed at 0.
        per_tensor: one weight scale for the tensor, in convolutions too.
        skip_layers: names or shell patterns of layers that stay in float.
        act_type: integer type of activations in ONNX.
        export: formats to write.
        backend: which engine.
        max_drop: fail when top-1 drops by more percentage points than this; None for no gate.
        allow_poor_float: go on although the float network is hardly better than chance.
        simulate: compare with the engine's own forward on every image, not only on 256.
        seed: chooses the calibration images.
        output_dir: where the files go.
        force: replace the files of a former run.
    """

    ckpt: Path
    calib_images: int | None = None
    config: Path | None = None
    record: Path | None = None
    act_algo: ActAlgo | None = None
    ifmr_variant: IfmrVariant = IfmrVariant.EXACT
    arq_rule: ArqRule = ArqRule.AMCT
    act_symmetric: bool = False
    per_tensor: bool = False
    skip_layers: tuple[str, ...] = ()
    act_type: ActType = ActType.UINT8
    export: tuple[ExportFormat, ...] = (ExportFormat.ONNX,)
    backend: BackendName = BackendName.AUTO
    max_drop: float | None = None
    allow_poor_float: bool = False
    simulate: bool = False
    seed: int = 1
    output_dir: Path = Path("results")
    force: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_below("--calib-images", self.calib_images, 1)
        refuse_below("--seed", self.seed, 0)
        if self.max_drop is not None and not math.isfinite(self.max_drop):
            message = f"--max-drop {self.max_drop}: expected a number of percentage points"
            raise UsageError(message)
        if self.max_drop is not None and self.eval_images == 0:
            message = "--max-drop needs an accuracy, and --eval-images 0 measures none"
            raise UsageError(message, hint="leave one of the two out")
        said = {
            "--act-algo": self.act_algo is not None,
            "--act-symmetric": self.act_symmetric,
            "--per-tensor": self.per_tensor,
            "--skip-layer": bool(self.skip_layers),
            "--ifmr-variant": self.record is not None and self.ifmr_variant is not IfmrVariant.EXACT,
            "--arq-rule": self.record is not None and self.arq_rule is not ArqRule.AMCT,
        }
        by_files = {"--config": self.config is not None, "--record": self.record is not None}
        if all(by_files.values()):
            message = "--config and --record both say how layers are quantized"
            raise UsageError(message, hint="a record needs no configuration: leave one of the two out")
        for file, given in by_files.items():
            for option, spoken in said.items():
                if given and spoken:
                    message = f"{option} and {file} both say how layers are quantized"
                    raise UsageError(message, hint=f"leave {option} out, or {file}")


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
    """

    request: PtqRequest
    spec: ModelSpec
    data: DataSource
    device: ResolvedDevice
    backend: Backend
    backend_reason: str
    calibration_images: int

    @property
    def model_files(self) -> dict[ExportFormat, str]:
        """Names of the INT8 model by format, in the order asked for."""
        return {form: f"{self.spec.name}_quant.{form.value}" for form in self.request.export}

    @property
    def files(self) -> tuple[str, ...]:
        """What the run will write; the report last, because it speaks of the others."""
        config = () if self.request.record else (CONFIG,)
        return (*self.model_files.values(), *config, RECORD, LOG, REPORT)

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


@dataclass(frozen=True, kw_only=True, eq=False)
class PtqPreview:
    """What ``ptq`` would do: the answer to ``--dry-run``.

    Attributes:
        plan: the checked request.
        split: which images would calibrate and evaluate.
        topology: what there is to quantize.
        quant: what would be done to each layer; None where a record says it.
        estimated_seconds: of calibration and evaluation.
        warnings: what was said on the way.
    """

    plan: PtqPlan
    split: Split
    topology: Topology
    quant: QuantConfig | None
    estimated_seconds: float
    warnings: tuple[str, ...]

    def data(self) -> dict[str, Any]:
        """The preview, ready for JSON."""
        enabled = None if self.quant is None else self.quant.enabled
        return {
            "dry_run": True,
            "backend": self.plan.backend.name.value,
            "backend_reason": self.plan.backend_reason,
            "device": self.plan.device.kind.value,
            "calibration_images": len(self.split.calibration),
            "evaluation_images": 0 if self.split.evaluation is None else len(self.split.evaluation),
            "split": self.split.note,
            "layers": [
                {
                    "name": layer.name,
                    "type": layer.kind.value,
                    "quantized": enabled is None or layer.name in enabled,
                    "act_algo": enabled[layer.name].activation.algo.value
                    if enabled is not None and layer.name in enabled
                    else None,
                    "channel_wise": enabled[layer.name].channel_wise
                    if enabled is not None and layer.name in enabled
                    else None,
                    "batch_norm": layer.batch_norm is not None,
                }
                for layer in self.topology.layers
            ],
            "left_in_float": [{"name": layer.name, "reason": layer.reason} for layer in self.topology.left_in_float],
            "files": [str(self.plan.request.output_dir / name) for name in self.plan.files],
            "estimated_seconds": round(self.estimated_seconds, 1),
            "warnings": list(self.warnings),
        }


def plan_ptq(request: PtqRequest) -> PtqPlan:
    """Check everything that can be checked without MindSpore, and before anything is read whole.

    Raises:
        UsageError: options contradict each other or name what there is not.
        InputError: dataset, checkpoint, configuration or record are not there.
        UnavailableError: backend or device are missing.
    """
    spec = find_model(request.model)
    data = find_dataset(str(request.dataset))
    with reading(f"--ckpt {request.ckpt}"):
        check_readable(request.ckpt)
    for option, path in (("--config", request.config), ("--record", request.record)):
        with reading(f"{option} {path}"):
            if path is not None and not path.is_file():
                message = f"{option} {path}: no such file"
                raise InputError(message, hint="check the path")
    device = resolve_device(request.device, request.device_id)
    if ExportFormat.AIR in request.export and device.kind is not Device.ASCEND:
        message = f"--export air: MindSpore writes AIR with an NPU and CANN alone, and this machine has {device.reason}"
        raise UnavailableError(message, hint="use --export onnx, which runs anywhere")
    backend, reason = resolve_backend(request.backend)
    check_capabilities(
        backend,
        act_algo=request.act_algo or ActAlgo.IFMR,
        act_type=request.act_type,
        formats=request.export,
        device=device,
    )
    return PtqPlan(
        request=request,
        spec=spec,
        data=data,
        device=device,
        backend=backend,
        backend_reason=reason,
        calibration_images=_calibration_images(request),
    )


def quant_config(request: PtqRequest, topology: Topology) -> QuantConfig:
    """What shall be done to each layer: by ``--config``, else by options.

    Raises:
        UsageError: ``--skip-layer`` matches nothing.
        InputError: the file is not what it must be, or no layer is left.
    """
    from amctq.quant.config import default_config
    from amctq.quant.config_json import load_config

    if request.config is not None:
        return load_config(request.config, topology)
    return default_config(
        topology,
        algo=request.act_algo or ActAlgo.IFMR,
        symmetric=request.act_symmetric,
        per_tensor=request.per_tensor,
        skip=request.skip_layers,
    )


def _calibration_images(request: PtqRequest) -> int:
    """``--calib-images``, else the configuration's batch_num × batch size, else 32."""
    batch_num = None
    if request.config is not None:
        from amctq.quant.config_json import read_batch_num

        batch_num = read_batch_num(request.config)
    if batch_num is not None and request.calib_images is not None:
        message = f"--calib-images and batch_num in {request.config} both say how many images calibrate"
        raise UsageError(message, hint="leave one of the two out")
    if request.calib_images is not None:
        return request.calib_images
    return CALIB_IMAGES if batch_num is None else batch_num * request.batch_size
