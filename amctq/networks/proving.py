"""Of the graphs that amctq can read from a network, the first that computes what the network itself does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from amctq.errors import CheckError, InputError, first_line

if TYPE_CHECKING:
    from amctq.data.inputs import Inputs
    from amctq.graph.float_graph import FloatGraph
    from amctq.inference.onnx_session import OnnxSession
    from amctq.inference.proof import ForwardProof
    from amctq.inference.session import Session
    from amctq.runtime import ResolvedDevice


@dataclass(frozen=True, kw_only=True, eq=False)
class ProvedGraph:
    """A float graph, what runs it, and the comparison with the network itself.

    Attributes:
        graph: the graph.
        session: runs it.
        proof: the comparison.
        unlike: how the network differs from it where it is run in the other way; None where it does not.
    """

    graph: FloatGraph
    session: OnnxSession
    proof: ForwardProof
    unlike: str | None = None


def first_proved(
    graphs: Iterable[FloatGraph],
    original: Session,
    inputs: Inputs,
    *,
    device: ResolvedDevice,
    runtime: str,
    compiled: Session | None = None,
) -> ProvedGraph:
    """The first of ``graphs`` that passes the proof. The next one is asked for only where one does not.

    Args:
        graphs: at least one.
        original: runs the network itself.
        inputs: a few samples.
        device: where MindSpore runs.
        runtime: what runs the network itself.
        compiled: runs it in MindSpore's graph mode, where ``original`` does so in pynative mode. MindSpore's modes do
            not agree about every operator, and has kernels for some in one mode only; what is exported is the graph.

    Raises:
        InputError: a runtime cannot run the network, or its outputs are no tensors, or not finite.
        CheckError: no graph computes what the network computes; this is said of the last one.
    """
    from amctq.inference.proof import CannotRunError

    failed: InputError | CheckError | None = None
    for graph in graphs:
        try:
            return _proved(graph, original, inputs, device=device, runtime=runtime)
        except (InputError, CheckError) as error:
            failed = error
    assert failed is not None
    if compiled is not None and isinstance(failed, (CannotRunError, CheckError)):
        with contextlib.suppress(InputError, CheckError):
            proved = _proved(graph, compiled, inputs, device=device, runtime=f"{runtime} in graph mode")
            return replace(proved, unlike=failed.message)
    raise failed


def _proved(
    graph: FloatGraph, original: Session, inputs: Inputs, *, device: ResolvedDevice, runtime: str
) -> ProvedGraph:
    from amctq.graph.choices import chosen_outputs
    from amctq.graph.rounding import coarse_outputs
    from amctq.inference.onnx_session import OnnxSession
    from amctq.inference.proof import forward_tolerance, prove_forward

    try:
        session = OnnxSession(graph.model)
    except Exception as error:
        message = f"onnxruntime cannot load the network: {first_line(error)}"
        raise InputError(message, hint="rewrite the named operation in construct() with a standard one") from error
    proof = prove_forward(
        original,
        session,
        inputs,
        tolerance=forward_tolerance(device.kind, half=bool(graph.half)),
        runtime=runtime,
        chosen=chosen_outputs(graph),
        coarse=coarse_outputs(graph),
    )
    return ProvedGraph(graph=graph, session=session, proof=proof)
