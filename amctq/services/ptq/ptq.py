"""``amctq ptq``: calibrate, quantize, export, verify."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import PtqConfig, QuantizedNetwork
from amctq.choices import BackendName, ExportFormat, Placement
from amctq.data.samples import Batches, Split, split
from amctq.export.targets import saturation_warning
from amctq.files import OutputDirectory
from amctq.networks.verified import VerifiedNetwork
from amctq.progress import OnEvent, Reporter, silent
from amctq.runtime import cpu_instructions
from amctq.services.ptq.plan import CONFIG, PLACEMENT, PtqPlan, plan_ptq, quant_config, refuse_idle_int4
from amctq.services.ptq.preview import PtqPreview
from amctq.services.ptq.request import PtqRequest
from amctq.services.ptq.result import PtqResult
from amctq.services.run.finish import Finished, finish
from amctq.services.run.inputs import begin, check_exportable, measure_float, named_record, verified_network
from amctq.services.run.log import RunLog
from amctq.services.run.plan import CALIB_IMAGES, RECORD
from amctq.services.run.publish import publish
from amctq.services.run.simulation import SIMULATED_IMAGES

if TYPE_CHECKING:
    from amctq.inference.optimised import FloatOperator
    from amctq.quant.config import QuantConfig

# Time to run one image through a compared file, relative to the float network.
_COST = {ExportFormat.ASCEND: 3, ExportFormat.FAKEQUANT: 4}
_SIMULATED_WITHOUT_EVALUATION = 4  # the user wants a quick run


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
    with OutputDirectory(request.output_dir, names=plan.files, force=request.force) as output:
        return run_ptq(plan, output, on_event)


def run_ptq(plan: PtqPlan, output: OutputDirectory, on_event: OnEvent) -> PtqResult:
    """Run ``plan``, and publish all files staged in ``output``, which was opened for ``plan.files``.

    Raises:
        AmctqError: as ``ptq``.
    """
    from amctq.amct_files.config_json import dump_config
    from amctq.amct_files.record_text import dump_record
    from amctq.export.placement_json import dump_placement

    log = RunLog(on_event)
    result = _run(plan, output, Reporter(log))
    topology = result.verified.network.topology
    contents = {RECORD: dump_record(result.quantized.amct_record)}
    if result.quant is not None:
        contents[CONFIG] = dump_config(result.quant.within_amct(topology))
    if PLACEMENT in plan.files:
        contents[PLACEMENT] = dump_placement(result.quantized.activations, result.quantized.beyond_amct)
    hint = "nothing was written; try more --calib-images, --skip-layer, or a higher --max-drop where there is one"
    return replace(result, artifacts=publish(result, contents, output, log, hint=hint))


def preview_ptq(request: PtqRequest, on_event: OnEvent = silent) -> PtqPreview:
    """Check every input of ``ptq`` and return what it would do, without calibrating or writing.

    Raises:
        AmctqError: as ``ptq``, for everything that it finds before calibration.
    """
    plan = plan_ptq(request)
    OutputDirectory(request.output_dir, names=plan.files, force=request.force).check()
    reporter = Reporter(on_event)
    with tempfile.TemporaryDirectory() as folder:
        prepared = _prepare(plan, Path(folder), reporter)
        return PtqPreview(
            plan=plan,
            split=prepared.split,
            topology=prepared.verified.network.topology,
            quant=prepared.quant,
            estimated_seconds=_estimate(plan, prepared),
            warnings=tuple(reporter.warnings),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Prepared:
    """The inputs of the run, after all checks that come before measuring and calibration.

    Attributes:
        split: images for calibration and for evaluation.
        calibration: the calibration images, in batches.
        evaluation: the evaluation images, in batches; None if there are none.
        verified: the float network.
        quant: the configuration of each layer; None if a record is used instead.
        quantized: the network quantized by the record; None if calibration has to quantize it.
    """

    split: Split
    calibration: Batches
    evaluation: Batches | None
    verified: VerifiedNetwork
    quant: QuantConfig | None
    quantized: QuantizedNetwork | None


def _prepare(plan: PtqPlan, scratch: Path, reporter: Reporter) -> _Prepared:
    request = plan.request
    begin(plan, reporter)
    with reporter.phase("dataset"):
        images = split(
            request.open_dataset(plan.data, request.preprocessing(plan.spec)),
            calibration_images=plan.calibration_images(CALIB_IMAGES),
            evaluation_images=request.eval_images,
            seed=request.seed,
        )
    calibration = plan.batches(images.calibration)
    verified = verified_network(plan, calibration, scratch, reporter)
    network = verified.network
    record, quant, quantized = named_record(plan, network, reporter), None, None
    if record is None:
        quant = quant_config(plan, network, reporter)
        plan.backend.check_quantizable(network, quant)
        topology, widths = quant.selected(network.topology), [item.weight.bits for item in quant.enabled.values()]
    else:
        widths = [entry.weight_bits for entry in record.layers]
        refuse_idle_int4(request, widths)
        quantized = plan.backend.from_record(
            network=network, record=record, act_type=request.act_type, weight_type=plan.target.weight_type
        )
        topology = quantized.topology
    check_exportable(plan, network, topology)
    warning = saturation_warning(cpu_instructions(), plan.target.weight_type, widths)
    if warning is not None:
        reporter.warn(warning)
    return _Prepared(
        split=images,
        calibration=calibration,
        evaluation=plan.evaluation_batches(images.evaluation),
        verified=verified,
        quant=quant,
        quantized=quantized,
    )


def _run(plan: PtqPlan, output: OutputDirectory, reporter: Reporter) -> PtqResult:
    prepared = _prepare(plan, output.scratch(), reporter)
    calibration, evaluation = prepared.calibration, prepared.evaluation
    reporter.info(
        f"about {_estimate(plan, prepared):.0f} s to go: {calibration.images:,} calibration images, "
        f"{0 if evaluation is None else evaluation.images:,} evaluation images"
    )
    from amctq.backends.replaced_ranges import warn_of_replaced_ranges

    float_ranks = measure_float(plan, prepared.verified, evaluation, reporter)
    if prepared.quantized is not None:
        warn_of_replaced_ranges(prepared.verified.network, prepared.quantized, calibration, reporter)
    quantized = prepared.quantized or _calibrate(plan, prepared, reporter)
    finished = finish(
        plan,
        quantized,
        prepared.verified,
        calibration=calibration,
        evaluation=evaluation,
        float_ranks=float_ranks,
        simulated_images=_simulated_images(plan, prepared),
        output=output,
        reporter=reporter,
    )
    return PtqResult(
        **vars(finished),
        plan=plan,
        verified=prepared.verified,
        quantized=quantized,
        split=prepared.split,
        quant=prepared.quant,
        float_operators=_float_operators(quantized, prepared, finished, output),
        warnings=tuple(reporter.warnings),
        seconds=dict(reporter.seconds),
        parts=dict(reporter.parts),
    )


def _calibrate(plan: PtqPlan, prepared: _Prepared, reporter: Reporter) -> QuantizedNetwork:
    request = plan.request
    assert prepared.quant is not None
    config = PtqConfig(
        quant=prepared.quant,
        placement=request.resolved_placement,
        act_type=request.act_type,
        ifmr_variant=request.ifmr_variant,
        hfmg_variant=request.hfmg_variant,
        arq_rule=request.arq_rule,
        weight_type=plan.target.weight_type,
        bias_correction=request.bias_correction is not False and plan.backend.name is BackendName.NATIVE,
        attention=request.quantize_attention,
    )
    return plan.backend.quantize(
        network=prepared.verified.network, config=config, calibration=prepared.calibration, reporter=reporter
    )


def _float_operators(
    quantized: QuantizedNetwork, prepared: _Prepared, finished: Finished, output: OutputDirectory
) -> tuple[FloatOperator, ...]:
    """What onnxruntime computes in float between integer layers; nothing with placement ``ascend``."""
    from amctq.inference.optimised import float_operators

    plan = quantized.activations.plan
    if plan.placement is not Placement.ORT or ExportFormat.ONNX not in finished.files:
        return ()
    whole, integer = prepared.verified.network.topology, {layer.name for layer in quantized.topology.layers}
    reasons = {layer.name: layer.reason for layer in (*whole.left_in_float, *plan.float_layers)}
    reasons = {layer.name: "skipped" for layer in whole.layers if layer.name not in integer} | reasons
    for layer in whole.layers:
        if layer.name in reasons:
            reasons |= dict.fromkeys((layer.node, layer.raw_output, layer.output), reasons[layer.name])
    return float_operators(output.staged(finished.files[ExportFormat.ONNX].name).read_bytes(), reasons)


def _simulated_images(plan: PtqPlan, prepared: _Prepared) -> int:
    """Number of images that MindSpore runs; it takes several times as long as onnxruntime."""
    images = (prepared.evaluation or prepared.calibration).images
    if plan.request.simulate:
        return images
    return min(images, _SIMULATED_WITHOUT_EVALUATION if prepared.evaluation is None else SIMULATED_IMAGES)


def _estimate(plan: PtqPlan, prepared: _Prepared) -> float:
    """Seconds that calibration, evaluation and simulation will take, from one timed batch of the float network."""
    onnx, mindspore = prepared.verified.proof.onnxruntime_seconds, prepared.verified.proof.mindspore_seconds
    evaluated = 0 if prepared.evaluation is None else prepared.evaluation.images
    int8 = mindspore if plan.request.export == (ExportFormat.MINDIR,) else onnx
    for form in {ExportFormat.ASCEND, ExportFormat.FAKEQUANT} & {*plan.request.export}:
        int8 += _COST[form] * onnx
    simulated = mindspore * _simulated_images(plan, prepared)
    # An observer takes about as much time as the forward pass.
    return max(1.0, onnx * (2 * prepared.calibration.images + evaluated) + int8 * evaluated + simulated)
