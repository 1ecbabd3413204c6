"""``amctq qat``: retrain with quantizers in the network, export, verify."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import QuantizedNetwork
from amctq.data.samples import Batches
from amctq.errors import CheckError
from amctq.files import Artifact, OutputDirectory, sha256_of
from amctq.progress import Narrator, OnEvent, silent
from amctq.quant.paired import paired_difference
from amctq.services.checks import Accuracy, Check, agreement_check, run_checks
from amctq.services.exports import Exports, OwnForward, compare_own_forward, export_all
from amctq.services.log import RunLog
from amctq.services.network import ProvedNetwork
from amctq.services.ptq_plan import LOG, RECORD, REPORT
from amctq.services.qat_follower import join
from amctq.services.qat_images import QatImages
from amctq.services.qat_plan import RETRAIN_CONFIG, QatPlan, plan_qat
from amctq.services.qat_preview import QatPreview
from amctq.services.qat_report import qat_report
from amctq.services.qat_request import QatRequest
from amctq.services.qat_start import (
    Prepared,
    estimate,
    measure_float,
    measure_start,
    prepare,
    quantized_start,
    steps_done,
    tell_plan,
)
from amctq.services.report import report_bytes
from amctq.services.retraining import Trained, record_sha256, retrain, training_is_saved
from amctq.training.peers import Peers, Place
from amctq.training.recipe import Recipe

if TYPE_CHECKING:
    from amctq.backends.base import RetrainingNetwork
    from amctq.export.verify import Outcome, Ranks
    from amctq.quant.retrain_config import RetrainConfig

_SIMULATED = 256  # images that MindSpore's integer cells run, which takes several times as long as onnxruntime


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
        operators: what its quantizers were computed with.
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
    operators: str
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


def qat(request: QatRequest, on_event: OnEvent = silent, *, place: Place | None = None) -> QatResult:
    """Retrain a network with quantizers in it, and prove what came of it.

    Checkpoints and curves are written while the run goes on; everything else appears at its end.

    Args:
        request: what to do.
        on_event: is told of progress, notices and warnings.
        place: this process is the first of several devices that train together; None for the only one.

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
    plan = plan_qat(request, place)
    with plan.output() as output:
        log = RunLog(on_event)
        result, peers = _run(plan, place, output, Narrator(log))
        result = _publish(result, output, log)
    peers.agree(stop=False)
    return result


def preview_qat(request: QatRequest, on_event: OnEvent = silent) -> QatPreview:
    """Check every input of ``qat`` and say what it would do, without training or writing.

    Raises:
        AmctqError: as ``qat`` would, for whatever is found before calibration.
    """
    plan = plan_qat(request)
    plan.output().check()
    narrator = Narrator(on_event)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(plan, Path(folder), narrator)
        return QatPreview(
            plan=plan,
            images=prepared.images,
            topology=prepared.proved.network.topology,
            config=prepared.config,
            recipe=prepared.recipe,
            resumes_at=steps_done(plan),
            estimated_seconds=estimate(plan, prepared),
            warnings=tuple(narrator.warnings),
        )


def _run(plan: QatPlan, place: Place | None, output: OutputDirectory, narrator: Narrator) -> tuple[QatResult, Peers]:
    from amctq.quant.record_text import dump_record

    prepared = prepare(plan, output.scratch(), narrator)
    images, config, recipe = prepared.images, prepared.config, prepared.recipe
    peers = join(place, narrator)  # before what takes long: the others wait for it --timeout seconds
    tell_plan(plan, prepared, narrator)
    before = measure_float(plan, prepared, narrator)
    start = quantized_start(plan, prepared, narrator)
    started = measure_start(plan, prepared, start, output, narrator)
    peers.share(dump_record(start.record))
    retraining = plan.backend.retrain(network=prepared.proved.network, config=config, initial=start.record)
    narrator.info(f"quantizers: {retraining.operators}")
    identity = prepared.identity | {"record_sha256": record_sha256(start.record)}
    trained = retrain(plan, images, prepared.proved, retraining, recipe, identity, narrator, peers)
    with training_is_saved(plan):
        return _exported(plan, prepared, retraining, trained, before, started, output, narrator), peers


def _exported(
    plan: QatPlan,
    prepared: Prepared,
    retraining: RetrainingNetwork,
    trained: Trained,
    float_ranks: Ranks | None,
    ptq_ranks: Ranks | None,
    output: OutputDirectory,
    narrator: Narrator,
) -> QatResult:
    """The trained network as files, measured and checked."""
    images, proved = prepared.images, prepared.proved
    evaluation = None if images.evaluation is None else plan.batches(images.evaluation)
    quantized = retraining.finish(weight_type=plan.target.weight_type)
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
        plan.request.max_drop,
    )
    if accuracy is not None:
        checks = (*checks, agreement_check(accuracy.training, accuracy.exported.int8_ranks))
    return QatResult(
        plan=plan,
        images=images,
        proved=proved,
        config=prepared.config,
        recipe=prepared.recipe,
        operators=retraining.operators,
        trained=trained,
        quantized=quantized,
        accuracy=accuracy,
        own_forward=own_forward,
        checks=checks,
        exports=exports,
        checkpoint_sha256=prepared.identity["checkpoint_sha256"],
        warnings=tuple(narrator.warnings),
        seconds=dict(narrator.seconds),
        parts=dict(narrator.parts),
    )


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
