"""The plan of ``amctq qat``, and the configuration of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.choice import Asked
from amctq.choices import ActType, BackendName, ExportFormat, WeightStorage
from amctq.errors import InputError, UsageError, listed
from amctq.export.isa import resolve_isa
from amctq.files import OutputDirectory
from amctq.plugins import check_factory, is_factory
from amctq.progress import Reporter
from amctq.runtime import cpu_instructions
from amctq.services.qat.request import QatRequest
from amctq.services.run.float_parts import layers_in_float
from amctq.services.run.page import PAGE
from amctq.services.run.plan import LOG, REPORT, RunPlan, compiled_files, plan_run
from amctq.training.process_group import Worker
from amctq.training.recipe import Recipe
from amctq.training.store import CheckpointStore

if TYPE_CHECKING:
    from amctq.networks.float_network import FloatNetwork
    from amctq.quant.retrain_config import RetrainConfig

RETRAIN_CONFIG, HISTORY, CHECKPOINTS = "retrain_quant_config.json", "history.jsonl", "checkpoints"
_SAVE_EPOCHS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class QatPlan(RunPlan):
    """A request that has passed every check that needs no MindSpore.

    Attributes:
        worker: this process in its process group.
    """

    request: QatRequest
    worker: Worker = field(default_factory=Worker)

    @property
    def asked_bits(self) -> int | None:
        """What ``--weight-bits`` says."""
        return self.request.weight_bits

    @property
    def retrains(self) -> bool:
        """MindSpore trains the quantized network."""
        return True

    @property
    def stem(self) -> str:
        """Name of the exported files, without suffix."""
        return self.request.air or f"{self.spec.name}_quant_retrain"

    @property
    def batch_size(self) -> int:
        """Images of one step over all workers; ``--batch-size`` is the number for each worker."""
        return self.request.batch_size * self.worker.size

    @property
    def files(self) -> tuple[str, ...]:
        """Files that appear at the end of the run; the report comes last, with its page."""
        models = compiled_files(self.request, self.stem)
        return (*models, *self.backend.own_files, RETRAIN_CONFIG, *self.record_files, LOG, REPORT, PAGE)

    @cached_property
    def store(self) -> CheckpointStore:
        """The folder of the run's checkpoints."""
        return CheckpointStore(self.request.output_dir / CHECKPOINTS, keep=self.request.keep_checkpoint_max)

    @property
    def history(self) -> Path:
        """Path of the training history."""
        return self.request.output_dir / HISTORY

    def output(self) -> OutputDirectory:
        """The output directory of the run; it refuses files of an earlier run without --force or --resume."""
        own = (HISTORY, *(f"{CHECKPOINTS}/{path.name}" for path in self.store.files()))
        return OutputDirectory(
            self.request.output_dir,
            names=(*self.files, *own),
            force=self.request.force or self.request.resume,
            remedy="pass --resume to continue that run, --force to replace it, or choose another --output-dir",
        )

    def save_every(self, recipe: Recipe) -> int:
        """Steps between two checkpoints."""
        epochs = self.request.save_checkpoint_epochs or _SAVE_EPOCHS
        return self.request.save_every_steps or epochs * recipe.steps_per_epoch


def plan_qat(request: QatRequest, worker: Worker | None = None) -> QatPlan:
    """Check everything that can be checked without MindSpore and without reading the datasets.

    Args:
        request: the request.
        worker: this process in its process group; None for training on one device.

    Raises:
        UsageError: options contradict each other, or name something that does not exist.
        InputError: a dataset, checkpoint, configuration or record is missing, or there is nothing to resume.
        UnavailableError: back end or device are missing.
    """
    isa = resolve_isa(None, cpu_instructions(), WeightStorage.INT8, ActType.UINT8, request.target, in_pairs=False)
    if request.weight_bits is None and request.config is None and request.record is None:
        request = replace(request, weight_bits=isa.weight_bits)
    asked = Asked(
        export=request.resolved_export,
        device=request.device,
        weight_bits=request.weight_bits or 8,
        target=request.target,
    )
    if request.loss is not None and is_factory(request.loss):  # the rest is refused when it is loaded
        check_factory(request.loss, option="--loss")
    plan = plan_run(
        QatPlan,
        request,
        asked,
        isa,
        dataset=str(request.train_dataset or request.dataset),
        evaluation_dataset=None if request.eval_dataset is None else str(request.eval_dataset),
        retrain=True,
    )
    plan = replace(plan, worker=worker or Worker())
    if request.resume and plan.worker.is_first and not plan.store.files():
        message = f"--resume: no checkpoint in {plan.store.folder}"
        raise InputError(message, hint="leave --resume out, or give the --output-dir of the run to resume")
    return plan


def retrain_config(
    plan: QatPlan, network: FloatNetwork, recorded_bits: Mapping[str, int] | None, reporter: Reporter
) -> RetrainConfig:
    """Make the configuration of each layer: from ``--config``, else from the options, else from the record.

    Args:
        plan: the plan of the run.
        network: the float network.
        recorded_bits: weight bits by layer, from the record; layers not in it stay in float. None without a record.
        reporter: warns of each correction to the file.

    Raises:
        UsageError: ``--skip-layer`` or ``--skip-after`` matches nothing.
        InputError: the file is not valid, or no layer is left to quantize.
    """
    from amctq.quant.config import pairs_for_int4

    config = _retrain_config(plan, network, recorded_bits, reporter)
    _refuse_inexact(plan, config)
    if ExportFormat.ASCEND in plan.request.export:
        config = pairs_for_int4(config, network.topology, reporter.warn)
    calibrates = recorded_bits is None and plan.backend.name is BackendName.NATIVE
    return config.starting_rounded() if calibrates else config


def _refuse_inexact(plan: QatPlan, config: RetrainConfig) -> None:
    """Refuse weights whose file the runtime would not compute as trained, before it is trained.

    Raises:
        UsageError: there are such.
    """
    widest = plan.isa.weight_bits
    names = [name for name, layer in config.enabled.items() if layer.weight.bits > widest]
    if names:
        message = (
            f"--target {plan.request.target.value} and weights of 8 bits ({listed(names, 3)}): without VNNI, as on "
            "this CPU, OpenVINO's sums of their products saturate, and the file would not compute what was trained"
        )
        raise UsageError(message, hint=f"use --weight-bits {widest}, or train on a CPU with VNNI")


def _retrain_config(
    plan: QatPlan, network: FloatNetwork, recorded_bits: Mapping[str, int] | None, reporter: Reporter
) -> RetrainConfig:
    from amctq.quant.retrain_config import default_retrain_config

    request, topology = plan.request, network.topology
    if plan.config is not None:
        return plan.config.retrain_config(topology, reporter.warn)
    config = default_retrain_config(
        topology,
        weight_bits=request.weight_bits or 8,
        skip=request.skip_layers,
        in_float=layers_in_float(network, head=request.float_head, after=request.skip_after),
    )
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
