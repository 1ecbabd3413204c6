"""``amctq ptq``: calibrate, quantize, export, verify."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import PtqConfig, QuantizedNetwork
from amctq.data.samples import Batches, Split, first_images, split
from amctq.errors import CheckError, NotSimulatedError
from amctq.files import Artifact, OutputDirectory, sha256_of, writing
from amctq.progress import Narrator, OnEvent, silent
from amctq.quant.paired import paired_difference
from amctq.runtime import cpu_instructions, prepare_environment
from amctq.services.checks import Accuracy, Check, refuse_chance, run_checks, saturation_warning
from amctq.services.log import RunLog
from amctq.services.network import ProvedNetwork, load_network
from amctq.services.ptq_plan import (
    CONFIG,
    LOG,
    PLACEMENT,
    RECORD,
    REPORT,
    PtqPlan,
    PtqPreview,
    PtqRequest,
    plan_ptq,
    quant_config,
    refuse_idle_int4,
)
from amctq.services.report import ptq_report, report_bytes

if TYPE_CHECKING:
    from amctq.export.session import OnnxSession
    from amctq.export.verify import Agreement, Ranks
    from amctq.quant.config import QuantConfig

# How many images the engine's own forward is compared on where --simulate does not ask for all: it is slow, and
# whoever leaves the evaluation out is in a hurry.
_SIMULATED_IMAGES = 256
_SIMULATED_IN_A_HURRY = 8


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
        agreement: of the exported file with the engine's own forward in MindSpore; None where it has none.
        checks: what was made sure of.
        int8_bytes: size of the INT8 ONNX.
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
    agreement: Agreement | None
    checks: tuple[Check, ...]
    int8_bytes: int
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
        quant = None if request.record else quant_config(request, proved.network.topology)
        if quant is None:
            widths = [entry.weight_bits for entry in _from_record(plan, proved).record.layers]
        else:
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
    from amctq.export.session import OnnxSession

    request = plan.request
    images, proved = _prepare(plan, output.scratch(), narrator)
    quant = None if request.record else quant_config(request, proved.network.topology)
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
        quantized = _from_record(plan, proved)
    else:
        config = PtqConfig(
            quant=quant,
            placement=request.resolved_placement,
            act_type=request.act_type,
            ifmr_variant=request.ifmr_variant,
            arq_rule=request.arq_rule,
            weight_type=request.weight_type,
        )
        quantized = plan.backend.quantize(
            network=proved.network, config=config, calibration=calibration, narrator=narrator
        )
    _warn_of_saturation(plan, (entry.weight_bits for entry in quantized.record.layers), narrator)
    staged = output.staged(plan.model_file)
    with narrator.phase("export"), writing(output.path / plan.model_file):
        quantized.export(plan.request.export[0], staged, plan.metadata(images))
        content = staged.read_bytes()
    int8_session = OnnxSession(content)
    accuracy = None
    if evaluation is not None and float_ranks is not None:
        accuracy = _accuracy(proved.session, int8_session, float_ranks, evaluation, narrator)
    agreement = _simulate(plan, proved, quantized, int8_session, evaluation or calibration, narrator)
    return PtqResult(
        plan=plan,
        split=images,
        proved=proved,
        quant=quant,
        quantized=quantized,
        accuracy=accuracy,
        agreement=agreement,
        checks=run_checks(
            proved.proof, accuracy, agreement, int8_session.logits(calibration.first()[:8]), request.max_drop
        ),
        int8_bytes=len(content),
        checkpoint_sha256=sha256_of(request.ckpt),
        warnings=tuple(narrator.warnings),
        seconds=dict(narrator.seconds),
        parts=dict(narrator.parts),
    )


def _from_record(plan: PtqPlan, proved: ProvedNetwork) -> QuantizedNetwork:
    from amctq.quant.record_text import load_record

    assert plan.request.record is not None
    record = load_record(plan.request.record)
    refuse_idle_int4(plan.request, (entry.weight_bits for entry in record.layers))
    return plan.backend.from_record(
        network=proved.network, record=record, act_type=plan.request.act_type, weight_type=plan.request.weight_type
    )


def _warn_of_saturation(plan: PtqPlan, weight_bits: Iterable[int], narrator: Narrator) -> None:
    warning = saturation_warning(cpu_instructions(), plan.request.weight_type, weight_bits)
    if warning is not None:
        narrator.warn(warning)


def _accuracy(
    float_session: OnnxSession, int8_session: OnnxSession, float_ranks: Ranks, evaluation: Batches, narrator: Narrator
) -> Accuracy:
    from amctq.export import verify

    with narrator.phase("INT8 accuracy", evaluation.images) as advance:
        int8_ranks = verify.measure(int8_session, evaluation, advance)
    with narrator.phase("speed"):
        speed = verify.compare_speed(float_session, int8_session, evaluation.first())
    return Accuracy(
        float_ranks=float_ranks,
        int8_ranks=int8_ranks,
        difference=paired_difference(float_ranks.hits, int8_ranks.hits),
        speed=speed,
    )


def _simulate(
    plan: PtqPlan,
    proved: ProvedNetwork,
    quantized: QuantizedNetwork,
    session: OnnxSession,
    batches: Batches,
    narrator: Narrator,
) -> Agreement | None:
    """Compare the exported file with the engine's own forward in MindSpore."""
    from amctq.export.verify import compare_forward

    count = _simulated_images(plan, batches)
    some = Batches(samples=first_images(batches.samples, count), size=batches.size)
    try:
        with narrator.phase("simulation", count) as advance, quantized.simulated(proved.network) as cell:
            return compare_forward(cell, session, some, advance)
    except NotSimulatedError as error:
        narrator.warn(f"the engine's own forward cannot run this network: {error.message}")
        return None


def _simulated_images(plan: PtqPlan, batches: Batches) -> int:
    if plan.request.simulate:
        return batches.images
    return min(batches.images, _SIMULATED_IN_A_HURRY if plan.request.eval_images == 0 else _SIMULATED_IMAGES)


def _estimate(plan: PtqPlan, proved: ProvedNetwork, calibration: Batches, evaluation: Batches | None) -> float:
    """Seconds that calibration, evaluation and simulation will take, from one timed batch of the float network."""
    per_image = proved.proof.onnxruntime_seconds
    evaluated = 0 if evaluation is None else evaluation.images
    simulated = _simulated_images(plan, evaluation or calibration)
    # Observing costs about as much as the pass itself; the evaluation runs the float and the quantized network.
    onnx = per_image * (2 * calibration.images + 2 * evaluated)
    return max(1.0, onnx + proved.proof.mindspore_seconds * simulated)


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
        raise CheckError(message, hint=hint, data=report)
    if result.quant is not None:
        output.write(CONFIG, dump_config(result.quant))
    output.write(RECORD, dump_record(result.quantized.record))
    if PLACEMENT in result.plan.files:
        output.write(PLACEMENT, dump_placement(result.quantized.activations))
    output.write(REPORT, report_bytes(report))
    output.write(LOG, log.content())
    return replace(result, artifacts=output.publish())
