"""Objects of the user's own, named as ``path/to/file.py:name`` or ``package.module:name``."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from amctq.errors import InputError

_NAMED = re.compile(r"(?P<place>.+):(?P<name>[A-Za-z_]\w*)")


def is_factory(text: str) -> bool:
    """Whether ``text`` names an object of the user's own, rather than a file or an entry of a registry."""
    return _NAMED.fullmatch(text) is not None


def factory_name(text: str) -> str:
    """The part behind the colon."""
    return text.rpartition(":")[2]


def load_factory(text: str, *, option: str) -> Callable[..., Any]:
    """Import the function that ``text`` names.

    Args:
        text: ``path/to/file.py:name`` or ``package.module:name``. The folder of a file is importable from it.
        option: for messages.

    Raises:
        InputError: the file or module is missing or raises, or has no such function.
    """
    place, _, name = text.rpartition(":")
    try:
        module = _load_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except FileNotFoundError as error:
        message = f"{option} {text}: no file {place}"
        raise InputError(message, hint="check the path before the colon") from error
    except Exception as error:
        message = f"{option} {text}: importing {place} raised {_told(error)}"
        raise InputError(message, hint="run it by itself, and mend it") from error
    found = getattr(module, name, None)
    if not callable(found):
        message = f"{option} {text}: {place} has no function {name}"
        raise InputError(message, hint="check the name behind the colon")
    return found  # type: ignore[no-any-return]


def call_factory(factory: Callable[..., Any], text: str, *, option: str, **arguments: Any) -> Any:
    """Call a function of the user's own with those of ``arguments`` that it takes.

    Raises:
        InputError: it raises.
    """
    import inspect

    try:
        taken = inspect.signature(factory).parameters
        return factory(**{name: value for name, value in arguments.items() if name in taken})
    except Exception as error:
        message = f"{option} {text}: it raised {_told(error)}"
        raise InputError(message, hint="run it by itself, and mend it") from error


def _load_file(path: Path) -> Any:
    path = path.resolve()
    if not path.is_file():
        raise FileNotFoundError(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # As for a script: what lies beside the file can be imported by it.
    sys.path.insert(0, str(path.parent))
    try:
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'without a message'}"
