"""Which tensors of a checkpoint are the network's.

A checkpoint of a training run also holds the state of its optimizer and of its callbacks, and its names may begin with
the name of the cell that the network was trained in.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from amctq.errors import InputError, listed
from amctq.networks.name_map import NameMap
from amctq.networks.parameter_names import Convention
from amctq.networks.tensor_file import Shape, StoredTensor, shown

# What MindSpore's optimizers put in front of a parameter's name for their own state (mindspore/nn/optim, mindspore/
# experimental/optim, nn/wrap); and amctq's own training.
_STATE = frozenset(
    "moments momentum moment moment1 moment2 vhat accum accum_update stat adam_m adam_v lamb_m lamb_v mean_grad "
    "mean_square linear prev step_size ax mu eta mu_product exp_avg exp_avg_sq exp_avg_sq_row exp_avg_sq_col exp_inf "
    "max_exp_avg_sq accu_grads momentum_buffer".split()
)
# Of these also state of parameters that the network does not have, such as those of a loss.
# The last line: keys of a PyTorch training run's dictionary.
_ALWAYS_STATE = frozenset(
    "moments momentum moment1 moment2 accum stat scale_sense amctq "
    "optimizer optimizers optimizer_states optimizer_state_dict optim optim_state_dict lr_scheduler lr_schedulers "
    "scheduler scheduler_state_dict scaler grad_scaler rng_state".split()
)
# Of amctq's retraining, whose record holds them; of THOR, which adds them to each layer; and of PyTorch's BatchNorm.
_STATE_SUFFIXES = (
    *(".clip_max", ".clip_min"),
    *(".matrix_a", ".matrix_g", ".matrix_a_cov", ".matrix_g_cov", ".a_normalizer", ".g_normalizer"),
    ".num_batches_tracked",
)
# Values of optimizers, loss scaling, schedules and callbacks.
_SCALARS = frozenset(
    "learning_rate lr global_step momentum loss_scale scale_sense scale_value counter current_iterator_step "
    "last_overflow_iterator_step beta1_power beta2_power afactor_step state_step step_t cov_step fake_param fake_lr "
    "weight_decay epoch epoch_num step step_num cur_epoch cur_step last_epoch ema_decay loss best best_acc acc "
    "accuracy top1 top5 graceful_exit graceful_init".split()
)
_NUMBERED = re.compile(r"(?:learning_rate|weight_decay)_group_\d+|matrix_[ag]_inv_\d+")
# Names that a cell usually has for the network inside it, and the dictionary of a PyTorch training run for its weights.
_WRAPPERS = frozenset(
    "network module backbone model net _backbone _network state_dict model_state_dict model_state params".split()
)
_SHOWN = 8  # kinds of state that a message names


@dataclass(frozen=True, kw_only=True)
class Match:
    """The tensors of a checkpoint, seen from a network.

    Attributes:
        convention: whose names they are, "MindSpore" or "PyTorch".
        prefix: what its names begin with in the checkpoint; empty in most.
        names: what the checkpoint should call a parameter, without the prefix, by the network's name of it.
        shapes: its shape there, by the same.
        tags: the name of its tensor, by the same; those that are not there are missing.
        unknown: names and shapes that neither the network nor a training run has, without the prefix.
        passed_over: what belongs to the training run, and how many tensors it is.
    """

    convention: str
    prefix: str
    names: Mapping[str, str]
    shapes: Mapping[str, Shape]
    tags: dict[str, str]
    unknown: dict[str, Shape]
    passed_over: dict[str, int]

    @property
    def renamed(self) -> dict[str, str]:
        """Those of the parameters that the checkpoint calls otherwise, with its names without the prefix."""
        return {own: self.names[own] for own in self.tags if self.names[own] != own}

    @property
    def expected(self) -> dict[str, Shape]:
        """Shapes of the parameters by their name in the checkpoint, without the prefix."""
        return {self.names[own]: shape for own, shape in self.shapes.items()}

    def found(self, stored: Mapping[str, StoredTensor]) -> dict[str, Shape]:
        """Shapes in the checkpoint of the parameters and of what is unknown, by the same names."""
        return {self.names[own]: stored[tag].shape for own, tag in self.tags.items()} | self.unknown

    def fitting(self, stored: Mapping[str, StoredTensor]) -> int:
        """How many parameters have their shape."""
        return sum(stored[tag].shape == self.shapes[own] for own, tag in self.tags.items())

    def is_whole(self, stored: Mapping[str, StoredTensor]) -> bool:
        """Whether the checkpoint has all of the network, and nothing that is unknown."""
        return not self.unknown and self.fitting(stored) == len(self.names)

    def __str__(self) -> str:
        """What a user should know of it; empty if the checkpoint holds only the network."""
        parts = []
        if self.renamed:
            own, name = next(iter(self.renamed.items()))
            whose = "PyTorch's names" if self.convention != "MindSpore" else "other names"
            parts.append(
                f"{len(self.renamed)} of {len(self.names)} parameters have {whose}, as {shown(name)} for {own}"
            )
        if self.prefix:
            parts.append(f"the network's names begin with {shown(self.prefix)} in it")
        if self.passed_over:
            kinds = [
                f"{shown(name)}" + (f" ({count})" if count > 1 else "") for name, count in self.passed_over.items()
            ]
            parts.append(f"passed over, not of the network: {listed(kinds, _SHOWN)}")
        return "; ".join(parts)


def best_match(
    conventions: Sequence[Convention],
    trained: Collection[str],
    stored: Mapping[str, StoredTensor],
    name_map: NameMap | None = None,
) -> Match:
    """Find the parameters of a network in a checkpoint, by the convention that fits best; the first one where all do.

    Args:
        conventions: names that the parameters may have.
        trained: the network's names of those that an optimizer trains.
        stored: the tensors of the checkpoint by name.
        name_map: names of a user, which come before those of the conventions.

    Raises:
        InputError: it holds the network more than once.
    """
    best: Match | None = None
    for convention in conventions:
        found = _match(convention, trained, stored, name_map)
        if found.is_whole(stored):
            return found
        if best is None or found.fitting(stored) > best.fitting(stored):
            best = found
    assert best is not None
    return best


def _match(
    convention: Convention, trained: Collection[str], stored: Mapping[str, StoredTensor], name_map: NameMap | None
) -> Match:
    names = convention.names if name_map is None else name_map.apply(convention.names)
    numbers = {tag: tensor for tag, tensor in stored.items() if tensor.is_number}
    # A user's name may be a whole one, or one behind the prefix.
    given = {own: tag for own, tag in names.items() if tag != convention.names[own] and tag in numbers}
    expected = {names[own]: shape for own, shape in convention.shapes.items() if own not in given}
    others = {tag: tensor for tag, tensor in stored.items() if tag not in given.values()}
    if expected:
        prefix, inside, unknown, passed_over = _divided(expected, {names[own] for own in trained}, others)
    else:
        prefix, inside, unknown, passed_over = "", {}, {}, Counter(map(_group, others))
    return Match(
        convention=convention.name,
        prefix=prefix,
        names=names,
        shapes=convention.shapes,
        tags={own: given.get(own) or inside[name] for own, name in names.items() if own in given or name in inside},
        unknown=unknown,
        passed_over=dict(passed_over),
    )


def _divided(
    expected: Mapping[str, Shape], trained: Collection[str], stored: Mapping[str, StoredTensor]
) -> tuple[str, dict[str, str], dict[str, Shape], Counter[str]]:
    """The prefix of the network in a checkpoint, its tensors behind it, what is unknown, and what is passed over."""
    numbers = {tag: tensor for tag, tensor in stored.items() if tensor.is_number}
    prefix = _prefix(expected, numbers)
    inside = {tag[len(prefix) :]: tag for tag in numbers if tag.startswith(prefix)}
    rest = {name: stored[tag] for name, tag in inside.items() if name not in expected}
    kinds = _kinds(rest, expected, trained)
    unknown = {name: tensor.shape for name, tensor in rest.items() if name not in kinds}
    ours = set(inside.values())
    outside = {tag: None for tag in stored if tag not in ours}
    # A network of few layers may be in a larger one by chance. A cell for training holds little beside the network.
    others = {tag: tensor.shape for tag, tensor in numbers.items() if tag in outside and not _is_state(tag)}
    if not _is_wrapper(prefix) and len(others) > len(expected):
        unknown |= others
    groups = [_group(tag) for tag in outside if tag not in unknown]
    return prefix, inside, unknown, Counter([*kinds.values(), *groups])


def _group(tag: str) -> str:
    return f"{tag.partition('.')[0]}.*" if "." in tag else tag


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
        choose = f'choose one with --name-map: {{"": {json.dumps(whole[0])}}}'
        raise InputError(message, hint=f"save a checkpoint of the one network that you mean, or {choose}")
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
