"""Simulation: MindSpore runs the quantized network, and the ONNX file is compared with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amctq.choices import ExportFormat
from amctq.data.samples import Batches, first_images
from amctq.errors import NoSimulationError
from amctq.progress import Reporter
from amctq.services.run.exports import ExportedFile, Exports

if TYPE_CHECKING:
    from amctq.backends.base import QuantizedNetwork
    from amctq.inference.agreement import Agreement

SIMULATED_IMAGES = 256  # at most, unless asked for: MindSpore takes several times as long as onnxruntime


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """The ONNX file compared with the quantized network as MindSpore computes it.

    Attributes:
        through: what MindSpore ran: the MindIR file or the live cells.
        exported: whether that was the MindIR file.
        agreement: the result of the comparison.
    """

    through: str
    exported: bool
    agreement: Agreement


def simulate(
    exports: Exports, quantized: QuantizedNetwork, batches: Batches, *, images: int, reporter: Reporter
) -> Simulation | None:
    """Compare MindSpore with onnxruntime. MindSpore runs the MindIR file if there is one, else the live cells.

    Returns:
        The comparison; None if no MindIR file was written and the network has no live cells that MindSpore can run.
    """
    from amctq.inference.agreement import compare_forward
    from amctq.inference.cell_session import CellSession

    some = Batches(samples=first_images(batches.samples, images), size=batches.size)
    reference = exports.reference.session
    mindir = exports.files.get(ExportFormat.MINDIR)
    if isinstance(mindir, ExportedFile):
        with reporter.phase("MindIR against ONNX", images) as advance:
            agreement = compare_forward(mindir.session, reference, some, advance)
        return Simulation(through=mindir.name, exported=True, agreement=agreement)
    try:
        with reporter.phase("simulation", images) as advance, quantized.simulation() as cell:
            agreement = compare_forward(CellSession(cell), reference, some, advance)
    except NoSimulationError as error:
        reporter.warn(f"the engine's own forward cannot run this network: {error.message}")
        return None
    return Simulation(through="MindSpore cells", exported=False, agreement=agreement)
