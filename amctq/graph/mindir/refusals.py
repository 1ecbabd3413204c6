"""What a network may not hold: randomness, changes of its own parameters, primitives that amctq does not know."""

from __future__ import annotations

from amctq.errors import InputError
from amctq.graph.mindir.model import UNREAD, Node
from amctq.graph.mindir.values import Type

# Primitives whose result is drawn at random.
_RANDOM = frozenset(
    {
        "Bernoulli",
        "BernoulliExt",
        "Dropout",
        "Dropout2D",
        "Dropout2dExt",
        "Dropout3D",
        "DropoutDoMask",
        "DropoutDoMaskExt",
        "DropoutExt",
        "DropoutGenMask",
        "DropoutGenMaskExt",
        "FuncDropoutExt",
        "Gamma",
        "InplaceBernoulliScalar",
        "InplaceBernoulliTensor",
        "InplaceExponential",
        "InplaceNormal",
        "InplaceRandom",
        "InplaceUniform",
        "Multinomial",
        "MultinomialExt",
        "NormalFloatFloat",
        "NormalFloatTensor",
        "NormalTensorFloat",
        "NormalTensorTensor",
        "Poisson",
        "RandExt",
        "RandInt",
        "RandIntLike",
        "RandLikeExt",
        "Randn",
        "RandnLike",
        "RandomChoiceWithMask",
        "RandomPoisson",
        "RandomShuffle",
        "RandpermExt",
        "RandpermV2",
        "StandardLaplace",
        "StandardNormal",
        "TruncatedNormal",
        "UniformCandidateSampler",
        "UniformExt",
        "UniformInt",
        "UniformReal",
    }
)
# Primitives that write to their first input, besides those whose name starts with Inplace or Assign. Others of the name
# Scatter yield a new tensor.
_WRITING = frozenset(
    {"ScatterNonAliasingAdd"}
    | {f"Scatter{kind}" for kind in ("Update", "Add", "Sub", "Mul", "Div", "Max", "Min")}
    | {f"ScatterNd{kind}" for kind in ("Update", "Add", "Sub", "Mul", "Div", "Max", "Min")}
)


def refuse_random(node: Node) -> None:
    """Refuse a primitive whose result is drawn at random.

    Raises:
        InputError: it is one.
    """
    if node.primitive in _RANDOM:
        message = f"the network's output is random: {node.primitive} ({node.place}) draws its values at run time"
        hint = "build the network in inference mode: set_train(False), drop rates 0, no noise in construct()"
        raise InputError(message, hint=hint)


def refuse_change(node: Node, parameter: str | None) -> None:
    """Refuse a primitive that changes a parameter of the network.

    Args:
        node: the primitive.
        parameter: name of the parameter that is its first input, None where that is no parameter.

    Raises:
        InputError: it is one.
    """
    writes = node.primitive.startswith(("Inplace", "Assign")) or node.primitive in _WRITING
    if parameter is not None and writes:
        message = f"the network changes its own parameter {parameter}: {node.primitive} ({node.place})"
        hint = "compute without changing parameters when the network is not training; keep such values in local names"
        raise InputError(message, hint=hint)


def refuse_type(node: Node) -> None:
    """Refuse a primitive that computes in a type that amctq does not read.

    Raises:
        InputError: it does.
    """
    if isinstance(node.type, Type) and node.type.dtype in UNREAD.values():
        message = f"the network computes in {node.type.dtype}: {node.primitive} ({node.place})"
        raise InputError(message, hint="compute in float32 or float16")


def unknown(node: Node) -> InputError:
    """The error for a primitive that no function is registered for."""
    message = f"amctq does not know the primitive {node.primitive} ({node.place})"
    hint = "write that operation with others that amctq knows: docs/en/own-networks.md lists them"
    return InputError(message, hint=hint)


def unreadable(node: Node, error: Exception) -> InputError:
    """The error for a use of a primitive that its function did not expect."""
    message = f"{node.primitive} ({node.place}): amctq cannot read this use of it ({type(error).__name__}: {error})"
    hint = "write that operation in another way in construct(), and please report it with the network"
    return InputError(message, hint=hint)
