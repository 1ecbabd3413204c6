"""``amctq qat``: retrain with quantizers in the network, export, verify."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from amctq.backends.base import QuantizedNetwork
from amctq.files import OutputDirectory
from amctq.leftovers import temporary_folder
from amctq.progress import OnEvent, Reporter, silent
from amctq.services.qat.curves import curves
from amctq.services.qat.finish import finish_trained, measure_start
from amctq.services.qat.follower import join, share_checkpoint
from amctq.services.qat.plan import RETRAIN_CONFIG, QatPlan, plan_qat
from amctq.services.qat.prepare import announce, expected_phases, prepare, quantized_start
from amctq.services.qat.preview import QatPreview
from amctq.services.qat.request import QatRequest
from amctq.services.qat.result import QatResult
from amctq.services.qat.stages import Stages
from amctq.services.qat.train import retrain, training_is_saved
from amctq.services.run.advice import wider_weights
from amctq.services.run.forecast import seconds_of
from amctq.services.run.inputs import measure_float
from amctq.services.run.log import RunLog
from amctq.services.run.publish import publish
from amctq.training.process_group import ProcessGroup, Worker


def qat(request: QatRequest, on_event: OnEvent = silent, *, worker: Worker | None = None) -> QatResult:
    """Retrain a network with quantizers in it, measure the result, and check it.

    Checkpoints and the training history are written during the run; all other files appear at its end.

    Args:
        request: the request.
        on_event: receives progress, notices and warnings.
        worker: this process, as the first worker of its process group; None for training on one device.

    Returns:
        The measured result; its files are in ``request.output_dir``.

    Raises:
        UsageError: options contradict each other or files would be overwritten.
        InputError: datasets, network, checkpoint, configuration or record are missing or not valid, or the checkpoint
            to resume from belongs to another run.
        UnavailableError: back end or device are missing.
        CheckError: the training diverged, or the INT8 file fails a check; checkpoints and training history are kept.
        WriteError: the output directory cannot be written.
        Stopped: by a signal; during the training, after a checkpoint has been saved.
    """
    from amctq.amct_files.record_text import dump_record
    from amctq.amct_files.retrain_json import dump_retrain_config

    plan = plan_qat(request, worker)
    with plan.output() as output:
        log = RunLog(on_event)
        result, group = _run(plan, worker, output, Reporter(log))
        # An opaque network has no record of its own; the record that it started from is written.
        known = result.quantized if isinstance(result.quantized, QuantizedNetwork) else result.start
        config = result.config.as_written(result.verified.network.topology)
        contents = {RETRAIN_CONFIG: dump_retrain_config(config)}
        contents |= dict.fromkeys(plan.record_files, dump_record(known.amct_record))
        hint = (
            f"nothing was exported, checkpoints stay in {plan.store.folder}; try {wider_weights(result)}longer "
            "training, another --lr-max, or a higher --max-drop where there is one"
        )
        published = publish(result, contents, output, log, hint=hint)
        history = result.trained.history
        written = (*(() if history is None else (history,)), *plan.store.artifacts())
    group.agree(stop=False)
    return replace(result, artifacts=(*published, *written))


def preview_qat(request: QatRequest, on_event: OnEvent = silent) -> QatPreview:
    """Check every input of ``qat`` and return what it would do, without training or writing.

    Raises:
        AmctqError: as ``qat``, for everything that it finds before calibration.
    """
    plan = plan_qat(request)
    plan.output().check()
    reporter = Reporter(on_event)
    with temporary_folder() as folder:
        prepared = prepare(plan, folder, reporter)
        return QatPreview(
            plan=plan,
            images=prepared.images,
            topology=prepared.verified.network.topology,
            config=prepared.config,
            recipe=prepared.recipe,
            resumes_at=None if prepared.resumed is None else prepared.resumed.snapshot.state.step,
            estimated_seconds=seconds_of(expected_phases(plan, prepared)),
            warnings=tuple(reporter.warnings),
        )


def _run(
    plan: QatPlan, worker: Worker | None, output: OutputDirectory, reporter: Reporter
) -> tuple[QatResult, ProcessGroup]:
    from amctq.amct_files.record_text import dump_record

    prepared = prepare(plan, output.scratch(), reporter)
    group = join(worker, reporter)  # before the long steps: the other workers wait only --timeout seconds
    announce(plan, prepared, reporter)
    evaluation = plan.evaluation_batches(prepared.images.evaluation)
    before = measure_float(plan, prepared.verified, evaluation, prepared.metric, reporter)
    start = quantized_start(plan, prepared, reporter)
    started = measure_start(evaluation, prepared.metric, start, plan.request.rules.runtime, output, reporter)
    record = dump_record(start.record)
    share_checkpoint(group, prepared.verified.loaded[0])
    group.share(record)
    retraining = plan.backend.retrain(
        network=prepared.verified.network, config=prepared.config, initial=start.record, reporter=reporter
    )
    retraining.begin_at(start)
    reporter.info(f"quantizers: {retraining.operators}")
    identity = prepared.identity | {"record_sha256": hashlib.sha256(record).hexdigest()}
    trained = retrain(plan, prepared, retraining, identity, reporter, group)
    with training_is_saved(plan):
        quantized = retraining.finish(weight_type=plan.isa.weight_type)
        stages = None
        if before is not None and started is not None and trained.outcome is not None:
            stages = Stages(before=before, ptq=started, training=trained.outcome)
        finished = finish_trained(plan, prepared, quantized, stages, output, reporter)
    result = QatResult(
        **vars(finished),
        plan=plan,
        verified=prepared.verified,
        quantized=quantized,
        images=prepared.images,
        config=prepared.config,
        recipe=prepared.recipe,
        operators=retraining.operators,
        trained=trained,
        curves=curves(plan.history, trained.state),
        start=start,
        stages=stages,
        warnings=tuple(reporter.warnings),
        seconds=dict(reporter.seconds),
        parts=dict(reporter.parts),
    )
    return result, group
