"""The second half of a run: export, measure, compare and check the quantized network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amctq.choices import ExportFormat, Target
from amctq.data.inputs import part
from amctq.services.run.accuracy import Accuracy, ComparedFile, compare_files, measure_exports, measure_speed
from amctq.services.run.atc import AtcRun, atc_for, run_atc
from amctq.services.run.check import Check
from amctq.services.run.checks import agreement_check, converter_check, file_checks, run_checks
from amctq.services.run.exports import Exports, WrittenFile, export_all
from amctq.services.run.sample_changes import SampleChanges, sample_changes
from amctq.services.run.simulation import Simulation, simulate

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.data.samples import Batches
    from amctq.files import OutputDirectory
    from amctq.graph.float_graph import FloatGraph
    from amctq.inference.fidelity import Fidelity
    from amctq.inference.metrics.measure import Outcome
    from amctq.inference.metrics.score import Metric, Score
    from amctq.inference.session import Session
    from amctq.inference.speed import Speed
    from amctq.networks.verified import VerifiedNetwork
    from amctq.progress import Reporter
    from amctq.services.run.plan import RunPlan

_CHECKED_IMAGES = 8  # whose outputs must be finite
FIDELITY = "float against quantized outputs"


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """The files of a quantized network, and the results of measuring and checking them.

    Attributes:
        files: the files, by format.
        exports: the files with their sessions; None if they cannot run on this machine.
        accuracy: of the float network and of the exported file; None if it was not measured.
        fidelity: how near its outputs are to those of the float network; None where accuracy was measured.
        speed: of the float network and of the measured file; None if that is meant for another device.
        outcome: of the exported file on every evaluation sample; None if it was not measured.
        compared: by format, the files for NPUs and the fake-quantized files, compared with the QDQ graph.
        changes: what quantization changes for single samples; None if accuracy was not measured.
        simulation: the ONNX file compared with an independent computation; None if the files cannot run here.
        atc: the ATC command for the deploy file, and its result; None without such a file.
        checks: the checks and their results.
    """

    files: Mapping[ExportFormat, WrittenFile]
    checks: tuple[Check, ...]
    exports: Exports | None = None
    accuracy: Accuracy | None = None
    fidelity: Fidelity | None = None
    speed: Speed | None = None
    outcome: Outcome | None = None
    compared: Mapping[ExportFormat, ComparedFile] = field(default_factory=dict)
    changes: SampleChanges | None = None
    simulation: Simulation | None = None
    atc: AtcRun | None = None


def finish(
    plan: RunPlan,
    quantized: QuantizedNetwork,
    verified: VerifiedNetwork,
    *,
    calibration: Batches,
    evaluation: Batches | None,
    metric: Metric | None,
    before: Outcome | None,
    simulated_images: int,
    output: OutputDirectory,
    reporter: Reporter,
    training: Score | None = None,
) -> Finished:
    """Write the quantized network in every format asked for, and check the files.

    Args:
        plan: the plan of the run.
        quantized: the quantized network.
        verified: the float network.
        calibration: training samples.
        evaluation: test samples; None if there are none.
        metric: how good a network is; None where nothing says it.
        before: outcome of the float network on ``evaluation``; None if it was not measured.
        simulated_images: number of samples on which the ONNX file is compared with an independent computation.
        output: where the files are staged.
        reporter: shows the phases.
        training: score of the training network on ``evaluation``; None if nothing was trained.

    Raises:
        InputError: the network cannot be written in a format.
        CheckError: a written file is not valid.
        WriteError: the disk is full.
    """
    runtime = plan.request.rules.runtime
    metadata = plan.metadata(calibration.samples)
    exports = export_all(quantized, verified, plan.model_files, metadata, output, reporter, runtime=runtime)
    in_float = verified.session_in(runtime)
    samples = evaluation or calibration
    accuracy, outcome, fidelity, changes = None, None, None, None
    if evaluation is not None and metric is not None and before is not None:
        accuracy, outcome = measure_exports(exports, metric, before.score, evaluation, reporter)
        changes = sample_changes(before, outcome, evaluation.samples)
    elif metric is None:
        fidelity = _fidelity(exports, in_float, verified.network.graph, samples, reporter)
    speed = None if evaluation is None else measure_speed(exports, evaluation, reporter)
    compared = compare_files(exports, in_float, samples, None if accuracy is None else metric, reporter)
    simulation = simulate(exports, quantized, in_float, samples, images=simulated_images, reporter=reporter)
    outputs = exports.measured.session.run(part(calibration.first(), slice(_CHECKED_IMAGES)))
    request = plan.request
    checks = run_checks(verified.proof, accuracy, fidelity, simulation, outputs, request.max_drop, tuned=request.auto)
    if training is not None and accuracy is not None:
        checks += (agreement_check(training, accuracy.after),)
    checks += file_checks(compared.values())
    if plan.request.target is Target.ASCEND and ExportFormat.ONNX in exports.files:
        checks += (converter_check(output.staged(exports.files[ExportFormat.ONNX].name)),)
    graph = verified.network.graph
    atc = atc_for(plan.model_files, graph.inputs, plan.request.soc_version)
    if all(check.passed for check in checks):
        atc = run_atc(atc, output, reporter)
    return Finished(
        files=exports.files,
        exports=exports,
        accuracy=accuracy,
        fidelity=fidelity,
        speed=speed,
        outcome=outcome,
        changes=changes,
        compared=compared,
        simulation=simulation,
        atc=atc,
        checks=checks if atc is None else (*checks, *atc.checks),
    )


def _fidelity(exports: Exports, in_float: Session, graph: FloatGraph, samples: Batches, reporter: Reporter) -> Fidelity:
    from amctq.graph.choices import chosen_outputs
    from amctq.inference.fidelity import compare_outputs

    with reporter.phase(FIDELITY, samples.images) as advance:
        return compare_outputs(
            in_float,
            exports.measured.session,
            samples,
            graph.outputs,
            advance,
            chosen=chosen_outputs(graph),
        )
