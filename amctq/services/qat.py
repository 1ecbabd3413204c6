"""``amctq qat``: retrain with quantizers in the network, export, verify."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import QuantizedNetwork, SealedNetwork
from amctq.choices import ExportFormat
from amctq.errors import CheckError
from amctq.files import Artifact, OutputDirectory, sha256_of
from amctq.progress import Narrator, OnEvent, silent
from amctq.services.accuracy import ComparedFile
from amctq.services.atc import AtcRun
from amctq.services.checks import Check
from amctq.services.exports import Exports, OwnForward, WrittenFile
from amctq.services.log import RunLog
from amctq.services.network import ProvedNetwork
from amctq.services.ptq_plan import LOG, RECORD, REPORT
from amctq.services.qat_files import QatAccuracy, exported_files, sealed_files
from amctq.services.qat_follower import join
from amctq.services.qat_images import QatImages
from amctq.services.qat_plan import RETRAIN_CONFIG, QatPlan, plan_qat
from amctq.services.qat_preview import QatPreview
from amctq.services.qat_report import qat_report
from amctq.services.qat_request import QatRequest
from amctq.services.qat_start import (
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
    from amctq.quant.retrain_config import RetrainConfig


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
        start: the network that training started from, as post-training quantization leaves it.
        quantized: the trained network on its scales, or sealed by its engine.
        accuracy: None where none was asked for.
        compared: the files for NPUs and the fake-quantized ones beside the QDQ graph, by format.
        atc: how ATC is called for the deploy file, and what came of it; None without such a file.
        own_forward: the ONNX file compared with MindSpore's integer cells.
        checks: what was made sure of.
        files: the quantized network's, by format.
        exports: what runs them; None where nothing here can.
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
    start: QuantizedNetwork
    quantized: QuantizedNetwork | SealedNetwork
    accuracy: QatAccuracy | None
    compared: Mapping[ExportFormat, ComparedFile]
    atc: AtcRun | None
    own_forward: OwnForward | None
    checks: tuple[Check, ...]
    files: Mapping[ExportFormat, WrittenFile]
    exports: Exports | None
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
    retraining = plan.backend.retrain(
        network=prepared.proved.network, config=config, initial=start.record, narrator=narrator
    )
    narrator.info(f"quantizers: {retraining.operators}")
    identity = prepared.identity | {"record_sha256": record_sha256(start.record)}
    trained = retrain(plan, images, prepared.proved, retraining, recipe, identity, narrator, peers)
    with training_is_saved(plan):
        quantized = retraining.finish(weight_type=plan.target.weight_type)
        stages = None
        if before is not None and started is not None and trained.outcome is not None:
            stages = QatAccuracy(float_ranks=before, ptq_ranks=started, training=trained.outcome)
        if isinstance(quantized, SealedNetwork):
            found = sealed_files(plan, prepared, quantized, stages, output, narrator)
        else:
            found = exported_files(plan, prepared, quantized, stages, output, narrator)
    result = QatResult(
        plan=plan,
        images=images,
        proved=prepared.proved,
        config=config,
        recipe=recipe,
        operators=retraining.operators,
        trained=trained,
        start=start,
        quantized=quantized,
        accuracy=found.accuracy,
        compared=found.compared,
        atc=found.atc,
        own_forward=found.own_forward,
        checks=found.checks,
        files=found.files,
        exports=found.exports,
        checkpoint_sha256=prepared.identity["checkpoint_sha256"],
        warnings=tuple(narrator.warnings),
        seconds=dict(narrator.seconds),
        parts=dict(narrator.parts),
    )
    return result, peers


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
        raise CheckError(message, hint=failed[0].hint or hint, data=report)
    # Of a sealed network only the record is known that it started from.
    known = result.start if isinstance(result.quantized, SealedNetwork) else result.quantized
    contents = {RETRAIN_CONFIG: dump_retrain_config(result.config), RECORD: dump_record(known.record)}
    for name, content in (contents | dict(result.quantized.own_files)).items():
        output.write(name, content)
    output.write(REPORT, report_bytes(report))
    output.write(LOG, log.content())
    published = output.publish()
    own = [plan.history, *plan.store.files()]
    written = tuple(Artifact(path=path, bytes=path.stat().st_size, sha256=sha256_of(path)) for path in own)
    return replace(result, artifacts=(*published, *written))
