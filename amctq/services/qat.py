"""``amctq qat``: retrain with quantizers in the network, export, verify."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import PtqConfig, QuantizedNetwork
from amctq.choices import ActType, ArqRule, ExportFormat, IfmrVariant, Placement, WeightType
from amctq.data.samples import Batches
from amctq.errors import CheckError
from amctq.files import Artifact, OutputDirectory, sha256_of
from amctq.progress import Narrator, OnEvent, silent
from amctq.quant.paired import paired_difference
from amctq.runtime import cpu_instructions, prepare_environment
from amctq.services.checks import Accuracy, Check, agreement_check, refuse_chance, run_checks, saturation_warning
from amctq.services.exports import Exports, OwnForward, compare_own_forward, export_all
from amctq.services.log import RunLog
from amctq.services.network import ProvedNetwork, load_network
from amctq.services.ptq_plan import LOG, RECORD, REPORT
from amctq.services.qat_plan import (
    RETRAIN_CONFIG,
    QatImages,
    QatPlan,
    QatPreview,
    choose_images,
    open_images,
    plan_qat,
    recipe_for,
    retrain_config,
)
from amctq.services.qat_report import qat_report
from amctq.services.qat_request import QatRequest
from amctq.services.report import report_bytes
from amctq.services.retraining import Trained, retrain, run_identity
from amctq.training.pace import duration
from amctq.training.recipe import Recipe

if TYPE_CHECKING:
    from amctq.export.verify import Outcome, Ranks
    from amctq.quant.record import QuantRecord
    from amctq.quant.retrain_config import RetrainConfig

# Measured on resnet20 and resnet50: backward passes, batch statistics and quantizers on top of one forward pass.
_STEP = 5.0
_SIMULATED = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class QatAccuracy:
    """The network at its four stages, on the same images.

    Attributes:
        exported: float against the exported file.
        ptq_ranks: of the network that training started from, quantized by the record.
        training: what the training network said.
        disagreements: images for which the exported file names another class than the training network.
    """

    exported: Accuracy
    ptq_ranks: Ranks
    training: Outcome
    disagreements: int


@dataclass(frozen=True, kw_only=True, eq=False)
class QatResult:
    """What a run found and left behind.

    Attributes:
        plan: what was to be done.
        images: which trained, calibrated and evaluated.
        proved: the float network, and the proof that onnxruntime computes what MindSpore computes.
        config: what was done to each layer.
        recipe: how the network was trained.
        trained: what came of the training.
        quantized: the trained network on its scales.
        accuracy: None where none was asked for.
        own_forward: the ONNX file compared with MindSpore's integer cells.
        checks: what was made sure of.
        exports: the quantized network's files.
        checkpoint_sha256: of the float checkpoint.
        warnings: what was said on the way.
        seconds: wall time by phase.
        parts: wall time of parts of phases.
        artifacts: the files, in their final place; empty when a check failed.
    """

    plan: QatPlan
    images: QatImages
    proved: ProvedNetwork
    config: RetrainConfig
    recipe: Recipe
    trained: Trained
    quantized: QuantizedNetwork
    accuracy: QatAccuracy | None
    own_forward: OwnForward | None
    checks: tuple[Check, ...]
    exports: Exports
    checkpoint_sha256: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    parts: dict[str, float]
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Prepared:
    """Everything that is read before anything is computed."""

    images: QatImages
    recipe: Recipe
    proved: ProvedNetwork
    recorded: QuantRecord | None
    config: RetrainConfig


def qat(request: QatRequest, on_event: OnEvent = silent) -> QatResult:
    """Retrain a network with quantizers in it, and prove what came of it.

    Checkpoints and curves are written while the run goes on; everything else appears at its end.

    Args:
        request: what to do.
        on_event: is told of progress, notices and warnings.

    Returns:
        The measured result; its files lie in ``request.output_dir``.

    Raises:
        UsageError: options contradict each other or files would be overwritten.
        InputError: datasets, network, checkpoint, configuration or record are not what they must be, or the checkpoint
            to resume from belongs to another run.
        UnavailableError: backend or device are missing.
        CheckError: the training diverged, or the INT8 file fails a check; checkpoints and curves stay.
        WriteError: the output directory cannot be written.
        Stopped: by a signal; during the training, after a checkpoint has been saved.
    """
    plan = plan_qat(request)
    with plan.output() as output:
        log = RunLog(on_event)
        result = _run(plan, output, Narrator(log))
        return _publish(result, output, log)


def preview_qat(request: QatRequest, on_event: OnEvent = silent) -> QatPreview:
    """Check every input of ``qat`` and say what it would do, without training or writing.

    Raises:
        AmctqError: as ``qat`` would, for whatever is found before calibration.
    """
    plan = plan_qat(request)
    plan.output().check()
    narrator = Narrator(on_event)
    with tempfile.TemporaryDirectory() as folder:
        prepared = _prepare(plan, Path(folder), narrator)
        return QatPreview(
            plan=plan,
            images=prepared.images,
            topology=prepared.proved.network.topology,
            config=prepared.config,
            recipe=prepared.recipe,
            resumes_at=_steps_done(plan),
            estimated_seconds=_estimate(plan, prepared),
            warnings=tuple(narrator.warnings),
        )


def _prepare(plan: QatPlan, scratch: Path, narrator: Narrator) -> _Prepared:
    """Read images, network, record and configuration."""
    from amctq.quant.record_text import load_record

    request = plan.request
    prepare_environment(plan.device)
    narrator.info(
        f"back end {plan.backend.name.value} ({plan.backend_reason}), "
        f"device {plan.device.kind.value} ({plan.device.reason})"
    )
    with narrator.phase("dataset"):
        images = choose_images(plan, open_images(plan))
    recipe = recipe_for(plan, images)
    recorded = None if request.record is None else load_record(request.record)
    proved = load_network(
        spec=plan.spec,
        ckpt=request.ckpt,
        num_classes=request.num_classes,
        device=plan.device,
        examples=plan.batches(images.split.calibration),
        scratch=scratch,
        narrator=narrator,
    )
    topology = proved.network.topology
    if recorded is not None:  # a record of another network is refused before its layers decide anything
        plan.backend.from_record(network=proved.network, record=recorded, act_type=ActType.UINT8)
    bits = None if recorded is None else {entry.name: entry.weight_bits for entry in recorded.layers}
    config = retrain_config(plan, topology, bits)
    if recorded is not None and request.config is None:
        missing = [layer.name for layer in config.layers if not layer.enabled and layer.name not in (bits or {})]
        if missing:
            narrator.warn(f"{', '.join(missing)}: not in the record, and not quantized")
    for form in request.export:
        plan.backend.check_exportable(proved.network, config.selected(topology), form)
    return _Prepared(images=images, recipe=recipe, proved=proved, recorded=recorded, config=config)


def _run(plan: QatPlan, output: OutputDirectory, narrator: Narrator) -> QatResult:
    from amctq.export import verify

    request = plan.request
    prepared = _prepare(plan, output.scratch(), narrator)
    images, proved, config, recipe = prepared.images, prepared.proved, prepared.config, prepared.recipe
    _tell_plan(plan, prepared, narrator)
    evaluation = None if images.evaluation is None else plan.batches(images.evaluation)
    float_ranks = None
    if evaluation is not None:
        with narrator.phase("float accuracy", evaluation.images) as advance:
            float_ranks = verify.measure(proved.session, evaluation, advance)
        refuse_chance(float_ranks, allow=request.allow_poor_float)
    start = _start(plan, prepared, narrator)
    ptq_ranks = None if evaluation is None else _measure_start(start, evaluation, output, narrator)
    _warn_of_saturation(config, narrator)
    initial = start.record
    retraining = plan.backend.retrain(network=proved.network, config=config, initial=initial)
    identity = run_identity(plan, images, config, recipe, initial)
    trained = retrain(plan, images, proved, retraining, recipe, identity, narrator)
    quantized = retraining.finish()
    exports = export_all(quantized, proved, plan.model_files, plan.metadata(images.training), output, narrator)
    accuracy = None
    if evaluation is not None and float_ranks is not None and ptq_ranks is not None and trained.outcome is not None:
        accuracy = _accuracy(exports, float_ranks, ptq_ranks, trained.outcome, evaluation, narrator)
    calibration = plan.batches(images.split.calibration)
    compared = evaluation or calibration
    own_forward = compare_own_forward(
        exports, quantized, compared, images=min(compared.images, _SIMULATED), narrator=narrator
    )
    checks = run_checks(
        proved.proof,
        None if accuracy is None else accuracy.exported,
        own_forward,
        exports.measured.session.logits(calibration.first()[:8]),
        request.max_drop,
    )
    if accuracy is not None:
        checks = (*checks, agreement_check(accuracy.training, accuracy.exported.int8_ranks))
    return QatResult(
        plan=plan,
        images=images,
        proved=proved,
        config=config,
        recipe=recipe,
        trained=trained,
        quantized=quantized,
        accuracy=accuracy,
        own_forward=own_forward,
        checks=checks,
        exports=exports,
        checkpoint_sha256=identity["checkpoint_sha256"],
        warnings=tuple(narrator.warnings),
        seconds=dict(narrator.seconds),
        parts=dict(narrator.parts),
    )


def _start(plan: QatPlan, prepared: _Prepared, narrator: Narrator) -> QuantizedNetwork:
    """The network as post-training quantization leaves it: by the record, or by calibration, the sample's way."""
    network = prepared.proved.network
    if prepared.recorded is not None:
        return plan.backend.from_record(network=network, record=prepared.recorded, act_type=ActType.UINT8)
    from amctq.quant.config import LayerConfig, QuantConfig, WeightConfig

    quant = QuantConfig(
        layers=tuple(
            LayerConfig(
                name=layer.name,
                enabled=layer.enabled,
                weight=WeightConfig(bits=layer.weight.bits, channel_wise=layer.weight.channel_wise),
            )
            for layer in prepared.config.layers
        )
    )
    return plan.backend.quantize(
        network=network,
        config=PtqConfig(
            quant=quant,
            placement=Placement.ASCEND,
            act_type=ActType.UINT8,
            ifmr_variant=IfmrVariant.EXACT,
            arq_rule=ArqRule.AMCT,
        ),
        calibration=plan.batches(prepared.images.split.calibration),
        narrator=narrator,
    )


def _measure_start(start: QuantizedNetwork, evaluation: Batches, output: OutputDirectory, narrator: Narrator) -> Ranks:
    """Top-1 and top-5 before training, of the file that would have been exported."""
    from amctq.export import verify
    from amctq.export.session import OnnxSession

    path = output.scratch() / "ptq.onnx"
    start.export(ExportFormat.ONNX, path, {})
    with narrator.phase("PTQ accuracy", evaluation.images) as advance:
        return verify.measure(OnnxSession(path.read_bytes()), evaluation, advance)


def _accuracy(
    exports: Exports,
    float_ranks: Ranks,
    ptq_ranks: Ranks,
    training: Outcome,
    evaluation: Batches,
    narrator: Narrator,
) -> QatAccuracy:
    from amctq.export import verify

    exported = exports.measured
    with narrator.phase("INT8 accuracy", evaluation.images) as advance:
        outcome = verify.classify(exported.session, evaluation, advance)
    with narrator.phase("speed"):
        speed = verify.compare_speed(exported.open_float(), exported.session, evaluation.first())
    return QatAccuracy(
        exported=Accuracy(
            float_ranks=float_ranks,
            int8_ranks=outcome.ranks,
            difference=paired_difference(float_ranks.hits, outcome.ranks.hits),
            speed=speed,
        ),
        ptq_ranks=ptq_ranks,
        training=training,
        disagreements=outcome.disagreements(training),
    )


def _warn_of_saturation(config: RetrainConfig, narrator: Narrator) -> None:
    bits = [layer.weight.bits for layer in config.enabled.values()]
    warning = saturation_warning(cpu_instructions(), WeightType.INT8, bits)
    if warning is not None:
        narrator.warn(warning)


def _tell_plan(plan: QatPlan, prepared: _Prepared, narrator: Narrator) -> None:
    recipe, images = prepared.recipe, prepared.images
    evaluated = 0 if images.evaluation is None else len(images.evaluation)
    narrator.info(
        f"recipe {recipe.name.value}: {recipe.steps:,} steps of {recipe.batch_size} of {len(images.training):,} images "
        f"({recipe.steps / recipe.steps_per_epoch:.3g} epochs), learning rate up to {recipe.lr_max:g} in "
        f"{recipe.warmup_steps:,} steps, then {recipe.lr_decay.value}; {evaluated:,} evaluation images"
    )
    narrator.info(f"about {duration(_estimate(plan, prepared))} to go")


def _steps_done(plan: QatPlan) -> int | None:
    return plan.store.newest().snapshot.state.step if plan.request.resume else None


def _estimate(plan: QatPlan, prepared: _Prepared) -> float:
    """Seconds that everything will take, from one timed batch of the float network."""
    recipe, images, proof = prepared.recipe, prepared.images, prepared.proved.proof
    trained = (recipe.steps - (_steps_done(plan) or 0)) * recipe.batch_size
    evaluated = 0 if images.evaluation is None else len(images.evaluation)
    in_mindspore = _STEP * trained + recipe.epochs * evaluated + min(_SIMULATED, evaluated)
    return max(1.0, proof.mindspore_seconds * in_mindspore + proof.onnxruntime_seconds * 3 * evaluated)


def _publish(result: QatResult, output: OutputDirectory, log: RunLog) -> QatResult:
    """Put the files in place, or refuse to where a check has failed."""
    from amctq.quant.record_text import dump_record
    from amctq.quant.retrain_json import dump_retrain_config

    plan = result.plan
    report = qat_report(result)
    failed = [check for check in result.checks if not check.passed]
    if failed:
        message = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        hint = (
            f"nothing was exported, checkpoints stay in {plan.store.folder}; train longer or with another --lr-max, "
            "or take a higher --max-drop where there is one"
        )
        raise CheckError(message, hint=hint, data=report)
    output.write(RETRAIN_CONFIG, dump_retrain_config(result.config))
    output.write(RECORD, dump_record(result.quantized.record))
    output.write(REPORT, report_bytes(report))
    output.write(LOG, log.content())
    published = output.publish()
    own = [plan.history, *plan.store.files()]
    written = tuple(Artifact(path=path, bytes=path.stat().st_size, sha256=sha256_of(path)) for path in own)
    return replace(result, artifacts=(*published, *written))
