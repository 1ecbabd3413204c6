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

if TYPE_CHECKING:
    from amctq.inference.accuracy import LabelRanks, Outcome
    from amctq.inference.session import Session

# These formats are meant for other devices. The MindIR file is compared in simulation.simulate.
_COMPARED = (ExportFormat.ASCEND, ExportFormat.FAKEQUANT)
QUANTIZED_ACCURACY, PTQ_ACCURACY = "quantized accuracy", "PTQ accuracy"


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Accuracy of the float network and of the INT8 file on the same images.

    Attributes:
        float_ranks: label ranks of the exported float graph.
        int8_ranks: label ranks of the exported INT8 file.
        difference: their paired top-1 difference.
        speed: of both, measured in turns; None if the measured file is meant for another device.
    """

    float_ranks: LabelRanks
    int8_ranks: LabelRanks
    difference: PairedDifference
    speed: Speed | None


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedFile:
    """A file compared with the QDQ graph of the same placement; both ran on this machine.

    Attributes:
        name: file name.
        images: how many were compared.
        argmax_differences: number of images whose predicted class differs, without ties.
        ties: number of ties (inference/agreement.py).
        ranks: label ranks of the file; None if calibration images were used, which measure no accuracy.
    """

    name: str
    images: int
    argmax_differences: int
    ties: int
    ranks: LabelRanks | None

    @property
    def percent(self) -> float:
        """Percentage of images whose predicted class is the same, or a tie."""
        return 100.0 * (1.0 - self.argmax_differences / self.images)


def measure_exports(
    exports: Exports, float_ranks: LabelRanks, evaluation: Batches, reporter: Reporter
) -> tuple[Accuracy, Outcome]:
    """Run the measured file on every evaluation image, and compare its speed with the float network.

    Returns:
        The accuracy, and the file's outcome for each image.
    """
    from amctq.inference.accuracy import classify
    from amctq.inference.speed import compare_speed

    exported = exports.measured
    with reporter.phase(QUANTIZED_ACCURACY, evaluation.images) as advance:
        outcome = classify(exported.session, evaluation, advance)
    speed = None
    runs_elsewhere = exported.form is ExportFormat.ASCEND or exported not in exports.files.values()
    if not runs_elsewhere:  # the speed of a file for NPUs on a CPU has no meaning
        with reporter.phase("speed"):
            speed = compare_speed(exported.open_float(), exported.session, evaluation.first())
    accuracy = Accuracy(
        float_ranks=float_ranks,
        int8_ranks=outcome.ranks,
        difference=paired_difference(float_ranks.hits, outcome.ranks.hits),
        speed=speed,
    )
    return accuracy, outcome


def compare_files(
    exports: Exports, batches: Batches, measured: Outcome | None, reporter: Reporter
) -> Mapping[ExportFormat, ComparedFile]:
    """Compare the files for NPUs and the fake-quantized files with the QDQ graph.

    Args:
        exports: the written files.
        batches: the evaluation images; calibration images if there are none.
        measured: outcome of the measured file on these images; None if it was not run.
        reporter: shows the phases.
    """
    from amctq.inference.accuracy import classify
    from amctq.inference.agreement import count_ties

    files = [file for file in exports.files.values() if isinstance(file, ExportedFile) and file.form in _COMPARED]
    if not files:
        return {}
    qdq = exports.reference.session
    outcomes: dict[Session, Outcome] = {} if measured is None else {exports.measured.session: measured}
    sessions: dict[str, Session] = {"QDQ reference": qdq, **{file.name: file.session for file in files}}
    for name, session in sessions.items():
        if session not in outcomes:
            with reporter.phase(name, batches.images) as advance:
                outcomes[session] = classify(session, batches, advance)
    compared: dict[ExportFormat, ComparedFile] = {}
    for file in files:
        outcome = outcomes[file.session]
        differing = outcome.disagreeing(outcomes[qdq])
        ties = 0
        if len(differing):
            some = Batches(samples=batches.samples.take(differing), size=batches.size)
            ties = count_ties(file.session, qdq, some)
        compared[file.form] = ComparedFile(
            name=file.name,
            images=batches.images,
            argmax_differences=len(differing) - ties,
            ties=ties,
            ranks=None if measured is None else outcome.ranks,
        )
    return compared
