"""Loading a float network, and verifying amctq's graph of it against the network itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amctq.choices import Runtime
from amctq.data.inputs import InputSpec, part
from amctq.input_file import LoadedFile
from amctq.networks.checkpoint import read_checkpoint
from amctq.networks.checkpoint_match import Match
from amctq.networks.float_network import FloatNetwork
from amctq.networks.model_spec import ModelSpec
from amctq.networks.name_map import NameMap
from amctq.networks.proving import first_proved
from amctq.networks.signature import input_names
from amctq.progress import Reporter
from amctq.runtime import ResolvedDevice, load_mindspore

if TYPE_CHECKING:
    from amctq.data.samples import Batches
    from amctq.graph.float_graph import FloatGraph
    from amctq.inference.onnx_session import OnnxSession
    from amctq.inference.proof import ForwardProof
    from amctq.inference.session import FileSession, Session
    from amctq.networks.model_file import ModelFile

# A wrong graph is wrong on every image, and MindSpore takes half a second per image of ResNet-50.
_COMPARED_IMAGES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class VerifiedNetwork:
    """A float network whose graph computes what the network itself computes.

    Attributes:
        network: the network.
        loaded: the files with its parameters; first the one that the user named.
        session: runs its graph.
        proof: the comparison of the graph with the network itself.
        names: the names of its inputs, by those that the samples have.
    """

    network: FloatNetwork
    loaded: tuple[LoadedFile, ...]
    session: OnnxSession
    proof: ForwardProof
    names: Mapping[str, str]

    def session_in(self, runtime: Runtime) -> FileSession:
        """A session that runs the graph in a runtime, made once.

        Raises:
            UnavailableError: the runtime is not installed.
            CheckError: the runtime does not load the graph.
        """
        return self.session if runtime is Runtime.ONNXRUNTIME else self._in_openvino

    @cached_property
    def _in_openvino(self) -> FileSession:
        from amctq.inference.runtimes import open_onnx

        return open_onnx(self.network.graph.model.SerializeToString(), Runtime.OPENVINO)


def load_network(
    *,
    spec: ModelSpec,
    ckpt: Path | None,
    num_classes: int | None,
    device: ResolvedDevice,
    examples: Batches,
    scratch: Path,
    reporter: Reporter,
    amct_limits: str | None = None,
    beyond_amct: Container[str] = (),
    no_tables: str | None = None,
    name_map: NameMap | None = None,
) -> VerifiedNetwork:
    """Build a network and load its checkpoint, or read its file; compare the graph with it on a few samples.

    Args:
        spec: the network.
        ckpt: its checkpoint; None where the network is a file.
        num_classes: of the checkpoint; None where the network is a file.
        device: where MindSpore runs.
        examples: samples; the first of them are compared.
        scratch: folder for temporary files; the caller removes it.
        reporter: receives the phases, and a warning for each layer that stays in float.
        amct_limits: why only layers that AMCT can quantize are quantized; None where all are.
        beyond_amct: names of layers and embedding tables for which these limits do not hold.
        no_tables: why embedding tables stay in float; None where they are quantized.
        name_map: what the checkpoint calls parameters; None for the names of MindSpore or PyTorch.

    Raises:
        InputError: the checkpoint does not fit the network, or the network cannot be exported or run.
        CheckError: the exported graph does not compute what MindSpore computes.
        UnavailableError: MindSpore does not work here.
    """
    source = _Source(device=device, scratch=scratch, reporter=reporter)
    given = examples.samples.inputs
    if spec.file is not None:
        found = source.of_file(spec.file(), given)
    else:
        assert ckpt is not None
        assert num_classes is not None
        found = source.of_cells(spec, ckpt, num_classes, name_map, given)
    with reporter.phase("proof"):
        some = part(examples.renamed(found.names).first(), slice(_COMPARED_IMAGES))
        proved = first_proved(
            found.graphs, found.original, some, device=device, runtime=found.runtime, compiled=found.compiled
        )
    graph = proved.graph
    if proved.unlike is not None:
        reporter.warn(
            "MindSpore's two modes disagree about this network: in graph mode, in which it is exported, it computes "
            f"what amctq has read; in pynative mode: {proved.unlike}"
        )
    if graph.half:
        cells = ", ".join(cell or "the network itself" for cell in graph.half[:3]) + " …" * (len(graph.half) > 3)
        reporter.warn(f"parts of the network compute in float16 ({cells}); amctq quantizes them from float32")
    from amctq.graph.topology import read_topology

    topology = read_topology(graph)
    if amct_limits is not None:
        topology = topology.within_amct(amct_limits, but=beyond_amct)
    if no_tables is not None:
        topology = topology.without_tables(no_tables)
    for layer in topology.left_in_float:
        reporter.warn(f"{layer.name} stays in float: {layer.reason}")
    network = FloatNetwork(
        cell=found.cell,
        graph=graph,
        topology=topology,
        rebuild=found.rebuild,
        scratch=scratch,
        unlike=proved.unlike,
    )
    return VerifiedNetwork(
        network=network, loaded=found.loaded, session=proved.session, proof=proved.proof, names=found.names
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """A network before it is verified; ``cell`` and ``rebuild`` are None where it is a file.

    ``graphs`` yields the graph that amctq reads, and others if that is wrong; ``compiled`` runs the cell in graph mode.
    """

    graphs: Iterable[FloatGraph]
    original: Session
    runtime: str
    names: Mapping[str, str]
    loaded: tuple[LoadedFile, ...]
    compiled: Session | None = None
    cell: Any = None
    rebuild: Callable[[], Any] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Source:
    """Where networks come from."""

    device: ResolvedDevice
    scratch: Path
    reporter: Reporter

    def of_file(self, file: ModelFile, given: Mapping[str, InputSpec]) -> _Found:
        if file.needs_mindspore:
            with self.reporter.phase("mindspore"):
                load_mindspore(self.device, self.scratch)
        with self.reporter.phase("float export"):
            network = file.network(given, self.scratch)
        return _Found(
            graphs=(network.graph,),
            original=network.original,
            runtime=network.runtime,
            names=network.names,
            loaded=file.loaded,
        )

    def of_cells(
        self,
        spec: ModelSpec,
        ckpt: Path,
        num_classes: int,
        name_map: NameMap | None,
        given: Mapping[str, InputSpec],
    ) -> _Found:
        with self.reporter.phase("mindspore"):
            mindspore = load_mindspore(self.device, self.scratch)

        def loaded() -> tuple[Any, Match]:
            built = spec.build(num_classes)
            return built, checkpoint.load_into(built, model=spec.name, num_classes=num_classes, name_map=name_map)

        with self.reporter.phase("checkpoint"):
            checkpoint = read_checkpoint(ckpt, self.scratch)
            cell, matched = loaded()
            if str(matched):
                self.reporter.info(f"{ckpt}: {matched}")
            # A user's file may have set graph mode, in which hooks do not work.
            mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
        from amctq.inference.cell_session import CellSession, GraphModeSession
        from amctq.networks.float_onnx import float_graphs

        names = input_names(cell, given)
        with self.reporter.phase("float export"):
            graphs = float_graphs(cell, {names[name]: given[name] for name in names}, self.scratch / "float.mindir")
            first = next(graphs)
        return _Found(
            graphs=itertools.chain((first,), graphs),
            original=CellSession(cell),
            compiled=GraphModeSession(cell),
            runtime="MindSpore",
            names=names,
            loaded=(checkpoint.loaded,),
            cell=cell,
            rebuild=lambda: loaded()[0],
        )
