"""Loading a float network from a checkpoint, and verifying its exported graph against MindSpore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amctq.data.inputs import part
from amctq.errors import InputError, first_line
from amctq.files import writing
from amctq.networks.checkpoint import Checkpoint, read_checkpoint
from amctq.networks.checkpoint_match import Match
from amctq.networks.float_network import FloatNetwork
from amctq.networks.model_spec import ModelSpec
from amctq.networks.name_map import NameMap
from amctq.networks.signature import input_names
from amctq.progress import Reporter
from amctq.runtime import ResolvedDevice, load_mindspore

if TYPE_CHECKING:
    from amctq.data.samples import Batches
    from amctq.inference.onnx_session import OnnxSession
    from amctq.inference.proof import ForwardProof

# A wrong graph is wrong on every image, and MindSpore takes half a second per image of ResNet-50.
_COMPARED_IMAGES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class VerifiedNetwork:
    """A float network whose exported graph computes what MindSpore computes.

    Attributes:
        network: the network.
        checkpoint: the file with its parameters.
        session: runs its exported graph.
        proof: the comparison of the exported graph with MindSpore.
        names: the names of its inputs, by those that the samples have.
    """

    network: FloatNetwork
    checkpoint: Checkpoint
    session: OnnxSession
    proof: ForwardProof
    names: Mapping[str, str]


def load_network(
    *,
    spec: ModelSpec,
    ckpt: Path,
    num_classes: int,
    device: ResolvedDevice,
    examples: Batches,
    scratch: Path,
    reporter: Reporter,
    amct_limits: str | None = None,
    name_map: NameMap | None = None,
) -> VerifiedNetwork:
    """Build a network, load its checkpoint, export it, and compare the export with MindSpore on a few samples.

    Args:
        spec: the network.
        ckpt: its checkpoint.
        num_classes: of the checkpoint.
        device: where MindSpore runs.
        examples: samples; the first of them are compared.
        scratch: folder for temporary files; the caller removes it.
        reporter: receives the phases, and a warning for each layer that stays in float.
        amct_limits: why only layers that AMCT can quantize are quantized; None where all are.
        name_map: what the checkpoint calls parameters; None for the names of MindSpore or PyTorch.

    Raises:
        InputError: the checkpoint does not fit the network, or the network cannot be exported or run.
        CheckError: the exported graph does not compute what MindSpore computes.
        UnavailableError: MindSpore does not work here.
    """
    with reporter.phase("mindspore"):
        mindspore = load_mindspore(device, scratch)

    def loaded() -> tuple[Any, Match]:
        built = spec.build(num_classes)
        return built, checkpoint.load_into(built, model=spec.name, num_classes=num_classes, name_map=name_map)

    with reporter.phase("checkpoint"):
        checkpoint = read_checkpoint(ckpt, scratch)
        cell, matched = loaded()
        if str(matched):
            reporter.info(f"{ckpt}: {matched}")
        # A user's file may have set graph mode, in which hooks do not work.
        mindspore.set_context(mode=mindspore.PYNATIVE_MODE)
    from amctq.graph.choices import chosen_outputs
    from amctq.graph.topology import read_topology
    from amctq.inference.onnx_session import OnnxSession
    from amctq.inference.proof import forward_tolerance, prove_forward
    from amctq.networks.float_onnx import export_float

    names = input_names(cell, examples.samples.inputs)
    examples = examples.renamed(names)
    with reporter.phase("float export"), writing(scratch):
        graph = export_float(cell, examples.samples.inputs, scratch / "float.mindir")
    if graph.half:
        cells = ", ".join(cell or "the network itself" for cell in graph.half[:3]) + " …" * (len(graph.half) > 3)
        reporter.warn(f"parts of the network compute in float16 ({cells}); amctq quantizes them from float32")
    topology = read_topology(graph)
    if amct_limits is not None:
        topology = topology.within_amct(amct_limits)
    for layer in topology.left_in_float:
        reporter.warn(f"{layer.name} stays in float: {layer.reason}")
    try:
        session = OnnxSession(graph.model)
    except Exception as error:
        message = f"onnxruntime cannot load the network: {first_line(error)}"
        raise InputError(message, hint="rewrite the named operation in construct() with a standard one") from error
    with reporter.phase("proof"):
        tolerance = forward_tolerance(device.kind, half=bool(graph.half))
        compared = part(examples.first(), slice(_COMPARED_IMAGES))
        proof = prove_forward(cell, session, compared, tolerance=tolerance, chosen=chosen_outputs(graph))
    network = FloatNetwork(cell=cell, graph=graph, topology=topology, rebuild=lambda: loaded()[0], scratch=scratch)
    return VerifiedNetwork(network=network, checkpoint=checkpoint, session=session, proof=proof, names=names)
