"""Which tensors of a checkpoint are the network's.

A checkpoint of a training run also holds the state of its optimizer and of its callbacks, and its names may begin with
the name of the cell that the network was trained in.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from amctq.errors import InputError
from amctq.networks.checkpoint_content import Shape, StoredTensor, shown

# What MindSpore's optimizers put in front of a parameter's name for their own state (mindspore/nn/optim, mindspore/
# experimental/optim, nn/wrap); and amctq's own training.
_STATE = frozenset(
    "moments momentum moment moment1 moment2 vhat accum accum_update stat adam_m adam_v lamb_m lamb_v mean_grad "
    "mean_square linear prev step_size ax mu eta mu_product exp_avg exp_avg_sq exp_avg_sq_row exp_avg_sq_col exp_inf "
    "max_exp_avg_sq accu_grads".split()
)
# Of these also state of parameters that the network does not have, such as those of a loss.
_ALWAYS_STATE = frozenset("moments momentum moment1 moment2 accum stat scale_sense amctq".split())
# Of amctq's retraining, whose record holds them; and of THOR, which adds them to each layer.
_STATE_SUFFIXES = (
    *(".clip_max", ".clip_min"),
    *(".matrix_a", ".matrix_g", ".matrix_a_cov", ".matrix_g_cov", ".a_normalizer", ".g_normalizer"),
)
# Values of optimizers, loss scaling, schedules and callbacks.
_SCALARS = frozenset(
    "learning_rate lr global_step momentum loss_scale scale_sense scale_value counter current_iterator_step "
    "last_overflow_iterator_step beta1_power beta2_power afactor_step state_step step_t cov_step fake_param fake_lr "
    "weight_decay epoch epoch_num step step_num cur_epoch cur_step last_epoch ema_decay loss best best_acc acc "
    "accuracy top1 top5 graceful_exit graceful_init".split()
)
_NUMBERED = re.compile(r"(?:learning_rate|weight_decay)_group_\d+|matrix_[ag]_inv_\d+")
# Names that a cell usually has for the network inside it.
_WRAPPERS = frozenset("network module backbone model net _backbone _network".split())
_SHOWN = 8  # kinds of state that a message names


@dataclass(frozen=True, kw_only=True)
class Match:
    """The tensors of a checkpoint, seen from a network.

    Attributes:
        prefix: what its names begin with in the checkpoint; empty in most.
        tags: the name in the checkpoint, by name of the parameter; those that are not there are missing.
        unknown: names and shapes that neither the network nor a training run has, without the prefix.
        passed_over: what belongs to the training run, and how many tensors it is.
    """

    prefix: str
    tags: dict[str, str]
    unknown: dict[str, Shape]
    passed_over: dict[str, int]

    def __str__(self) -> str:
        """What a user should know of it; empty if the checkpoint holds only the network."""
        parts = []
        if self.prefix:
            parts.append(f"the network's names begin with {shown(self.prefix)} in it")
        if self.passed_over:
            kinds = [
                f"{shown(name)}" + (f" ({count})" if count > 1 else "") for name, count in self.passed_over.items()
            ]
            more = f" and {len(kinds) - _SHOWN} more" if len(kinds) > _SHOWN else ""
            parts.append(f"passed over, not of the network: {', '.join(kinds[:_SHOWN])}{more}")
        return "; ".join(parts)


def match(expected: Mapping[str, Shape], trained: Collection[str], stored: Mapping[str, StoredTensor]) -> Match:
    """Find the parameters of a network in a checkpoint.

    Args:
        expected: shapes by name, of all parameters of the network.
        trained: names of those that an optimizer trains.
        stored: the tensors of the checkpoint by name.

    Raises:
        InputError: it holds the network more than once.
    """
    numbers = {tag: tensor for tag, tensor in stored.items() if tensor.is_number}
    prefix = _prefix(expected, numbers)
    inside = {tag[len(prefix) :]: tag for tag in numbers if tag.startswith(prefix)}
    tags = {name: inside[name] for name in expected if name in inside}
    rest = {name: stored[tag] for name, tag in inside.items() if name not in expected}
    kinds = _kinds(rest, expected, trained)
    unknown = {name: tensor.shape for name, tensor in rest.items() if name not in kinds}
    ours = set(inside.values())
    outside = {tag: None for tag in stored if tag not in ours}
    # A network of few layers may be in a larger one by chance. A cell for training holds little beside the network.
    others = {tag: tensor.shape for tag, tensor in numbers.items() if tag in outside and not _is_state(tag)}
    if not _is_wrapper(prefix) and len(others) > len(expected):
        unknown |= others
    groups = [f"{tag.partition('.')[0]}.*" if "." in tag else tag for tag in outside if tag not in unknown]
    return Match(prefix=prefix, tags=tags, unknown=unknown, passed_over=dict(Counter([*kinds.values(), *groups])))


def without_wrapper(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The same without the first part of all names, if all have the same: no known network has one cell only."""
    heads = {name.partition(".")[0] for name in shapes}
    one = len(heads) == 1 and all("." in name for name in shapes)
    return {name.partition(".")[2]: shape for name, shape in shapes.items()} if one else dict(shapes)


def _prefix(expected: Mapping[str, Shape], stored: Mapping[str, StoredTensor]) -> str:
    """What stands before the network's names: nothing, else what holds all of it, else what holds most of it.

    Raises:
        InputError: several prefixes hold all of it.
    """
    found: Counter[str] = Counter()
    fitting: Counter[str] = Counter()
    for tag, tensor in stored.items():
        for head, name in _divisions(tag, "."):
            if name in expected and not _is_state(head):
                found[head] += 1
                fitting[head] += tensor.shape == expected[name]
    whole = [head for head in found if fitting[head] == len(expected)]
    if "" in whole or not whole:
        return max(found, key=lambda head: (found[head], not head), default="")
    # A prefix before another one is that of a state which MindSpore does not have.
    whole = [head for head in whole if not any(head != other and head.endswith(f".{other}") for other in whole)]
    likely = list(filter(_is_wrapper, whole)) if len(whole) > 1 else whole
    if len(likely) != 1:
        message = f"it holds the network {len(whole)} times, under {', '.join(map(shown, whole[:_SHOWN]))}"
        raise InputError(message, hint="save a checkpoint of the one network that you mean")
    return likely[0]


def _kinds(rest: Mapping[str, StoredTensor], expected: Mapping[str, Shape], trained: Collection[str]) -> dict[str, str]:
    """The kind of state that a tensor is, by name; tensors that are none are left out."""
    kinds: dict[str, str] = {}
    others: dict[str, dict[str, str]] = {}
    for name, tensor in rest.items():
        head, own = next((pair for pair in _divisions(name, "._") if pair[1] in expected), ("", ""))
        if _is_scalar(name, tensor):
            kinds[name] = name
        elif name.endswith(_STATE_SUFFIXES):
            kinds[name] = f"*.{name.rpartition('.')[2]}"
        elif name.partition(".")[0] in _ALWAYS_STATE:
            kinds[name] = f"{name.partition('.')[0]}.*"
        elif own and _is_state(head):
            kinds[name] = f"{head}*"
        elif own and tensor.shape == expected[own]:
            others.setdefault(head, {})[own] = name
    for head, names in others.items():
        if set(trained) <= names.keys():  # else it may be a part of a larger network
            kinds |= dict.fromkeys(names.values(), f"{head}*")
    return kinds


def _divisions(name: str, separators: str) -> Iterator[tuple[str, str]]:
    """A name as head and tail, shortest head first; the separator belongs to the head."""
    yield "", name
    for position, character in enumerate(name, 1):
        if character in separators:
            yield name[:position], name[position:]


def _is_wrapper(prefix: str) -> bool:
    """Whether ``prefix`` is nothing, or the usual name of a cell around a network."""
    return not prefix or set(prefix.strip(".").split(".")) <= _WRAPPERS


def _is_state(head: str) -> bool:
    """Whether ``head`` stands before a parameter's name for a state of its optimizer."""
    return not _STATE.isdisjoint(part.strip("_") for part in head.split("."))


def _is_scalar(name: str, tensor: StoredTensor) -> bool:
    """Whether it is a value of an optimizer or a callback; a learning rate may be one for each step."""
    before, _, last = name.rpartition(".")
    single = math.prod(tensor.shape) == 1
    known = last in _SCALARS or _NUMBERED.fullmatch(last) is not None
    return (known and (single or not before)) or (single and not before and "Float" not in tensor.type)
