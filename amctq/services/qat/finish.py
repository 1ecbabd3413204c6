"""The network that ``amctq qat`` has trained, as files: written, measured and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from amctq.backends.base import OpaqueNetwork, QuantizedNetwork
from amctq.choices import ExportFormat
from amctq.files import OutputDirectory
from amctq.progress import Reporter
from amctq.services.qat.plan import QatPlan
from amctq.services.qat.start import Prepared
from amctq.services.run.accuracy import Accuracy, ComparedFile, compare_files, measure_exports
from amctq.services.run.atc import AtcRun, atc_for, run_atc
from amctq.services.run.checks import Check, agreement_check, file_checks, run_checks, training_checks
from amctq.services.run.exports import Exports, Simulation, WrittenFile, compare_simulation, export_all, export_opaque

if TYPE_CHECKING:
    from amctq.inference.accuracy import LabelRanks, Outcome

_SIMULATED = 256  # images that MindSpore's integer cells run, which takes several times as long as onnxruntime


@dataclass(frozen=True, kw_only=True, eq=False)
class QatAccuracy:
    """The network at its four stages, on the same images.

    Attributes:
        float_label_ranks: of the float network.
        ptq_label_ranks: of the network that training started from, quantized by the record.
        training: what the training network said.
        exported: float against the exported file; None where nothing here can run it.
        disagreements: images for which the exported file names another class than the training network.
    """

    float_label_ranks: LabelRanks
    ptq_label_ranks: LabelRanks
    training: Outcome
    exported: Accuracy | None = None
    disagreements: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class FinishedFiles:
    """The trained network's files and what was found out of them; fields as in QatResult."""

    files: Mapping[ExportFormat, WrittenFile]
    checks: tuple[Check, ...]
    accuracy: QatAccuracy | None
    compared: Mapping[ExportFormat, ComparedFile] = field(default_factory=dict)
    atc: AtcRun | None = None
    exports: Exports | None = None
    simulation: Simulation | None = None


def opaque_files(
    plan: QatPlan,
    prepared: Prepared,
    opaque: OpaqueNetwork,
    stages: QatAccuracy | None,
    output: OutputDirectory,
    reporter: Reporter,
) -> FinishedFiles:
    """The trained network as files that nothing here can run: what its training network said is all there is."""
    files = export_opaque(opaque, prepared.verified, plan.model_files, output, reporter)
    names = ", ".join(file.name for file in files.values())
    reporter.warn(f"{names}: not run, because an AIR file runs on an NPU, behind ATC")
    checks = training_checks(
        prepared.verified.proof,
        None if stages is None else (stages.float_label_ranks, stages.training.ranks),
        plan.request.max_drop,
    )
    return FinishedFiles(files=files, checks=checks, accuracy=stages)


def exported_files(
    plan: QatPlan,
    prepared: Prepared,
    quantized: QuantizedNetwork,
    stages: QatAccuracy | None,
    output: OutputDirectory,
    reporter: Reporter,
) -> FinishedFiles:
    """The trained network as files, measured and checked."""
    images, verified = prepared.images, prepared.verified
    evaluation = None if images.evaluation is None else plan.batches(images.evaluation)
    exports = export_all(quantized, verified, plan.model_files, plan.metadata(images.training), output, reporter)
    accuracy, exported, outcome = None, None, None
    if evaluation is not None and stages is not None:
        exported, outcome = measure_exports(exports, stages.float_label_ranks, evaluation, reporter)
        accuracy = replace(stages, exported=exported, disagreements=outcome.disagreements(stages.training))
    calibration = plan.batches(images.split.calibration)
    seen = evaluation or calibration
    compared = compare_files(exports, seen, outcome, reporter)
    simulation = compare_simulation(exports, quantized, seen, images=min(seen.images, _SIMULATED), reporter=reporter)
    checks = run_checks(
        verified.proof,
        exported,
        simulation,
        exports.measured.session.logits(calibration.first()[:8]),
        plan.request.max_drop,
    )
    if stages is not None and exported is not None:
        checks = (*checks, agreement_check(stages.training, exported.int8_label_ranks))
    checks = (*checks, *file_checks(compared.values()))
    graph = verified.network.graph
    atc = atc_for(plan.model_files, graph.input_name, graph.input_shape, plan.request.soc_version)
    if all(check.passed for check in checks):
        atc = run_atc(atc, output, reporter)
    return FinishedFiles(
        files=exports.files,
        checks=(*checks, *(() if atc is None else atc.checks)),
        accuracy=accuracy,
        compared=compared,
        atc=atc,
        exports=exports,
        simulation=simulation,
    )
