"""Write the files of a quantized network, and open them again to run them.

The reference for comparisons is the QDQ graph of the same placement in onnxruntime. If ONNX was not asked for,
this graph is written into the scratch folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from amctq.backends.base import FinishedNetwork, OpaqueNetwork, QuantizedNetwork
from amctq.choices import ExportFormat, Runtime
from amctq.files import OutputDirectory, writing
from amctq.networks.verified import VerifiedNetwork
from amctq.progress import Reporter

if TYPE_CHECKING:
    from amctq.inference.session import FileSession, Session


_FASTEST_FIRST = (ExportFormat.ONNX, ExportFormat.MINDIR, ExportFormat.FAKEQUANT, ExportFormat.ASCEND)
REFERENCE = "ONNX graph on the same scales, not among the files"


@dataclass(frozen=True, kw_only=True, eq=False)
class WrittenFile:
    """A file of the quantized network, with the size of the float network in the same format.

    Attributes:
        form: the format.
        name: file name in the output directory.
        bytes: size of the file.
        float_bytes: size of the float network, as MindSpore itself exports it in this format. For an AIR file it is
            the size of the float ONNX file, because only an NPU can write a float AIR file.
    """

    form: ExportFormat
    name: str
    bytes: int
    float_bytes: int

    @property
    def ratio(self) -> float:
        """Size of the file divided by the size of the float file."""
        return self.bytes / self.float_bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedFile(WrittenFile):
    """A file that can run on this machine.

    Attributes:
        session: runs the file.
        open_float: returns a session that runs the float network in the same engine.
    """

    session: FileSession
    open_float: Callable[[], Session]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exports:
    """The files that a run has written.

    Attributes:
        files: the files by format, in the order asked for.
        reference: the ONNX file; if ONNX was not asked for, the ONNX graph of the same placement.
    """

    files: Mapping[ExportFormat, WrittenFile]
    reference: ExportedFile

    @property
    def measured(self) -> ExportedFile:
        """The file whose accuracy and speed are reported: the fastest that can run on this machine.

        If none can, it is the reference, which has the same scales.
        """
        runnable = [file for file in self.files.values() if isinstance(file, ExportedFile)]
        return min(runnable, key=lambda file: _FASTEST_FIRST.index(file.form), default=self.reference)

    @property
    def not_run(self) -> tuple[str, ...]:
        """Names of the files that cannot run on this machine."""
        return tuple(file.name for file in self.files.values() if not isinstance(file, ExportedFile))


def export_all(
    quantized: QuantizedNetwork,
    verified: VerifiedNetwork,
    names: Mapping[ExportFormat, str],
    metadata: Mapping[str, str],
    output: OutputDirectory,
    reporter: Reporter,
    *,
    runtime: Runtime,
) -> Exports:
    """Write every format asked for, and open what was written.

    Args:
        quantized: the quantized network.
        verified: the float network.
        names: file names by format.
        metadata: is written into the files.
        output: where the files are staged.
        reporter: shows the phase.
        runtime: what runs ONNX files here.

    Raises:
        InputError: the network cannot be written in a format.
        CheckError: a written file is not valid.
        WriteError: the disk is full.
    """
    with reporter.phase("export"):
        writer = _Writer(verified=verified, output=output, runtime=runtime)
        files = {form: writer.written(form, name, quantized, metadata) for form, name in names.items()}
        onnx = files.get(ExportFormat.ONNX)
        if isinstance(onnx, ExportedFile):
            return Exports(files=files, reference=onnx)
        path = output.scratch() / "reference.onnx"
        with writing(output.path):
            quantized.export(ExportFormat.ONNX, path, metadata)
            reference = writer.opened(ExportFormat.ONNX, path)
        return Exports(files=files, reference=replace(reference, name=REFERENCE))


def export_opaque(
    opaque: OpaqueNetwork,
    verified: VerifiedNetwork,
    names: Mapping[ExportFormat, str],
    output: OutputDirectory,
    reporter: Reporter,
) -> Mapping[ExportFormat, WrittenFile]:
    """Write every format asked for, of a network that cannot run on this machine.

    Raises:
        AmctqError: as ``export_all``.
    """
    with reporter.phase("export"):
        writer = _Writer(verified=verified, output=output, runtime=Runtime.ONNXRUNTIME)
        return {form: writer.written(form, name, opaque, {}) for form, name in names.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class _Writer:
    """Writes files, and opens them to run them.

    Attributes:
        verified: the float network.
        output: where the files are staged.
        runtime: what runs ONNX files here.
    """

    verified: VerifiedNetwork
    output: OutputDirectory
    runtime: Runtime

    def written(
        self, form: ExportFormat, name: str, finished: FinishedNetwork, metadata: Mapping[str, str]
    ) -> WrittenFile:
        staged = self.output.staged(name)
        with writing(self.output.path / name):
            if form is ExportFormat.MSLITE:
                return self.for_converter(name, staged)
            finished.export(form, staged, metadata)
            if form is ExportFormat.AIR:  # runs on an NPU, after ATC
                float_bytes = self.verified.network.graph.file_bytes
                return WrittenFile(form=form, name=name, bytes=staged.stat().st_size, float_bytes=float_bytes)
            return self.opened(form, staged)

    def for_converter(self, name: str, staged: Path) -> WrittenFile:
        """The float network as MindIR, which converter_lite quantizes, for one sample at a time."""
        from amctq.networks.mindir import export_plain

        network = self.verified.network
        export_plain(network.cell, network.graph.inputs, staged, batch=1)
        size = staged.stat().st_size
        return WrittenFile(form=ExportFormat.MSLITE, name=name, bytes=size, float_bytes=size)

    def opened(self, form: ExportFormat, staged: Path) -> ExportedFile:
        content = staged.read_bytes()
        network = self.verified.network
        if form is ExportFormat.MINDIR:
            from amctq.inference.mindir_session import MindirSession
            from amctq.networks.mindir import export_plain

            plain = self.output.scratch() / "float.mindir"
            export_plain(network.cell, network.graph.inputs, plain, batch=network.mindir_batch)
            return ExportedFile(
                form=form,
                name=staged.name,
                bytes=len(content),
                float_bytes=plain.stat().st_size,
                session=MindirSession(content),
                open_float=lambda: MindirSession(plain.read_bytes()),
            )
        from amctq.inference.runtimes import open_onnx

        # Of the files, only QDQ is read by other runtimes.
        runtime = self.runtime if form is ExportFormat.ONNX else Runtime.ONNXRUNTIME
        return ExportedFile(
            form=form,
            name=staged.name,
            bytes=len(content),
            float_bytes=network.graph.file_bytes,
            session=open_onnx(content, runtime),
            open_float=lambda: self.verified.session_in(runtime),
        )
