"""The ONNX file beside the quantized network as MindSpore computes it."""

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
        through: what MindSpore ran, the MindIR file or the live cells.
        exported: it was the MindIR file.
        agreement: what came of it.
    """

    through: str
    exported: bool
    agreement: Agreement


def simulate(
    exports: Exports, quantized: QuantizedNetwork, batches: Batches, *, images: int, reporter: Reporter
) -> Simulation | None:
    """Compare MindSpore with onnxruntime: through the MindIR file where there is one, else through the live cells.

    Returns:
        None where no MindIR was written and the network's layers are no cells of their own.
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
