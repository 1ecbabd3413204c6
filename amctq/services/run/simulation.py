"""Simulation: an independent computation of the quantized network, with which the ONNX file is compared.

MindSpore computes it: the MindIR file, or the live cells. Where neither is possible, onnxruntime computes it in float
arithmetic, without integer kernels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from amctq.choices import ExportFormat
from amctq.data.samples import Batches, first_images
from amctq.errors import NoSimulationError
from amctq.progress import Reporter
from amctq.services.run.exports import ExportedFile, Exports

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.inference.agreement import Agreement
    from amctq.inference.session import Session

CELLS, FLOAT_ARITHMETIC = "MindSpore cells", "float arithmetic"
SIMULATED_IMAGES = 256  # at most, unless asked for: MindSpore takes several times as long as onnxruntime


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """The ONNX file compared with an independent computation of the quantized network.

    Attributes:
        through: what ran: the MindIR file, ``MindSpore cells`` or ``float arithmetic``.
        exported: whether that was the MindIR file.
        agreement: the result of the comparison.
        noise: the float network compared with the file: what quantization itself changes; measured only where the two
            computations of the quantized network differ by more than ``agreement.SAME``.
    """

    through: str
    exported: bool
    agreement: Agreement
    noise: Agreement | None = None


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

    MindSpore runs the MindIR file if there is one, else the live cells. If it cannot exchange their operators,
    onnxruntime runs the graph in float arithmetic.

    Args:
        exports: the files.
        quantized: the network that they hold.
        before: runs the float network.
        batches: the images.
        images: how many of them are compared.
        reporter: shows the phases.
    """
    from amctq.inference.agreement import SAME, compare_forward

    some = Batches(samples=first_images(batches.samples, images), size=batches.size)
    simulation = _compared(exports, quantized, some, reporter)
    if simulation.agreement.mean_difference <= SAME:
        return simulation
    with reporter.phase("float against ONNX", images) as advance:
        noise = compare_forward(before, exports.reference.session, some, advance)
    return replace(simulation, noise=noise)


def _compared(exports: Exports, quantized: QuantizedNetwork, some: Batches, reporter: Reporter) -> Simulation:
    from amctq.inference.agreement import compare_forward
    from amctq.inference.cell_session import CellSession
    from amctq.inference.onnx_session import OnnxSession

    images = some.images
    reference = exports.reference.session
    mindir = exports.files.get(ExportFormat.MINDIR)
    if isinstance(mindir, ExportedFile):
        with reporter.phase("MindIR against ONNX", images) as advance:
            agreement = compare_forward(mindir.session, reference, some, advance)
        return Simulation(through=mindir.name, exported=True, agreement=agreement)
    try:
        with reporter.phase("simulation", images) as advance, quantized.simulation() as cell:
            agreement = compare_forward(CellSession(cell), reference, some, advance)
        return Simulation(through=CELLS, exported=False, agreement=agreement)
    except NoSimulationError as error:
        reporter.info(f"MindSpore cells cannot run the quantized network ({error.message}); float arithmetic checks it")
    with reporter.phase("float arithmetic", images) as advance:
        session = OnnxSession(quantized.float_arithmetic(), optimized=False)
        agreement = compare_forward(session, reference, some, advance)
    return Simulation(through=FLOAT_ARITHMETIC, exported=False, agreement=agreement)
