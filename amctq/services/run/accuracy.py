"""Accuracy of the exported files, and how often they predict the same classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amctq.choices import ExportFormat
from amctq.data.samples import Batches
from amctq.inference.paired import PairedDifference, paired_difference
from amctq.inference.speed import Speed
from amctq.progress import Reporter
from amctq.services.run.exports import ExportedFile, Exports
from amctq.services.run.simulation import NOISE, allowed_differences

if TYPE_CHECKING:
    from amctq.inference.agreement import Agreement
    from amctq.inference.metrics.measure import Outcome
    from amctq.inference.metrics.score import Metric, Score
    from amctq.inference.session import Session

# These formats are meant for other devices. The MindIR file is compared in simulation.simulate.
_COMPARED = (ExportFormat.ASCEND, ExportFormat.FAKEQUANT)
QUANTIZED_ACCURACY, PTQ_ACCURACY = "quantized accuracy", "PTQ accuracy"


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """How good the float network and the quantized file are, on the same samples.

    Attributes:
        before: score of the exported float graph.
        after: score of the quantized file.
        difference: their paired difference.
    """

    before: Score
    after: Score
    difference: PairedDifference


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedFile:
    """A file compared with the QDQ graph of the same placement; both ran on this machine.

    Attributes:
        name: file name.
        agreement: of the two.
        noise: the float network compared with the QDQ graph: what quantization itself changes; measured only where the
            two files differ by more than is usual.
        score: of the file; None if calibration samples were used, which measure no accuracy, or without a metric.
    """

    name: str
    agreement: Agreement
    noise: Agreement | None = None
    score: Score | None = None


def measure_exports(
    exports: Exports, metric: Metric, before: Score, evaluation: Batches, reporter: Reporter
) -> tuple[Accuracy, Outcome]:
    """Run the measured file on every evaluation sample.

    Returns:
        The accuracy, and the file's outcome for each sample.
    """
    from amctq.inference.metrics.measure import measure

    with reporter.phase(QUANTIZED_ACCURACY, evaluation.images) as advance:
        outcome = measure(exports.measured.session, evaluation, metric, advance)
    difference = paired_difference(before, outcome.score)
    return Accuracy(before=before, after=outcome.score, difference=difference), outcome


def measure_speed(exports: Exports, batches: Batches, reporter: Reporter) -> Speed | None:
    """Compare the speed of the measured file with that of the float network; None if it is meant for another device."""
    from amctq.inference.speed import compare_speed

    exported = exports.measured
    if exported.form is ExportFormat.ASCEND or exported not in exports.files.values():
        return None  # the speed of a file for NPUs on a CPU has no meaning
    with reporter.phase("speed"):
        return compare_speed(exported.open_float(), exported.session, batches.first())


def compare_files(
    exports: Exports, before: Session, batches: Batches, metric: Metric | None, reporter: Reporter
) -> Mapping[ExportFormat, ComparedFile]:
    """Compare the files for NPUs and the fake-quantized files with the QDQ graph.

    Args:
        exports: the written files.
        before: runs the float network.
        batches: the evaluation samples; calibration samples if there are none.
        metric: measures the files too; None where nothing is measured.
        reporter: shows the phases.
    """
    from amctq.inference.agreement import compare_forward

    compared: dict[ExportFormat, ComparedFile] = {}
    noise: Agreement | None = None
    for file in exports.files.values():
        if not isinstance(file, ExportedFile) or file.form not in _COMPARED:
            continue
        scoring = None if metric is None else metric.start()
        with reporter.phase(file.name, batches.images) as advance:
            found = compare_forward(file.session, exports.reference.session, batches, advance, scoring)
        unusual = found.argmax_differences > allowed_differences(found.images, exported=True)
        if unusual and noise is None:
            with reporter.phase(NOISE, batches.images) as advance:
                noise = compare_forward(before, exports.reference.session, batches, advance)
        compared[file.form] = ComparedFile(
            name=file.name,
            agreement=found,
            noise=noise if unusual else None,
            score=None if scoring is None else scoring.finish(),
        )
    return compared
