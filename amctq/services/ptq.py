"""``amctq ptq``: calibrate, quantize, export, verify."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import PtqConfig, QuantizedNetwork
from amctq.choices import ExportFormat
from amctq.data.samples import Batches, Split, split
from amctq.errors import CheckError
from amctq.files import Artifact, OutputDirectory, sha256_of
from amctq.progress import Narrator, OnEvent, silent
from amctq.runtime import cpu_instructions, prepare_environment
from amctq.services.accuracy import ComparedFile, compare_files, measure_exports
from amctq.services.atc import AtcRun, atc_for, run_atc
from amctq.services.checks import Accuracy, Check, file_checks, refuse_chance, run_checks
from amctq.services.exports import Exports, OwnForward, compare_own_forward, export_all
from amctq.services.log import RunLog
from amctq.services.network import ProvedNetwork, load_network, named_record
from amctq.services.ptq_plan import (
    CONFIG,
    LOG,
    PLACEMENT,
    RECORD,
    REPORT,
    PtqPlan,
    PtqPreview,
    plan_ptq,
    quant_config,
    refuse_idle_int4,
)
from amctq.services.ptq_request import PtqRequest
from amctq.services.report import ptq_report, report_bytes
from amctq.services.target import saturation_warning

if TYPE_CHECKING:
    from amctq.quant.config import QuantConfig
    from amctq.quant.topology import Topology


# What an image costs, in float images.
_COMPARED = {ExportFormat.ASCEND: 3, ExportFormat.FAKEQUANT: 4}


@dataclass(frozen=True, kw_only=True, eq=False)
class PtqResult:
    """What a run found and left behind.

    Attributes:
        plan: what was to be done.
        split: which images calibrated and which evaluated.
        proved: the float network, and the proof that onnxruntime computes what MindSpore computes.
        quant: what was done to each layer; None where a record said it all.
        quantized: scales and offsets, and the layers that have them.
        accuracy: None where none was asked for.
        compared: the files for NPUs and the fake-quantized ones beside the QDQ graph, by format.
        atc: how ATC is called for the deploy file, and what came of it; None without such a file.
        own_forward: the ONNX file compared with MindSpore; None where MindSpore cannot run the quantized network.
        checks: what was made sure of.
        exports: the quantized network's files.
        checkpoint_sha256: of the checkpoint file.
        warnings: what was said on the way.
        seconds: wall time by phase.
        parts: wall time of parts of phases.
        artifacts: the files, in their final place; empty when a check failed.
    """

    plan: PtqPlan
    split: Split
    proved: ProvedNetwork
    quant: QuantConfig | None
    quantized: QuantizedNetwork
    accuracy: Accuracy | None
    compared: Mapping[ExportFormat, ComparedFile]
    atc: AtcRun | None
    own_forward: OwnForward | None
    checks: tuple[Check, ...]
    exports: Exports
    checkpoint_sha256: str
    warnings: tuple[str, ...]
    seconds: dict[str, float]
    parts: dict[str, float]
    artifacts: tuple[Artifact, ...] = ()


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
    result = _run(plan, output, Narrator(log))
    return _publish(result, output, log)


def preview_ptq(request: PtqRequest, on_event: OnEvent = silent) -> PtqPreview:
    """Check every input of ``ptq`` and say what it would do, without calibrating or writing.

    Raises:
        AmctqError: as ``ptq`` would, for whatever is found before calibration.
    """
    plan = plan_ptq(request)
    OutputDirectory(request.output_dir, names=plan.files, force=request.force).check()
    narrator = Narrator(on_event)
    with tempfile.TemporaryDirectory() as folder:
        images, proved = _prepare(plan, Path(folder), narrator)
        quant = None if request.record else quant_config(request, proved.network.topology, narrator)
        if quant is None:
            widths = [entry.weight_bits for entry in _from_record(plan, proved, narrator).record.layers]
        else:
            _check_exportable(plan, proved, quant.selected(proved.network.topology))
            widths = [layer.weight.bits for layer in quant.enabled.values()]
        _warn_of_saturation(plan, widths, narrator)
        calibration = plan.batches(images.calibration)
        evaluation = None if images.evaluation is None else plan.batches(images.evaluation)
        return PtqPreview(
            plan=plan,
            split=images,
            topology=proved.network.topology,
            quant=quant,
            estimated_seconds=_estimate(plan, proved, calibration, evaluation),
            warnings=tuple(narrator.warnings),
        )


def _prepare(plan: PtqPlan, scratch: Path, narrator: Narrator) -> tuple[Split, ProvedNetwork]:
    """Read the images and the network."""
    request = plan.request
    prepare_environment(plan.device)
    narrator.info(
        f"back end {plan.backend.name.value} ({plan.backend_reason}), "
        f"device {plan.device.kind.value} ({plan.device.reason})"
    )
    with narrator.phase("dataset"):
        dataset = request.open_dataset(plan.data, request.preprocessing(plan.spec))
        images = split(
            dataset,
            calibration_images=plan.calibration_images,
            evaluation_images=request.eval_images,
            seed=request.seed,
        )
    proved = load_network(
        spec=plan.spec,
        ckpt=request.ckpt,
        num_classes=request.num_classes,
        device=plan.device,
        examples=plan.batches(images.calibration),
        scratch=scratch,
        narrator=narrator,
    )
    return images, proved


def _run(plan: PtqPlan, output: OutputDirectory, narrator: Narrator) -> PtqResult:
    from amctq.export import verify

    request = plan.request
    images, proved = _prepare(plan, output.scratch(), narrator)
    quant = None if request.record else quant_config(request, proved.network.topology, narrator)
    if quant is not None:
        _check_exportable(plan, proved, quant.selected(proved.network.topology))
    calibration = plan.batches(images.calibration)
    evaluation = None if images.evaluation is None else plan.batches(images.evaluation)
    narrator.info(
        f"about {_estimate(plan, proved, calibration, evaluation):.0f} s to go: {calibration.images:,} calibration "
        f"images, {0 if evaluation is None else evaluation.images:,} evaluation images"
    )
    float_ranks = None
    if evaluation is not None:
        with narrator.phase("float accuracy", evaluation.images) as advance:
            float_ranks = verify.measure(proved.session, evaluation, advance)
        refuse_chance(float_ranks, allow=request.allow_poor_float)

    if quant is None:
        quantized = _from_record(plan, proved, narrator)
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
            network=proved.network, config=config, calibration=calibration, narrator=narrator
        )
    _warn_of_saturation(plan, (entry.weight_bits for entry in quantized.record.layers), narrator)
    exports = export_all(quantized, proved, plan.model_files, plan.metadata(images), output, narrator)
    accuracy, outcome = None, None
    if evaluation is not None and float_ranks is not None:
        accuracy, outcome = measure_exports(exports, float_ranks, evaluation, narrator)
    compared = compare_files(exports, evaluation or calibration, outcome, narrator)
    graph = proved.network.graph
    atc = atc_for(plan.model_files, graph.input_name, graph.input_shape, request.soc_version)
    own_forward = compare_own_forward(
        exports,
        quantized,
        evaluation or calibration,
        images=_own_forward_images(plan, calibration, evaluation),
        narrator=narrator,
    )
    checks = (
        *run_checks(
            proved.proof,
            accuracy,
            own_forward,
            exports.measured.session.logits(calibration.first()[:8]),
            request.max_drop,
        ),
        *file_checks(compared.values()),
    )
    if all(check.passed for check in checks):
        atc = run_atc(atc, output, narrator)
    return PtqResult(
        plan=plan,
        split=images,
        proved=proved,
        quant=quant,
        quantized=quantized,
        accuracy=accuracy,
        compared=compared,
        own_forward=own_forward,
        atc=atc,
        checks=(*checks, *(() if atc is None else atc.checks)),
        exports=exports,
        checkpoint_sha256=sha256_of(request.ckpt),
        warnings=tuple(narrator.warnings),
        seconds=dict(narrator.seconds),
        parts=dict(narrator.parts),
    )


def _from_record(plan: PtqPlan, proved: ProvedNetwork, narrator: Narrator) -> QuantizedNetwork:
    from amctq.quant.record_text import load_record

    assert plan.request.record is not None
    record = named_record(load_record(plan.request.record), proved.network, narrator)
    refuse_idle_int4(plan.request, (entry.weight_bits for entry in record.layers))
    quantized = plan.backend.from_record(
        network=proved.network, record=record, act_type=plan.request.act_type, weight_type=plan.target.weight_type
    )
    _check_exportable(plan, proved, quantized.topology)
    return quantized


def _warn_of_saturation(plan: PtqPlan, weight_bits: Iterable[int], narrator: Narrator) -> None:
    warning = saturation_warning(cpu_instructions(), plan.target.weight_type, weight_bits)
    if warning is not None:
        narrator.warn(warning)


def _check_exportable(plan: PtqPlan, proved: ProvedNetwork, topology: Topology) -> None:
    for form in plan.request.export:
        plan.backend.check_exportable(proved.network, topology, form)


def _own_forward_images(plan: PtqPlan, calibration: Batches, evaluation: Batches | None) -> int:
    """How many images MindSpore runs, which takes several times as long as onnxruntime."""
    if evaluation is None:  # whoever leaves the evaluation out is in a hurry
        return calibration.images if plan.request.simulate else min(calibration.images, 4)
    return evaluation.images if plan.request.simulate else min(evaluation.images, 256)


def _estimate(plan: PtqPlan, proved: ProvedNetwork, calibration: Batches, evaluation: Batches | None) -> float:
    """Seconds that calibration, evaluation and simulation will take, from one timed batch of the float network."""
    onnx, mindspore = proved.proof.onnxruntime_seconds, proved.proof.mindspore_seconds
    evaluated = 0 if evaluation is None else evaluation.images
    int8 = mindspore if plan.request.export == (ExportFormat.MINDIR,) else onnx
    for form in {ExportFormat.ASCEND, ExportFormat.FAKEQUANT} & {*plan.request.export}:
        int8 += _COMPARED[form] * onnx
    simulated = _own_forward_images(plan, calibration, evaluation)
    # Observing costs about as much as the pass itself.
    return max(1.0, onnx * (2 * calibration.images + evaluated) + int8 * evaluated + mindspore * simulated)


def _publish(result: PtqResult, output: OutputDirectory, log: RunLog) -> PtqResult:
    """Put the files in place, or refuse to where a check has failed."""
    from amctq.quant.config_json import dump_config
    from amctq.quant.placement_json import dump_placement
    from amctq.quant.record_text import dump_record

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
