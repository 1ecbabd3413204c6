"""The tensors in what a pickle of PyTorch holds: their names, and where their elements lie."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from amctq.networks.tensor_file import (
    ITEM,
    MOST_AXES,
    CheckpointError,
    DamagedCheckpointError,
    Shape,
    StoredTensor,
    checked_name,
    is_shape,
    shown,
)
from amctq.networks.torch_calls import SAVE_TENSORS, Call, Foreign, Name, Persistent, Table

# MindSpore's name of a type by PyTorch's name of it, and by the class of a storage.
_TYPES = {
    **dict(zip("float64 float32 float16 bfloat16".split(), "Float64 Float32 Float16 BFloat16".split(), strict=True)),
    **{f"{sign}int{bits}": f"{sign.upper()}Int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bool": "Bool",
}
_STORAGES = {
    **dict(zip("Double Float Half BFloat16".split(), "Float64 Float32 Float16 BFloat16".split(), strict=True)),
    **dict(zip("Long Int Short Char Byte Bool".split(), "Int64 Int32 Int16 Int8 UInt8 Bool".split(), strict=True)),
    "Untyped": "UInt8",
}
_DEEPEST = 24
_MOST_VISITS = 4_000_000  # values that are looked at: a pickle may hold one list in another as often as it likes
_MOST = 1 << 48  # elements of a storage


@dataclass(frozen=True, kw_only=True)
class StorageView:
    """A part of a storage, in which tensors lie.

    Attributes:
        key: of the storage in the file.
        type: MindSpore's name of its elements; another one where MindSpore has no such type.
        elements: of the whole storage.
        first: where the part begins, in elements.
        length: of the part, in elements.
    """

    key: str
    type: str
    elements: int
    first: int
    length: int


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A tensor within a storage.

    Attributes:
        tensor: its type and shape.
        storage: where it lies.
        first: where its first element lies, in elements of its type from the begin of the whole storage.
        strides: in elements.
    """

    tensor: StoredTensor
    storage: StorageView
    first: int
    strides: Shape


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a pickle holds for amctq.

    Attributes:
        layouts: the tensors by name; the keys of dictionaries within each other, joined by dots.
        modules: the class of each pickled module, by name.
    """

    layouts: dict[str, Layout]
    modules: dict[str, str]


def contents_of(root: Any) -> Contents:
    """The tensors within the value of a pickle.

    Raises:
        CheckpointError: it holds none by name, or is made to be looked at for ever.
        DamagedCheckpointError: a tensor is not possible.
    """
    if isinstance(root, Foreign):
        what = "a whole pickled module" if root.is_module else "an object"
        reason = f"holds {what} of class {shown(root.name)}, expected tensors by name"
        raise CheckpointError(reason, hint=SAVE_TENSORS)
    if not isinstance(root, Table):
        what = "a tensor without a name" if isinstance(root, Call) else f"a {type(root).__name__}"
        reason = f"holds {what}, expected tensors by name"
        raise CheckpointError(reason, hint=SAVE_TENSORS)
    layouts: dict[str, Layout] = {}
    modules: dict[str, str] = {}
    for name, value in _walk(root):
        if isinstance(value, Foreign):
            if value.is_module:
                modules[name] = value.name
            continue
        if (layout := _layout(value, name)) is None:
            continue
        if checked_name(name) in layouts:
            reason = f"{shown(name)} occurs in two places"
            raise DamagedCheckpointError(reason)
        layouts[name] = layout
    if not layouts:
        pickled = "".join(f"; {shown(name)} in it is a whole pickled {shown(kind)}" for name, kind in modules.items())
        reason = f"holds no tensor by name{pickled[:500]}"
        raise CheckpointError(reason, hint=SAVE_TENSORS)
    return Contents(layouts=layouts, modules=modules)


def _walk(root: Table) -> Iterator[tuple[str, Any]]:
    """Every call and every foreign object with its name; dictionaries and lists are gone through, in their order."""
    left = _MOST_VISITS
    waiting: list[tuple[str, int, Any]] = [("", 0, root)]
    while waiting:
        name, depth, value = waiting.pop()
        if isinstance(value, (Call, Foreign)):
            yield name, value
        elif isinstance(value, (Table, list, tuple)):
            pairs = value.items if isinstance(value, Table) else list(enumerate(value))
            left -= len(pairs)
            if left < 0 or depth > _DEEPEST:
                limit = f"more than {_MOST_VISITS:,} values" if left < 0 else f"values nested more than {_DEEPEST} deep"
                reason = f"holds {limit}"
                raise CheckpointError(reason, hint=SAVE_TENSORS)
            before = f"{checked_name(name)}." if name else ""
            waiting += [(f"{before}{key}", depth + 1, item) for key, item in reversed(dict(_keyed(pairs)).items())]


def _keyed(pairs: Any) -> Iterator[tuple[str, Any]]:
    """The pairs whose values may hold tensors, by a key that can be a part of a name."""
    for key, value in pairs:
        if isinstance(value, (Call, Foreign, Table, list, tuple)) and isinstance(key, (str, int)) and key != "":
            yield (checked_name(key) if isinstance(key, str) else f"{key % _MOST}"), value


def _layout(call: Call, name: str) -> Layout | None:
    """The tensor that a call makes; None where it makes another value.

    Raises:
        DamagedCheckpointError: there is no such tensor.
    """
    try:
        for _ in range(_DEEPEST):
            if call.name in _WRAPPERS:
                call = _WRAPPERS[call.name](call.arguments)
                if not isinstance(call, Call):
                    return None
            else:
                return _dense(call)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"{shown(name)} is no tensor that PyTorch writes"
        raise DamagedCheckpointError(reason) from error
    except DamagedCheckpointError as defect:
        reason = f"{shown(name)} {defect}"
        raise DamagedCheckpointError(reason) from None
    return None


def _of_subclass(arguments: Any) -> Call:
    """_rebuild_from_type_v2: a function, a class, the function's arguments, and attributes."""
    function, _, inner, _ = arguments
    return Call(function.text.rpartition(".")[2], inner)


_WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "_rebuild_parameter": lambda arguments: arguments[0],
    "_rebuild_parameter_with_state": lambda arguments: arguments[0],
    "_rebuild_device_tensor_from_cpu_tensor": lambda arguments: arguments[0],
    "_rebuild_from_type_v2": _of_subclass,
}


def _dense(call: Call) -> Layout | None:
    if call.name not in {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"}:
        return _unreadable(call.name)
    persistent, first, shape, strides, *more = call.arguments
    storage = storage_of(persistent)
    kind = storage.type
    if call.name == "_rebuild_tensor_v3":
        kind = _type_of(more[2])
    if any(isinstance(extra, Table) and any(value is True for _, value in extra.items) for extra in more[2:]):
        return _unreadable("a conjugated or negated view")
    if len(shape) > MOST_AXES or len(shape) != len(strides):
        reason = f"has {len(shape)} axes and {len(strides)} strides, expected the same number, at most {MOST_AXES}"
        raise DamagedCheckpointError(reason)
    if not is_shape(shape) or not all(map(_is_count, (first, *strides))):
        shape_, strides_ = shown(str(list(shape))), shown(str(list(strides)))
        reason = f"has the shape {shape_}, strides {strides_} and offset {shown(str(first))}"
        raise DamagedCheckpointError(reason)
    tensor = StoredTensor(type=kind, shape=tuple(shape))
    if tensor.is_number and storage.type in ITEM:
        last = first + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) + 1
        has = storage.length * ITEM[storage.type] // ITEM[kind]
        if math.prod(shape) and last > has:
            reason = f"takes {last:,} elements of a storage that has {has:,}"
            raise DamagedCheckpointError(reason)
    begin = storage.first * ITEM.get(storage.type, 1) // ITEM.get(kind, 1)
    return Layout(tensor=tensor, storage=storage, first=begin + first, strides=tuple(strides))


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < _MOST


def _unreadable(kind: str) -> Layout:
    """A tensor of a kind that no parameter is loaded from: sparse, quantized, nested."""
    nowhere = StorageView(key="", type=kind, elements=0, first=0, length=0)
    return Layout(tensor=StoredTensor(type=kind, shape=()), storage=nowhere, first=0, strides=())


def storage_of(persistent: Any) -> StorageView:
    """What a tensor's first argument refers to.

    Raises:
        DamagedCheckpointError: no storage can be so.
    """
    if not isinstance(persistent, Persistent):
        raise TypeError
    what, storage, key, _, elements, *view = persistent.arguments
    if what != "storage" or not isinstance(key, (str, int)):
        raise TypeError
    kind = _type_of(storage)
    first, length = 0, elements
    if view and view[0] is not None:  # as PyTorch before 1.6 wrote storages that share their elements
        _, first, length = view[0]
    if not all(map(_is_count, (elements, first, length))) or first + length > elements:
        reason = (
            f"lies in a storage of {shown(str(elements))} elements, in {shown(str(length))} from {shown(str(first))}"
        )
        raise DamagedCheckpointError(reason)
    return StorageView(key=str(key), type=kind, elements=elements, first=first, length=length)


def item_sizes(references: Iterable[Persistent]) -> dict[str, int]:
    """Bytes of an element of each storage, by its key.

    Raises:
        DamagedCheckpointError: something else than a storage is referred to.
    """
    try:
        storages = [storage_of(reference) for reference in references]
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = "it refers to something else than storages"
        raise DamagedCheckpointError(reason) from error
    return {storage.key: ITEM.get(storage.type, 0) for storage in storages}


def _type_of(named: Name) -> str:
    """MindSpore's name of a type, else PyTorch's."""
    module, _, name = named.text.rpartition(".")
    if module.partition(".")[0] != "torch":
        raise ValueError
    if name.endswith("Storage"):
        return _STORAGES.get(name.removesuffix("Storage"), name)
    return _TYPES.get(name, name)
