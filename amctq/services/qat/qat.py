"""``amctq qat``: retrain with quantizers in the network, export, verify."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import OpaqueNetwork
from amctq.errors import CheckError
from amctq.files import Artifact, OutputDirectory, sha256_of
from amctq.progress import OnEvent, Reporter, silent
from amctq.services.ptq.plan import LOG, RECORD, REPORT
from amctq.services.qat.finish import QatAccuracy, exported_files, opaque_files
from amctq.services.qat.follower import join
from amctq.services.qat.plan import RETRAIN_CONFIG, QatPlan, plan_qat
from amctq.services.qat.report import qat_report
from amctq.services.qat.request import QatRequest
from amctq.services.qat.result import QatPreview, QatResult
from amctq.services.qat.start import (
    estimate,
    measure_float,
    measure_start,
    prepare,
    quantized_start,
    steps_done,
    tell_plan,
)
from amctq.services.qat.train import record_sha256, retrain, training_is_saved
from amctq.services.run.log import RunLog
from amctq.services.run.report import report_bytes
from amctq.training.process_group import ProcessGroup, Worker

if TYPE_CHECKING:
    pass


def qat(request: QatRequest, on_event: OnEvent = silent, *, worker: Worker | None = None) -> QatResult:
    """Retrain a network with quantizers in it, and prove what came of it.

    Checkpoints and curves are written while the run goes on; everything else appears at its end.

    Args:
        request: what to do.
        on_event: is told of progress, notices and warnings.
        worker: this process is the first of several devices that train together; None for the only one.

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
    plan = plan_qat(request, worker)
    with plan.output() as output:
        log = RunLog(on_event)
        result, group = _run(plan, worker, output, Reporter(log))
        result = _publish(result, output, log)
    group.agree(stop=False)
    return result


def preview_qat(request: QatRequest, on_event: OnEvent = silent) -> QatPreview:
    """Check every input of ``qat`` and say what it would do, without training or writing.

    Raises:
        AmctqError: as ``qat`` would, for whatever is found before calibration.
    """
    plan = plan_qat(request)
    plan.output().check()
    reporter = Reporter(on_event)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(plan, Path(folder), reporter)
        return QatPreview(
            plan=plan,
            images=prepared.images,
            topology=prepared.verified.network.topology,
            config=prepared.config,
            recipe=prepared.recipe,
            resumes_at=steps_done(plan),
            estimated_seconds=estimate(plan, prepared),
            warnings=tuple(reporter.warnings),
        )


def _run(
    plan: QatPlan, worker: Worker | None, output: OutputDirectory, reporter: Reporter
) -> tuple[QatResult, ProcessGroup]:
    from amctq.amct_files.record_text import dump_record

    prepared = prepare(plan, output.scratch(), reporter)
    images, config, recipe = prepared.images, prepared.config, prepared.recipe
    group = join(worker, reporter)  # before what takes long: the others wait for it --timeout seconds
    tell_plan(plan, prepared, reporter)
    before = measure_float(plan, prepared, reporter)
    start = quantized_start(plan, prepared, reporter)
    started = measure_start(plan, prepared, start, output, reporter)
    group.share(dump_record(start.record))
    retraining = plan.backend.retrain(
        network=prepared.verified.network, config=config, initial=start.record, reporter=reporter
    )
    reporter.info(f"quantizers: {retraining.operators}")
    identity = prepared.identity | {"record_sha256": record_sha256(start.record)}
    trained = retrain(plan, images, prepared.verified, retraining, recipe, identity, reporter, group)
    with training_is_saved(plan):
        quantized = retraining.finish(weight_type=plan.target.weight_type)
        stages = None
        if before is not None and started is not None and trained.outcome is not None:
            stages = QatAccuracy(float_label_ranks=before, ptq_label_ranks=started, training=trained.outcome)
        if isinstance(quantized, OpaqueNetwork):
            found = opaque_files(plan, prepared, quantized, stages, output, reporter)
        else:
            found = exported_files(plan, prepared, quantized, stages, output, reporter)
    result = QatResult(
        plan=plan,
        images=images,
        verified=prepared.verified,
        config=config,
        recipe=recipe,
        operators=retraining.operators,
        trained=trained,
        start=start,
        quantized=quantized,
        accuracy=found.accuracy,
        compared=found.compared,
        atc=found.atc,
        simulation=found.simulation,
        checks=found.checks,
        files=found.files,
        exports=found.exports,
        checkpoint_sha256=prepared.identity["checkpoint_sha256"],
        warnings=tuple(reporter.warnings),
        seconds=dict(reporter.seconds),
        parts=dict(reporter.parts),
    )
    return result, group


def _publish(result: QatResult, output: OutputDirectory, log: RunLog) -> QatResult:
    """Put the files in place, or refuse to where a check has failed."""
    from amctq.amct_files.record_text import dump_record
    from amctq.amct_files.retrain_json import dump_retrain_config

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
    # Of a opaque network only the record is known that it started from.
    known = result.start if isinstance(result.quantized, OpaqueNetwork) else result.quantized
    contents = {RETRAIN_CONFIG: dump_retrain_config(result.config), RECORD: dump_record(known.record)}
    for name, content in (contents | dict(result.quantized.own_files)).items():
        output.write(name, content)
    output.write(REPORT, report_bytes(report))
    output.write(LOG, log.content())
    published = output.publish()
    own = [plan.history, *plan.store.files()]
    written = tuple(Artifact(path=path, bytes=path.stat().st_size, sha256=sha256_of(path)) for path in own)
    return replace(result, artifacts=(*published, *written))
