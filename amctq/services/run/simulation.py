"""Simulation: an independent computation of the quantized network, with which the ONNX file is compared.

MindSpore computes it: the MindIR file, or the live cells. Where neither is possible, onnxruntime computes it in float
arithmetic, without integer kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amctq.choices import ExportFormat
from amctq.data.inputs import Inputs
from amctq.data.samples import Batches, first_images
from amctq.errors import AmctqError, NoSimulationError, first_line
from amctq.inference.session import Outputs, Session
from amctq.progress import Reporter
from amctq.services.run.exports import ExportedFile, Exports

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.inference.agreement import Agreement

CELLS, FLOAT_ARITHMETIC = "MindSpore cells", "float arithmetic"
SIMULATION, MINDIR_AGAINST_ONNX = "simulation", "MindIR against ONNX"
SIMULATIONS = (SIMULATION, MINDIR_AGAINST_ONNX, FLOAT_ARITHMETIC)  # the phases of which one runs
NOISE = "float against quantized"  # a phase
SIMULATED_IMAGES = 256  # at most, unless asked for: MindSpore takes several times as long as onnxruntime


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """The ONNX file compared with an independent computation of the quantized network.

    Attributes:
        through: what ran: the MindIR file, ``MindSpore cells`` or ``float arithmetic``.
        exported: whether that was the MindIR file.
        agreement: the result of the comparison.
        noise: the float network compared with the quantized one: what quantization itself changes; measured only where
            the two computations of the quantized network differ by more than is usual.
    """

    through: str
    exported: bool
    agreement: Agreement
    noise: Agreement | None = None


def allowed_differences(images: int, *, exported: bool) -> int:
    """Number of images whose class may differ: between two files 0.2 %, but at least 2; for live cells 2 %."""
    return max(2, images // 500) if exported else -(-images // 50)


def simulate(
    exports: Exports,
    quantized: QuantizedNetwork,
    before: Session,
    batches: Batches,
    *,
    images: int,
    reporter: Reporter,
) -> Simulation:
    """Compare an independent computation with onnxruntime's integer kernels.

    MindSpore runs the MindIR file if there is one, else the live cells. If it cannot exchange their operators, or fails
    to run them, onnxruntime runs the graph in float arithmetic.

    Args:
        exports: the files.
        quantized: the network that they hold.
        before: runs the float network.
        batches: the images.
        images: how many of them are compared.
        reporter: shows the phases.
    """
    from amctq.inference.cell_session import CellSession
    from amctq.inference.onnx_session import OnnxSession

    some = Batches(samples=first_images(batches.samples, images), size=batches.size)
    compare = _Comparison(before=before, reference=exports.reference.session, batches=some, reporter=reporter)
    mindir = exports.files.get(ExportFormat.MINDIR)
    if isinstance(mindir, ExportedFile):
        return compare.run(mindir.session, MINDIR_AGAINST_ONNX, mindir.name, exported=True)
    try:
        with quantized.simulation() as cell:
            return compare.run(_ExchangedCells(CellSession(cell)), SIMULATION, CELLS)
    except NoSimulationError as error:
        reporter.info(f"MindSpore cells cannot run the quantized network ({error.message}); float arithmetic checks it")
    session = OnnxSession(quantized.float_arithmetic(), optimized=False)
    return compare.run(session, FLOAT_ARITHMETIC, FLOAT_ARITHMETIC)


@dataclass(frozen=True)
class _ExchangedCells(Session):
    """Runs cells that stand inside code of the user's, which may depend on what they have replaced."""

    cells: Session

    def run(self, inputs: Inputs) -> Outputs:
        """All outputs of the network for a batch.

        Raises:
            NoSimulationError: MindSpore or the user's code fails.
        """
        try:
            return self.cells.run(inputs)
        except (AmctqError, OSError, MemoryError):
            raise
        except Exception as error:
            raise NoSimulationError(first_line(error)) from error


@dataclass(frozen=True, kw_only=True)
class _Comparison:
    """What an independent computation is compared with, and on which images."""

    before: Session
    reference: Session
    batches: Batches
    reporter: Reporter

    def run(self, session: Session, phase: str, through: str, *, exported: bool = False) -> Simulation:
        from amctq.inference.agreement import SAME, compare_forward

        with self.reporter.phase(phase, self.batches.images) as advance:
            agreement = compare_forward(session, self.reference, self.batches, advance)
        noise = None
        allowed = allowed_differences(agreement.images, exported=exported)
        if agreement.mean_difference > SAME or agreement.argmax_differences > allowed:
            noise = self._noise(session)
        return Simulation(through=through, exported=exported, agreement=agreement, noise=noise)

    def _noise(self, session: Session) -> Agreement:
        """How far quantization moves the outputs: by the computation that is nearer to float.

        A fault of one of the two moves that one away from float, and would raise the limit that it is measured by.
        """
        from amctq.inference.agreement import compare_forward

        found = []
        for quantized in (self.reference, session):
            with self.reporter.phase(NOISE, self.batches.images) as advance:
                found.append(compare_forward(self.before, quantized, self.batches, advance))
        return min(found, key=lambda noise: noise.mean_difference)
