"""What a pickle of PyTorch may name and call, and what stands for it: a name, a dictionary, an object that is not made.

A call makes nothing here. What a training run keeps beside its tensors (arguments, paths, numbers of NumPy) is left
unmade and passed over, so that its classes need not be there; a call of anything else is refused, whatever it is for.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NoReturn

from amctq.networks.tensor_file import CheckpointError, shown

# What no file of tensors names, and what every malicious one does. Nothing here would call it, but who wrote such a
# file cannot be trusted with its numbers either.
_HOSTILE = frozenset(
    "os posix nt sys subprocess commands importlib runpy shutil socket pty ctypes webbrowser code pdb timeit cProfile "
    "profile bdb multiprocessing pip pickle marshal".split()
)
_TYPES = (
    "bool bytearray bytes complex dict float frozenset int list long object range set slice str tuple type unicode "
    "xrange"
)
_BUILTINS = frozenset(f"builtins.{name}" for name in _TYPES.split())
_PYTHON_2 = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # pickles have these names up to protocol 2
# Calls for values that a training run keeps beside its tensors: they are not made, and the values are not needed.
_VALUES = frozenset({
    *_BUILTINS,
    *("collections.Counter", "collections.defaultdict", "collections.deque", "functools.partial"),
    *("_codecs.encode", "copyreg._reconstructor", "torch.serialization._get_layout"),
    *("datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta", "datetime.timezone"),
    *("decimal.Decimal", "fractions.Fraction", "uuid.UUID"),
    *("pathlib.Path", "pathlib.PosixPath", "pathlib.PurePath", "pathlib.PurePosixPath", "pathlib.WindowsPath"),
    *("pathlib.PureWindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath"),
    *("numpy.dtype", "numpy.ndarray", "torch.device", "torch.Generator"),
    *(
        f"numpy.{core}.multiarray.{name}"
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct", "_frombuffer")
    ),
    *("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"),
})  # fmt: skip
ORDERED = "collections.OrderedDict"
TUPLES = frozenset({"torch.Size", "builtins.tuple", "builtins.list"})
SAVE_TENSORS = "in PyTorch, save the tensors alone: torch.save(model.state_dict(), 'weights.pth')"


@dataclass(frozen=True)
class Name:
    """A class or a function that the pickle names."""

    text: str


@dataclass(eq=False)
class Table:
    """A dictionary, as the pairs that were put into it."""

    items: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(eq=False)
class Foreign:
    """What is left unmade: an object of a class, or a value that no tensor needs.

    Attributes:
        name: of its class, or of the function that would make it.
        is_module: whether its state is that of a PyTorch module.
    """

    name: str
    is_module: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a function of PyTorch that makes a tensor.

    Attributes:
        name: of the function, within PyTorch.
        arguments: its arguments.
    """

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class Persistent:
    """What the pickle refers to outside itself: a storage, or the source of a module's class."""

    arguments: tuple[Any, ...]


def text_of(kind: Any) -> str:
    """The name of a class or a function, or of what an object is made of.

    Raises:
        TypeError: it is none.
    """
    if isinstance(kind, Name):
        return kind.text
    if isinstance(kind, Foreign):
        return kind.name
    raise TypeError


def called_unmade(name: str, arguments: tuple[Any, ...]) -> Call | Foreign:
    """What stands for a call.

    Raises:
        CheckpointError: no file of tensors holds such a call.
    """
    if name == "copyreg._reconstructor" and arguments:
        return Foreign(text_of(arguments[0]))  # how protocols 0 and 1 make an object
    if name in _VALUES:
        return Foreign(name)
    module, _, function = name.rpartition(".")
    if module in {"torch._utils", "torch._tensor"} and function.startswith("_rebuild_"):
        return Call(function, arguments)
    return refuse_call(name)


def refuse_call(name: str) -> NoReturn:
    """Refuse a file for what it would have called.

    Raises:
        CheckpointError: always.
    """
    reason = f"holds a call of {shown(name)}, which no tensor needs; it was not called"
    hint = f"if you know who made the file, load it in PyTorch; {SAVE_TENSORS}"
    raise CheckpointError(reason, hint=hint)


def checked(module: str, name: str) -> Name:
    """A name that a pickle may have.

    Raises:
        CheckpointError: no file of tensors names it.
    """
    module = _PYTHON_2.get(module, module)
    full = f"{module}.{name}"
    if module.partition(".")[0] in _HOSTILE or (module == "builtins" and full not in _BUILTINS):
        refuse_call(full)
    return Name(full)
