"""``amctq ptq``: calibrate, quantize, export, verify."""

from __future__ import annotations

from dataclasses import replace

from amctq.choices import Placement
from amctq.files import OutputDirectory
from amctq.leftovers import temporary_folder
from amctq.progress import OnEvent, Reporter, silent
from amctq.services.fallback.ranking import ranking_samples
from amctq.services.fallback.tries import REMEDY, TRIES, TriesFile
from amctq.services.ptq.calibrate import calibrated
from amctq.services.ptq.expected import expected_phases, simulated_images
from amctq.services.ptq.fall_back import fallback_of, warn_of_missed_target
from amctq.services.ptq.float_operators import float_operators
from amctq.services.ptq.mslite import converter_files, sample_names
from amctq.services.ptq.plan import CONFIG, PLACEMENT, PtqPlan, plan_ptq
from amctq.services.ptq.prepare import prepare
from amctq.services.ptq.preview import PtqPreview
from amctq.services.ptq.request import PtqRequest
from amctq.services.ptq.result import PtqResult
from amctq.services.ptq.widths import choose_widths
from amctq.services.run.advice import wider_weights
from amctq.services.run.finish import finish
from amctq.services.run.forecast import Forecast, seconds_of
from amctq.services.run.inputs import measure_float
from amctq.services.run.log import RunLog
from amctq.services.run.plan import RECORD
from amctq.services.run.publish import publish
from amctq.services.run.sensitivity import measure_layers


def ptq(request: PtqRequest, on_event: OnEvent = silent) -> PtqResult:
    """Quantize a trained network, measure the result, and check it.

    Args:
        request: the request.
        on_event: receives progress, notices and warnings.

    Returns:
        The measured result; its files are in ``request.output_dir``.

    Raises:
        UsageError: options contradict each other or files would be overwritten.
        InputError: dataset, network, checkpoint, configuration or record are missing or not valid.
        UnavailableError: back end or device are missing.
        CheckError: the INT8 file fails a check; then nothing is written into the output directory.
        WriteError: the output directory cannot be written.
    """
    plan = plan_ptq(request)
    with _output(plan) as output:
        return run_ptq(plan, output, on_event)


def run_ptq(plan: PtqPlan, output: OutputDirectory, on_event: OnEvent) -> PtqResult:
    """Run ``plan``, and publish all files staged in ``output``, which was opened for ``plan.files``.

    Raises:
        AmctqError: as ``ptq``.
    """
    log = RunLog(on_event)
    with TriesFile(path=output.path / TRIES, resume=plan.request.resume) as tries:
        result = _run(plan, output, tries, Reporter(log))
        return _published(plan, result, output, log)


def _output(plan: PtqPlan) -> OutputDirectory:
    request = plan.request
    if not request.auto:
        return OutputDirectory(request.output_dir, names=plan.files, force=request.force)
    names = plan.files if request.resume else (*plan.files, TRIES)
    return OutputDirectory(request.output_dir, names=names, force=request.force, remedy=REMEDY)


def _published(plan: PtqPlan, result: PtqResult, output: OutputDirectory, log: RunLog) -> PtqResult:
    from amctq.amct_files.config_json import dump_config
    from amctq.amct_files.record_text import dump_record
    from amctq.export.placement_json import dump_placement

    topology = result.verified.network.topology
    contents = {}
    if RECORD in plan.files:
        contents[RECORD] = dump_record(result.quantized.amct_record)
    if CONFIG in plan.files and result.quant is not None:
        contents[CONFIG] = dump_config(result.quant.as_written(topology))
    contents |= converter_files(plan, result, output)
    if PLACEMENT in plan.files:
        quantized = result.quantized
        beyond = quantized.beyond_amct if plan.record_files else quantized.record.layers
        contents[PLACEMENT] = dump_placement(quantized.activations, beyond, quantized.tables)
    hint = (
        f"nothing was written; try {wider_weights(result)}more --calib-images, --skip-layer, or a higher --max-drop "
        "where there is one"
    )
    return replace(result, artifacts=publish(result, contents, output, log, hint=hint))


def preview_ptq(request: PtqRequest, on_event: OnEvent = silent) -> PtqPreview:
    """Check every input of ``ptq`` and return what it would do, without calibrating or writing.

    Raises:
        AmctqError: as ``ptq``, for everything that it finds before calibration.
    """
    plan = plan_ptq(request)
    output = _output(plan)
    output.check()
    reporter = Reporter(on_event)
    with temporary_folder() as folder:
        prepared = prepare(plan, folder, reporter)
        output.claim(sample_names(plan, prepared.split.calibration))
        return PtqPreview(
            plan=plan,
            split=prepared.split,
            topology=prepared.verified.network.topology,
            quant=prepared.quant,
            recorded_pools=() if prepared.quantized is None else prepared.quantized.record.pools,
            estimated_seconds=seconds_of(expected_phases(plan, prepared)),
            warnings=tuple(reporter.warnings),
        )


def _run(plan: PtqPlan, output: OutputDirectory, tries: TriesFile, reporter: Reporter) -> PtqResult:
    from amctq.backends.replaced_ranges import warn_of_recorded_scales
    from amctq.export.weights_onnx import missed_amx

    prepared = prepare(plan, output.scratch(), reporter)
    output.extend(sample_names(plan, prepared.split.calibration))
    calibration, evaluation = prepared.calibration, prepared.evaluation
    Forecast(reporter=reporter, expected=expected_phases(plan, prepared)).begin(
        f"{calibration.images:,} calibration images, "
        f"{0 if evaluation is None else evaluation.images:,} evaluation images"
    )
    before = measure_float(plan, prepared.verified, evaluation, prepared.metric, reporter)
    quantized, quant, widths = calibrated(plan, prepared, reporter), prepared.quant, None
    if prepared.sizes is not None and quant is not None and prepared.tuning is not None:
        widths = choose_widths(plan, quantized, quant, prepared.sizes, prepared.tuning, prepared.metric, reporter)
        quantized, quant = widths.quantized, widths.quant
    fallback = None
    if plan.request.auto:
        fallback = fallback_of(plan, prepared, quantized, tries, reporter)
        quantized, quant = fallback.network, fallback.quant
    if RECORD in plan.files and plan.request.resolved_placement is Placement.ORT:
        warn_of_recorded_scales(quantized.record, reporter)
    missed = missed_amx(quantized.layers, plan.isa.weight_type)
    if missed is not None:
        reporter.warn(missed)
    finished = finish(
        plan,
        quantized,
        prepared.verified,
        calibration=calibration,
        evaluation=evaluation,
        metric=prepared.metric,
        before=before,
        simulated_images=simulated_images(plan, prepared),
        output=output,
        reporter=reporter,
    )
    if fallback is not None:
        finished = replace(finished, checks=(fallback.check, *finished.checks))
        warn_of_missed_target(finished.accuracy, fallback, reporter)
    sensitivity = None
    if prepared.tuning is not None and plan.request.analyze:
        tuning = ranking_samples(prepared.tuning) if plan.request.auto else prepared.tuning
        sensitivity = measure_layers(quantized, tuning, prepared.metric, reporter)
    return PtqResult(
        **vars(finished),
        plan=plan,
        verified=prepared.verified,
        quantized=quantized,
        split=prepared.split,
        quant=quant,
        sensitivity=sensitivity,
        widths=widths,
        fallback=fallback,
        float_operators=float_operators(plan, quantized, prepared, finished, output),
        warnings=tuple(reporter.warnings),
        seconds=dict(reporter.seconds),
        parts=dict(reporter.parts),
    )
