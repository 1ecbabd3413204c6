"""``amctq ptq``: calibrate, quantize, export, verify."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import PtqConfig, QuantizedNetwork
from amctq.choices import ExportFormat
from amctq.data.samples import Batches, Split, split
from amctq.errors import CheckError
from amctq.export.targets import saturation_warning
from amctq.files import OutputDirectory, sha256_of
from amctq.networks.verified import VerifiedNetwork, load_network
from amctq.progress import OnEvent, Reporter, silent
from amctq.runtime import cpu_instructions, prepare_environment
from amctq.services.ptq.plan import (
    CONFIG,
    LOG,
    PLACEMENT,
    RECORD,
    REPORT,
    PtqPlan,
    plan_ptq,
    quant_config,
    refuse_idle_int4,
)
from amctq.services.ptq.report import ptq_report
from amctq.services.ptq.request import PtqRequest
from amctq.services.ptq.result import PtqPreview, PtqResult
from amctq.services.run.accuracy import compare_files, measure_exports
from amctq.services.run.atc import atc_for, run_atc
from amctq.services.run.checks import file_checks, refuse_chance, run_checks
from amctq.services.run.exports import compare_simulation, export_all
from amctq.services.run.inputs import named_record
from amctq.services.run.log import RunLog
from amctq.services.run.report import report_bytes

if TYPE_CHECKING:
    from amctq.quant.layers import Topology


# What an image costs, in float images.
_COMPARED = {ExportFormat.ASCEND: 3, ExportFormat.FAKEQUANT: 4}


def ptq(request: PtqRequest, on_event: OnEvent = silent) -> PtqResult:
    """Quantize a network after training, and prove what came of it.

    Args:
        request: what to do.
        on_event: is told of progress, notices and warnings.

    Returns:
        The measured result; its files lie in ``request.output_dir``.

    Raises:
        UsageError: options contradict each other or files would be overwritten.
        InputError: dataset, network, checkpoint, configuration or record are not what they must be.
        UnavailableError: backend or device are missing.
        CheckError: the INT8 file fails a check; nothing is left in the output directory.
        WriteError: the output directory cannot be written.
    """
    plan = plan_ptq(request)
    with OutputDirectory(request.output_dir, names=plan.files, force=request.force) as output:
        return run_ptq(plan, output, on_event)


def run_ptq(plan: PtqPlan, output: OutputDirectory, on_event: OnEvent) -> PtqResult:
    """Do what ``plan`` says and publish ``output``, which has announced ``plan.files``, with all that is staged there.

    Raises:
        AmctqError: as ``ptq``.
    """
    log = RunLog(on_event)
    result = _run(plan, output, Reporter(log))
    return _publish(result, output, log)


def preview_ptq(request: PtqRequest, on_event: OnEvent = silent) -> PtqPreview:
    """Check every input of ``ptq`` and say what it would do, without calibrating or writing.

    Raises:
        AmctqError: as ``ptq`` would, for whatever is found before calibration.
    """
    plan = plan_ptq(request)
    OutputDirectory(request.output_dir, names=plan.files, force=request.force).check()
    reporter = Reporter(on_event)
    with tempfile.TemporaryDirectory() as folder:
        images, verified = _prepare(plan, Path(folder), reporter)
        quant = None if request.record else quant_config(request, verified.network.topology, reporter)
        if quant is None:
            widths = [entry.weight_bits for entry in _from_record(plan, verified, reporter).record.layers]
        else:
            _check_exportable(plan, verified, quant.selected(verified.network.topology))
            widths = [layer.weight.bits for layer in quant.enabled.values()]
        _warn_of_saturation(plan, widths, reporter)
        calibration = plan.batches(images.calibration)
        evaluation = None if images.evaluation is None else plan.batches(images.evaluation)
        return PtqPreview(
            plan=plan,
            split=images,
            topology=verified.network.topology,
            quant=quant,
            estimated_seconds=_estimate(plan, verified, calibration, evaluation),
            warnings=tuple(reporter.warnings),
        )


def _prepare(plan: PtqPlan, scratch: Path, reporter: Reporter) -> tuple[Split, VerifiedNetwork]:
    """Read the images and the network."""
    request = plan.request
    prepare_environment(plan.device)
    reporter.info(
        f"back end {plan.backend.name.value} ({plan.backend_reason}), "
        f"device {plan.device.kind.value} ({plan.device.reason})"
    )
    with reporter.phase("dataset"):
        dataset = request.open_dataset(plan.data, request.preprocessing(plan.spec))
        images = split(
            dataset,
            calibration_images=plan.calibration_images,
            evaluation_images=request.eval_images,
            seed=request.seed,
        )
    verified = load_network(
        spec=plan.spec,
        ckpt=request.ckpt,
        num_classes=request.num_classes,
        device=plan.device,
        examples=plan.batches(images.calibration),
        scratch=scratch,
        reporter=reporter,
    )
    return images, verified


def _run(plan: PtqPlan, output: OutputDirectory, reporter: Reporter) -> PtqResult:
    from amctq.inference.accuracy import measure

    request = plan.request
    images, verified = _prepare(plan, output.scratch(), reporter)
    quant = None if request.record else quant_config(request, verified.network.topology, reporter)
    if quant is not None:
        _check_exportable(plan, verified, quant.selected(verified.network.topology))
    calibration = plan.batches(images.calibration)
    evaluation = None if images.evaluation is None else plan.batches(images.evaluation)
    reporter.info(
        f"about {_estimate(plan, verified, calibration, evaluation):.0f} s to go: {calibration.images:,} calibration "
        f"images, {0 if evaluation is None else evaluation.images:,} evaluation images"
    )
    float_label_ranks = None
    if evaluation is not None:
        with reporter.phase("float accuracy", evaluation.images) as advance:
            float_label_ranks = measure(verified.session, evaluation, advance)
        refuse_chance(float_label_ranks, allow=request.allow_poor_float)

    if quant is None:
        quantized = _from_record(plan, verified, reporter)
    else:
        config = PtqConfig(
            quant=quant,
            placement=request.resolved_placement,
            act_type=request.act_type,
            ifmr_variant=request.ifmr_variant,
            arq_rule=request.arq_rule,
            weight_type=plan.target.weight_type,
        )
        quantized = plan.backend.quantize(
            network=verified.network, config=config, calibration=calibration, reporter=reporter
        )
    _warn_of_saturation(plan, (entry.weight_bits for entry in quantized.record.layers), reporter)
    exports = export_all(quantized, verified, plan.model_files, plan.metadata(images), output, reporter)
    accuracy, outcome = None, None
    if evaluation is not None and float_label_ranks is not None:
        accuracy, outcome = measure_exports(exports, float_label_ranks, evaluation, reporter)
    compared = compare_files(exports, evaluation or calibration, outcome, reporter)
    graph = verified.network.graph
    atc = atc_for(plan.model_files, graph.input_name, graph.input_shape, request.soc_version)
    simulation = compare_simulation(
        exports,
        quantized,
        evaluation or calibration,
        images=_simulated_images(plan, calibration, evaluation),
        reporter=reporter,
    )
    checks = (
        *run_checks(
            verified.proof,
            accuracy,
            simulation,
            exports.measured.session.logits(calibration.first()[:8]),
            request.max_drop,
        ),
        *file_checks(compared.values()),
    )
    if all(check.passed for check in checks):
        atc = run_atc(atc, output, reporter)
    return PtqResult(
        plan=plan,
        split=images,
        verified=verified,
        quant=quant,
        quantized=quantized,
        accuracy=accuracy,
        compared=compared,
        simulation=simulation,
        atc=atc,
        checks=(*checks, *(() if atc is None else atc.checks)),
        exports=exports,
        checkpoint_sha256=sha256_of(request.ckpt),
        warnings=tuple(reporter.warnings),
        seconds=dict(reporter.seconds),
        parts=dict(reporter.parts),
    )


def _from_record(plan: PtqPlan, verified: VerifiedNetwork, reporter: Reporter) -> QuantizedNetwork:
    from amctq.amct_files.record_text import load_record

    assert plan.request.record is not None
    record = named_record(load_record(plan.request.record), verified.network, reporter)
    refuse_idle_int4(plan.request, (entry.weight_bits for entry in record.layers))
    quantized = plan.backend.from_record(
        network=verified.network, record=record, act_type=plan.request.act_type, weight_type=plan.target.weight_type
    )
    _check_exportable(plan, verified, quantized.topology)
    return quantized


def _warn_of_saturation(plan: PtqPlan, weight_bits: Iterable[int], reporter: Reporter) -> None:
    warning = saturation_warning(cpu_instructions(), plan.target.weight_type, weight_bits)
    if warning is not None:
        reporter.warn(warning)


def _check_exportable(plan: PtqPlan, verified: VerifiedNetwork, topology: Topology) -> None:
    for form in plan.request.export:
        plan.backend.check_exportable(verified.network, topology, form)


def _simulated_images(plan: PtqPlan, calibration: Batches, evaluation: Batches | None) -> int:
    """How many images MindSpore runs, which takes several times as long as onnxruntime."""
    if evaluation is None:  # whoever leaves the evaluation out is in a hurry
        return calibration.images if plan.request.simulate else min(calibration.images, 4)
    return evaluation.images if plan.request.simulate else min(evaluation.images, 256)


def _estimate(plan: PtqPlan, verified: VerifiedNetwork, calibration: Batches, evaluation: Batches | None) -> float:
    """Seconds that calibration, evaluation and simulation will take, from one timed batch of the float network."""
    onnx, mindspore = verified.proof.onnxruntime_seconds, verified.proof.mindspore_seconds
    evaluated = 0 if evaluation is None else evaluation.images
    int8 = mindspore if plan.request.export == (ExportFormat.MINDIR,) else onnx
    for form in {ExportFormat.ASCEND, ExportFormat.FAKEQUANT} & {*plan.request.export}:
        int8 += _COMPARED[form] * onnx
    simulated = _simulated_images(plan, calibration, evaluation)
    # Observing costs about as much as the pass itself.
    return max(1.0, onnx * (2 * calibration.images + evaluated) + int8 * evaluated + mindspore * simulated)


def _publish(result: PtqResult, output: OutputDirectory, log: RunLog) -> PtqResult:
    """Put the files in place, or refuse to where a check has failed."""
    from amctq.amct_files.config_json import dump_config
    from amctq.amct_files.record_text import dump_record
    from amctq.export.placement_json import dump_placement

    report = ptq_report(result)
    failed = [check for check in result.checks if not check.passed]
    if failed:
        message = "; ".join(f"{check.name}: {check.detail}" for check in failed)
        hint = "nothing was written; try more --calib-images, --skip-layer, or a higher --max-drop where there is one"
        raise CheckError(message, hint=failed[0].hint or hint, data=report)
    written = {RECORD: dump_record(result.quantized.record)}
    if result.quant is not None:
        written[CONFIG] = dump_config(result.quant)
    for name, content in (written | dict(result.quantized.own_files)).items():
        output.write(name, content)
    if PLACEMENT in result.plan.files:
        output.write(PLACEMENT, dump_placement(result.quantized.activations))
    output.write(REPORT, report_bytes(report))
    output.write(LOG, log.content())
    return replace(result, artifacts=output.publish())
