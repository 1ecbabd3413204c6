"""The second half of a run: export, measure, compare and check the quantized network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from amctq.choices import ExportFormat
from amctq.services.run.accuracy import Accuracy, ComparedFile, compare_files, measure_exports
from amctq.services.run.atc import AtcRun, atc_for, run_atc
from amctq.services.run.check import Check
from amctq.services.run.checks import agreement_check, file_checks, run_checks
from amctq.services.run.exports import Exports, WrittenFile, export_all
from amctq.services.run.simulation import Simulation, simulate

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.data.samples import Batches
    from amctq.files import OutputDirectory
    from amctq.inference.accuracy import LabelRanks, Outcome
    from amctq.networks.verified import VerifiedNetwork
    from amctq.progress import Reporter
    from amctq.services.run.plan import RunPlan

_CHECKED_IMAGES = 8  # whose logits must be finite


@dataclass(frozen=True, kw_only=True, eq=False)
class Finished:
    """The files of a quantized network, and the results of measuring and checking them.

    Attributes:
        files: the files, by format.
        exports: the files with their sessions; None if they cannot run on this machine.
        accuracy: of the float network and of the exported file; None if it was not measured.
        outcome: of the exported file on every evaluation image; None if it was not measured.
        compared: by format, the files for NPUs and the fake-quantized files, compared with the QDQ graph.
        simulation: the ONNX file compared with an independent computation; None if the files cannot run here.
        atc: the ATC command for the deploy file, and its result; None without such a file.
        checks: the checks and their results.
    """

    files: Mapping[ExportFormat, WrittenFile]
    checks: tuple[Check, ...]
    exports: Exports | None = None
    accuracy: Accuracy | None = None
    outcome: Outcome | None = None
    compared: Mapping[ExportFormat, ComparedFile] = field(default_factory=dict)
    simulation: Simulation | None = None
    atc: AtcRun | None = None


def finish(
    plan: RunPlan,
    quantized: QuantizedNetwork,
    verified: VerifiedNetwork,
    *,
    calibration: Batches,
    evaluation: Batches | None,
    float_ranks: LabelRanks | None,
    simulated_images: int,
    output: OutputDirectory,
    reporter: Reporter,
    training: Outcome | None = None,
) -> Finished:
    """Write the quantized network in every format asked for, and check the files.

    Args:
        plan: the plan of the run.
        quantized: the quantized network.
        verified: the float network.
        calibration: training images.
        evaluation: test images; None if there are none.
        float_ranks: label ranks of the float network on ``evaluation``; None if they were not measured.
        simulated_images: number of images on which the ONNX file is compared with an independent computation.
        output: where the files are staged.
        reporter: shows the phases.
        training: outcome of the training network on ``evaluation``; None if nothing was trained.

    Raises:
        InputError: the network cannot be written in a format.
        CheckError: a written file is not valid.
        WriteError: the disk is full.
    """
    exports = export_all(quantized, verified, plan.model_files, plan.metadata(calibration.samples), output, reporter)
    accuracy, outcome = None, None
    if evaluation is not None and float_ranks is not None:
        accuracy, outcome = measure_exports(exports, float_ranks, evaluation, reporter)
    compared = compare_files(exports, evaluation or calibration, outcome, reporter)
    simulation = simulate(
        exports, quantized, verified.session, evaluation or calibration, images=simulated_images, reporter=reporter
    )
    logits = exports.measured.session.logits(calibration.first()[:_CHECKED_IMAGES])
    checks = run_checks(verified.proof, accuracy, simulation, logits, plan.request.max_drop)
    if training is not None and accuracy is not None:
        checks += (agreement_check(training, accuracy.int8_ranks),)
    checks += file_checks(compared.values())
    graph = verified.network.graph
    atc = atc_for(plan.model_files, graph.input_name, graph.input_shape, plan.request.soc_version)
    if all(check.passed for check in checks):
        atc = run_atc(atc, output, reporter)
    return Finished(
        files=exports.files,
        exports=exports,
        accuracy=accuracy,
        outcome=outcome,
        compared=compared,
        simulation=simulation,
        atc=atc,
        checks=checks if atc is None else (*checks, *atc.checks),
    )
