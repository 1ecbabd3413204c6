"""From a checkpoint to a float network whose exported graph is proved to be MindSpore's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amctq.backends.base import FloatNetwork
from amctq.errors import InputError, first_line
from amctq.files import writing
from amctq.models.checkpoint import load_checkpoint
from amctq.models.registry import ModelSpec
from amctq.progress import Narrator
from amctq.runtime import ResolvedDevice, load_mindspore

if TYPE_CHECKING:
    from amctq.data.samples import Batches
    from amctq.export.session import OnnxSession
    from amctq.export.verify import ForwardProof
    from amctq.quant.record import QuantRecord

# A wrong graph is wrong on every image, and MindSpore takes half a second for each of ResNet-50's.
_PROVED_IMAGES = 4


def named_record(record: QuantRecord, network: FloatNetwork, narrator: Narrator) -> QuantRecord:
    """A record in the network's own names, where another front end of AMCT has written it; says so.

    Raises:
        InputError: it names layers that the network lacks.
    """
    from amctq.quant.record_names import record_of

    found, names = record_of(record, network.topology)
    if names.renamed:
        one, own = next(iter(names.renamed.items()))
        narrator.info(f"{len(names.renamed)} of the record's {len(found.layers)} layers are renamed, as {one} to {own}")
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class ProvedNetwork:
    """A float network, ready to be measured and quantized.

    Attributes:
        network: the network.
        session: that runs its exported graph.
        proof: that this is what MindSpore computes.
    """

    network: FloatNetwork
    session: OnnxSession
    proof: ForwardProof


def load_network(
    *,
    spec: ModelSpec,
    ckpt: Path,
    num_classes: int,
    device: ResolvedDevice,
    examples: Batches,
    scratch: Path,
    narrator: Narrator,
) -> ProvedNetwork:
    """Build a network, load its checkpoint, export it, and compare the export with MindSpore on a few images.

    Args:
        spec: which network.
        ckpt: its checkpoint.
        num_classes: of the checkpoint.
        device: where MindSpore runs.
        examples: the first of them are compared.
        scratch: folder for working files; the caller removes it.
        narrator: is told of the phases, and of layers that stay in float.

    Raises:
        InputError: checkpoint or network are not what they must be.
        CheckError: the exported graph computes something else.
        UnavailableError: MindSpore does not work here.
    """
    with narrator.phase("mindspore"):
        mindspore = load_mindspore(device, scratch)

    def build() -> Any:
        built = spec.build(num_classes)
        load_checkpoint(ckpt, built, model=spec.name, num_classes=num_classes)
        return built

    with narrator.phase("checkpoint"):
        cell = build()
        # A user's file may have chosen graph mode; hooks work in the other one.
        mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    from amctq.backends.ascend import forward_tolerance
    from amctq.export.float_onnx import export_float
    from amctq.export.session import OnnxSession
    from amctq.export.verify import prove_forward
    from amctq.quant.topology import read_topology

    with narrator.phase("float export"), writing(scratch):
        graph = export_float(cell, examples.samples.input_shape, scratch / "float.onnx")
    topology = read_topology(graph)
    for layer in topology.left_in_float:
        narrator.warn(f"{layer.name} stays in float: {layer.reason}")
    try:
        session = OnnxSession(graph.model)
    except Exception as error:
        message = f"onnxruntime cannot run the network as MindSpore exports it: {first_line(error)}"
        raise InputError(message, hint="rewrite the named operation in construct() with a standard one") from error
    with narrator.phase("proof"):
        tolerance = forward_tolerance(device.kind)
        proof = prove_forward(cell, session, examples.first()[:_PROVED_IMAGES], tolerance=tolerance)
    network = FloatNetwork(cell=cell, graph=graph, topology=topology, rebuild=build, scratch=scratch)
    return ProvedNetwork(network=network, session=session, proof=proof)
