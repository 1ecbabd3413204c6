"""Functions of the user, named as ``path/to/file.py:name`` or ``package.module:name``."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import re
import sys
import traceback
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from amctq.errors import InputError, Stopped, first_line
from amctq.regular_file import why_no_file

# A script that parses arguments when it is imported ends with SystemExit, and code may raise what is no Exception.
# ``Stopped``, which comes out of it when a signal arrives, must be passed on before.
USER_CODE_FAILURES = BaseException
# Definition files of 2020 import these from MindSpore; here is where they are now.
_MOVED = {
    "mindspore.dataset.vision.c_transforms": "mindspore.dataset.vision",
    "mindspore.dataset.vision.py_transforms": "mindspore.dataset.vision",
    "mindspore.dataset.transforms.c_transforms": "mindspore.dataset.transforms",
    "mindspore.dataset.transforms.vision": "mindspore.dataset.vision",
    "mindspore.model_zoo": "the network's own file",
}
_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_NAMED = re.compile(r"(?P<place>.+):(?P<name>[A-Za-z_]\w*)")


def is_factory(text: str) -> bool:
    """Whether ``text`` names a function of the user, and not a file or an entry of a registry."""
    return _NAMED.fullmatch(text) is not None


def factory_name(text: str) -> str:
    """The part after the colon."""
    return text.rpartition(":")[2]


def load_factory(text: str, *, option: str) -> Callable[..., Any]:
    """Import the function that ``text`` names.

    Args:
        text: ``path/to/file.py:name`` or ``package.module:name``. A file may import what is in its folder.
        option: for messages.

    Raises:
        InputError: the file or module is missing or raises, or has no such function.
    """
    place, _, name = text.rpartition(":")
    check_factory(text, option=option)
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Stopped:
        raise
    except USER_CODE_FAILURES as error:
        message, hint = f"importing {place} raised {format_error(error)}", "run it by itself, and correct it"
        if isinstance(error, ImportError) and error.name != place and (missing := _missing(error)):
            message, hint = f"{_line(error, place)} imports {missing[0]}, {missing[1]}", missing[2]
        message = f"{option} {text}: {message}"
        raise InputError(message, hint=hint) from error
    found = getattr(module, name, None)
    if not callable(found):
        message = f"{option} {text}: {place} has no function {name}"
        raise InputError(message, hint="check the name after the colon")
    return found  # type: ignore[no-any-return]


def check_factory(text: str, *, option: str) -> None:
    """Make sure that a regular file is there, without importing it: a named pipe would wait for ever.

    Raises:
        InputError: it is not.
    """
    place = text.rpartition(":")[0]
    if not place.endswith(".py"):
        return
    try:
        found = why_no_file(Path(place))
    except OSError as error:
        found = error.strerror or str(error)
    if found is not None:
        message = f"{option} {text}: {place}: {found}"
        raise InputError(message, hint="check the path before the colon")


def parameters_of(factory: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a function's arguments; empty if Python cannot find out."""
    return tuple(_signature(factory))


def _signature(factory: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}


def call_factory(factory: Callable[..., Any], text: str, *, option: str, **arguments: Any) -> Any:
    """Call a function of the user with those of ``arguments`` that it takes.

    Raises:
        InputError: it needs others, or raises.
    """
    taken = _signature(factory)
    needed = [name for name, item in taken.items() if item.default is item.empty and item.kind not in _ANY_NUMBER]
    if unknown := [name for name in needed if name not in arguments]:
        message = f"{option} {text}: it needs {', '.join(unknown)}, and amctq passes {', '.join(arguments)}"
        raise InputError(message, hint="give what it needs a default, or name a function without it")
    try:
        return factory(**{name: value for name, value in arguments.items() if name in taken})
    except Stopped:
        raise
    except USER_CODE_FAILURES as error:
        message = f"{option} {text}: it raised {format_error(error)}"
        raise InputError(message, hint="run it by itself, and correct it") from error


def format_error(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {first_line(error)}"


def _missing(error: ImportError) -> tuple[str, str, str] | None:
    """What could not be imported, why, and what to do; None where the module itself failed."""
    name = error.name
    if name is None:
        return None
    if not isinstance(error, ModuleNotFoundError):
        member = re.search(r"cannot import name '(\w+)'", str(error))
        if member is None:
            return None
        name = f"{name}.{member[1]}"
    if name.partition(".")[0] != "mindspore":
        return (
            name,
            "which is not installed",
            f"install it, or remove the import: pip install {name.partition('.')[0]}",
        )
    hint = "write the import for this release"
    for old, new in _MOVED.items():
        if name.startswith(old):
            hint = f"import {new} instead"
    return name, f"which MindSpore {importlib.metadata.version('mindspore')} no longer has", hint


def _line(error: BaseException, place: str) -> str:
    """The line of the user's file that the error came from."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(place)]
    return f"{place}, line {lines[-1]}," if lines else place


def _load_file(path: Path) -> Any:
    path = path.resolve()
    # A unique name: a user's types.py must not replace Python's.
    name = f"amctq_user_{path.stem}_{zlib.crc32(str(path).encode(errors='surrogateescape')):08x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As for a script: the file may import what is beside it, now and when its functions are called.
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.dont_write_bytecode = True  # else Python writes __pycache__ beside the user's files
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
