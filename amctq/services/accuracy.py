"""Accuracy of what was exported, and whether all files of a run name the same classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from amctq.choices import ExportFormat
from amctq.data.samples import Batches
from amctq.progress import Narrator
from amctq.quant.paired import paired_difference
from amctq.services.checks import Accuracy
from amctq.services.exports import ExportedFile, Exports

if TYPE_CHECKING:
    from amctq.export.session import Session
    from amctq.export.verify import Outcome, Ranks

# Made to run elsewhere. MindIR, which is compared too, is MindSpore's own forward (exports.compare_own_forward).
_COMPARED = (ExportFormat.ASCEND, ExportFormat.FAKEQUANT)


@dataclass(frozen=True, kw_only=True, eq=False)
class ComparedFile:
    """A file beside the QDQ graph of the same placement, both run here.

    Attributes:
        name: of the file.
        images: how many were compared.
        argmax_differences: images whose class differs.
        ranks: of the file; None where the images calibrate and evaluate nothing.
    """

    name: str
    images: int
    argmax_differences: int
    ranks: Ranks | None

    @property
    def percent(self) -> float:
        """Images whose class is the same."""
        return 100.0 * (1.0 - self.argmax_differences / self.images)


def measure_exports(
    exports: Exports, float_ranks: Ranks, evaluation: Batches, narrator: Narrator
) -> tuple[Accuracy, Outcome]:
    """Run the measured file on every evaluation image, and time it beside the float network.

    Returns:
        The accuracy, and what the file said of each image.
    """
    from amctq.export import verify

    exported = exports.measured
    with narrator.phase("INT8 accuracy", evaluation.images) as advance:
        outcome = verify.classify(exported.session, evaluation, advance)
    speed = None
    runs_elsewhere = exported.form is ExportFormat.ASCEND or exported not in exports.files.values()
    if not runs_elsewhere:  # how fast a CPU computes what an NPU would says nothing of either
        with narrator.phase("speed"):
            speed = verify.compare_speed(exported.open_float(), exported.session, evaluation.first())
    accuracy = Accuracy(
        float_ranks=float_ranks,
        int8_ranks=outcome.ranks,
        difference=paired_difference(float_ranks.hits, outcome.ranks.hits),
        speed=speed,
    )
    return accuracy, outcome


def compare_files(
    exports: Exports, batches: Batches, measured: Outcome | None, narrator: Narrator
) -> Mapping[ExportFormat, ComparedFile]:
    """Run the files for NPUs and the fake-quantized ones beside the QDQ graph.

    Args:
        exports: what was written.
        batches: the evaluation images, or calibration images where there are none.
        measured: what the measured file said of them; None where it has not been asked.
        narrator: is told of the phases.
    """
    from amctq.export import verify

    files = [file for file in exports.files.values() if isinstance(file, ExportedFile) and file.form in _COMPARED]
    if not files:
        return {}
    qdq = exports.reference.session
    outcomes: dict[Session, Outcome] = {} if measured is None else {exports.measured.session: measured}
    sessions: dict[str, Session] = {"QDQ reference": qdq, **{file.name: file.session for file in files}}
    for name, session in sessions.items():
        if session not in outcomes:
            with narrator.phase(name, batches.images) as advance:
                outcomes[session] = verify.classify(session, batches, advance)
    reference = outcomes[qdq]
    return {
        file.form: ComparedFile(
            name=file.name,
            images=batches.images,
            argmax_differences=outcomes[file.session].disagreements(reference),
            ranks=None if measured is None else outcomes[file.session].ranks,
        )
        for file in files
    }
