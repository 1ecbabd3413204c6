"""The files of a quantized network: written, opened again, and compared with each other.

What MindSpore runs is compared with the QDQ graph of the same placement in onnxruntime, the reference. Where nobody
asked for ONNX, that graph is written into scratch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import QuantizedNetwork
from amctq.choices import ExportFormat
from amctq.data.samples import Batches, first_images
from amctq.errors import NotSimulatedError
from amctq.files import OutputDirectory, writing
from amctq.progress import Narrator
from amctq.services.network import ProvedNetwork

if TYPE_CHECKING:
    from amctq.export.session import FileSession, Session
    from amctq.export.verify import Agreement


_FASTEST_FIRST = (ExportFormat.ONNX, ExportFormat.MINDIR, ExportFormat.FAKEQUANT, ExportFormat.ASCEND, ExportFormat.AIR)


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedFile:
    """A quantized network in one format, beside the float network in the same.

    Attributes:
        form: the format.
        name: of the file, in the output directory.
        bytes: its size.
        float_bytes: size of the float network, as MindSpore itself exports it in this format.
        session: runs the file.
        open_float: gives what runs the float network in the same engine.
    """

    form: ExportFormat
    name: str
    bytes: int
    float_bytes: int
    session: FileSession
    open_float: Callable[[], Session]

    @property
    def ratio(self) -> float:
        """Size against the float file."""
        return self.bytes / self.float_bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Exports:
    """What a run has written.

    Attributes:
        files: by format, in the order asked for.
        reference: runs the ONNX file, whose placement the other files have.
    """

    files: Mapping[ExportFormat, ExportedFile]
    reference: Session

    @property
    def measured(self) -> ExportedFile:
        """The file whose accuracy and speed are the run's: of those that were written, the one that runs fastest."""
        return next(self.files[form] for form in _FASTEST_FIRST if form in self.files)


def export_all(
    quantized: QuantizedNetwork,
    proved: ProvedNetwork,
    names: Mapping[ExportFormat, str],
    metadata: Mapping[str, str],
    output: OutputDirectory,
    narrator: Narrator,
) -> Exports:
    """Write every format asked for, and open what was written.

    Args:
        quantized: the network.
        proved: the float network.
        names: file names by format.
        metadata: stands in the files.
        output: where they are staged.
        narrator: is told of the phase.

    Raises:
        InputError: the network cannot be written in a format.
        CheckError: a written file is not valid.
        WriteError: there is no room.
    """
    files = {}
    with narrator.phase("export"):
        for form, name in names.items():
            staged = output.staged(name)
            with writing(output.path / name):
                quantized.export(form, staged, metadata)
                files[form] = _opened(form, staged, proved, output.scratch())
        if ExportFormat.ONNX in files:
            return Exports(files=files, reference=files[ExportFormat.ONNX].session)
        from amctq.export.session import OnnxSession

        reference = output.scratch() / "reference.onnx"
        with writing(output.path):
            quantized.export(ExportFormat.ONNX, reference, metadata)
            return Exports(files=files, reference=OnnxSession(reference.read_bytes()))


def _opened(form: ExportFormat, staged: Path, proved: ProvedNetwork, scratch: Path) -> ExportedFile:
    content = staged.read_bytes()
    graph = proved.network.graph
    if form is ExportFormat.MINDIR:
        from amctq.export.mindir import export_plain
        from amctq.export.mindir_session import MindirSession

        plain = scratch / "float.mindir"
        export_plain(proved.network.cell, graph.input_shape, plain)
        return ExportedFile(
            form=form,
            name=staged.name,
            bytes=len(content),
            float_bytes=plain.stat().st_size,
            session=MindirSession(content),
            open_float=lambda: MindirSession(plain.read_bytes()),
        )
    from amctq.export.session import onnx_session

    return ExportedFile(
        form=form,
        name=staged.name,
        bytes=len(content),
        float_bytes=graph.file_bytes,
        session=onnx_session(content),
        open_float=lambda: proved.session,
    )


@dataclass(frozen=True, kw_only=True)
class OwnForward:
    """The ONNX file compared with the quantized network as MindSpore computes it.

    Attributes:
        through: what MindSpore ran, the MindIR file or the live cells.
        exported: it was the MindIR file.
        agreement: what came of it.
    """

    through: str
    exported: bool
    agreement: Agreement


def compare_own_forward(
    exports: Exports, quantized: QuantizedNetwork, batches: Batches, *, images: int, narrator: Narrator
) -> OwnForward | None:
    """Compare MindSpore with onnxruntime: through the MindIR file where there is one, else through the live cells.

    Returns:
        None where no MindIR was written and the network's layers are no cells of their own.
    """
    from amctq.export.session import CellSession
    from amctq.export.verify import compare_forward

    some = Batches(samples=first_images(batches.samples, images), size=batches.size)
    mindir = exports.files.get(ExportFormat.MINDIR)
    if mindir is not None:
        with narrator.phase("MindIR against ONNX", images) as advance:
            agreement = compare_forward(mindir.session, exports.reference, some, advance)
        return OwnForward(through=mindir.name, exported=True, agreement=agreement)
    try:
        with narrator.phase("simulation", images) as advance, quantized.simulated() as cell:
            agreement = compare_forward(CellSession(cell), exports.reference, some, advance)
    except NotSimulatedError as error:
        narrator.warn(f"the engine's own forward cannot run this network: {error.message}")
        return None
    return OwnForward(through="MindSpore cells", exported=False, agreement=agreement)
