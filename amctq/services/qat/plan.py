"""The plan of ``amctq qat``: its request, once everything cheap has been checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import Backend
from amctq.backends.choice import Asked, resolve_backend
from amctq.choices import (
    ActType,
    ExportFormat,
    WeightStorage,
)
from amctq.data.samples import Batches, Samples
from amctq.data.source import DataSource, find_dataset
from amctq.errors import InputError
from amctq.export.targets import Target, resolve_target
from amctq.files import OutputDirectory, reading
from amctq.networks.checkpoint import check_readable
from amctq.networks.registry import ModelSpec, find_model
from amctq.progress import Reporter
from amctq.runtime import ResolvedDevice, cpu_instructions, resolve_device
from amctq.services.ptq.plan import LOG, RECORD, REPORT
from amctq.services.qat.request import QatRequest
from amctq.services.run.atc import om_name, require_atc
from amctq.training.process_group import Worker
from amctq.training.recipe import Recipe
from amctq.training.store import CheckpointStore

if TYPE_CHECKING:
    from amctq.quant.layers import Topology
    from amctq.quant.retrain_config import RetrainConfig

RETRAIN_CONFIG, HISTORY, CHECKPOINTS = "retrain_quant_config.json", "history.jsonl", "checkpoints"
_SAVE_EPOCHS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class QatPlan:
    """A request that has passed every check that costs nothing.

    Attributes:
        request: what was asked for.
        spec: the network.
        data: the training images' dataset, found and not read.
        evaluation_data: the test images'; the same where one dataset holds both.
        device: where MindSpore runs.
        backend: the engine.
        backend_reason: why this one.
        target: the x86 instructions that the ONNX file is written for.
        worker: which of the devices that train together this process is.
    """

    request: QatRequest
    spec: ModelSpec
    data: DataSource
    evaluation_data: DataSource
    device: ResolvedDevice
    backend: Backend
    backend_reason: str
    target: Target
    worker: Worker = field(default_factory=Worker)

    @property
    def batch_size(self) -> int:
        """Images of one step, over all devices; ``--batch-size`` is that of each."""
        return self.request.batch_size * self.worker.size

    @property
    def model_files(self) -> dict[ExportFormat, str]:
        """Names of the INT8 model by format, in the order asked for."""
        stem = self.request.air or f"{self.spec.name}_quant_retrain"
        return {form: f"{stem}{form.suffix}" for form in self.request.export}

    @property
    def files(self) -> tuple[str, ...]:
        """What appears when the run has come to its end; the report last, because it speaks of the others."""
        models = self.model_files
        compiled = () if self.request.soc_version is None else (om_name(models[ExportFormat.ASCEND]),)
        return (*models.values(), *compiled, *self.backend.own_files, RETRAIN_CONFIG, RECORD, LOG, REPORT)

    @cached_property
    def store(self) -> CheckpointStore:
        """Where the run's checkpoints go."""
        return CheckpointStore(self.request.output_dir / CHECKPOINTS, keep=self.request.keep_checkpoint_max)

    @property
    def history(self) -> Path:
        """Where the run's curves go."""
        return self.request.output_dir / HISTORY

    def output(self) -> OutputDirectory:
        """The claim on the output directory: files of a former run are refused, unless they are to be replaced."""
        own = (HISTORY, *(f"{CHECKPOINTS}/{path.name}" for path in self.store.files()))
        return OutputDirectory(
            self.request.output_dir,
            names=(*self.files, *own),
            force=self.request.force or self.request.resume,
            remedy="pass --resume to go on with that run, --force to replace it, or choose another --output-dir",
        )

    def batches(self, samples: Samples) -> Batches:
        """``samples`` in batches of the size asked for."""
        return Batches(samples=samples, size=self.request.batch_size)

    def save_every(self, recipe: Recipe) -> int:
        """Steps between two checkpoints."""
        epochs = self.request.save_checkpoint_epochs or _SAVE_EPOCHS
        return self.request.save_every_steps or epochs * recipe.steps_per_epoch

    def metadata(self, images: Samples) -> dict[str, str]:
        """What whoever runs the exported file must know of it, as its metadata."""
        channels, height, width = images.input_shape
        known = {
            "amctq.model": self.spec.name,
            "amctq.num_classes": str(self.request.num_classes),
            "amctq.input": f"float32 NCHW {channels}x{height}x{width}",
        }
        if images.preprocessing is not None:
            known["amctq.preprocessing"] = json.dumps(asdict(images.preprocessing))
        return known


def plan_qat(request: QatRequest, worker: Worker | None = None) -> QatPlan:
    """Check everything that can be checked without MindSpore, and before anything is read whole.

    Args:
        request: what was asked for.
        worker: which of the devices that train together this process is; None for the only one.

    Raises:
        UsageError: options contradict each other or name what there is not.
        InputError: a dataset, checkpoint, configuration or record is not there, or there is nothing to resume.
        UnavailableError: backend or device are missing.
    """
    spec = find_model(request.model)
    data = find_dataset(str(request.train_dataset or request.dataset))
    evaluation_data = data if request.eval_dataset is None else find_dataset(str(request.eval_dataset))
    with reading(f"--ckpt {request.ckpt}"):
        check_readable(request.ckpt)
    for option, path in (("--config", request.config), ("--record", request.record)):
        with reading(f"{option} {path}"):
            if path is not None and not path.is_file():
                message = f"{option} {path}: no such file"
                raise InputError(message, hint="check the path")
    require_atc(request.soc_version)
    device = resolve_device(request.device, request.device_id)
    asked = Asked(formats=request.export, device=request.device, weight_bits=request.weight_bits or 8)
    backend, reason = resolve_backend(request.backend, asked, device, batch_size=request.batch_size)
    request = replace(request, export=request.export or backend.default_export)
    plan = QatPlan(
        request=request,
        spec=spec,
        data=data,
        evaluation_data=evaluation_data,
        device=device,
        backend=backend,
        backend_reason=reason,
        target=resolve_target(None, cpu_instructions(), WeightStorage.INT8, ActType.UINT8),
        worker=worker or Worker(),
    )
    if request.resume and plan.worker.is_first and not plan.store.files():
        message = f"--resume: no checkpoint in {plan.store.folder}"
        raise InputError(message, hint="leave --resume out to begin, or give the run's own --output-dir")
    return plan


def retrain_config(
    plan: QatPlan, topology: Topology, recorded_bits: Mapping[str, int] | None, reporter: Reporter
) -> RetrainConfig:
    """What shall be done to each layer: by ``--config``, else by options and, where they are silent, by the record.

    Args:
        plan: what was asked for.
        topology: of the network.
        recorded_bits: width of the weights by layer, where a record says it; other layers stay in float.
        reporter: is warned of what is corrected in the file.

    Raises:
        UsageError: ``--skip-layer`` matches nothing.
        InputError: the file is not what it must be, or no layer is left.
    """
    from amctq.amct_files.config_file import read_retrain_config
    from amctq.quant.retrain_config import default_retrain_config

    request = plan.request
    if request.config is not None:
        return read_retrain_config(request.config, topology, reporter.warn)
    config = default_retrain_config(topology, weight_bits=request.weight_bits or 8, skip=request.skip_layers)
    if recorded_bits is None:
        return config
    config = replace(
        config,
        layers=tuple(
            replace(
                layer,
                enabled=layer.enabled and layer.name in recorded_bits,
                weight=replace(layer.weight, bits=request.weight_bits or recorded_bits.get(layer.name, 8)),
            )
            for layer in config.layers
        ),
    )
    config.selected(topology)
    return config
