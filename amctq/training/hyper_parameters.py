"""The sample's ``retrain_config.py``, read as data: it is parsed and never executed."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.errors import InputError, first_line
from amctq.input_file import read_text

_SAMPLES_NAME = "CONFIG_QUANT"
_HINT = "expected what the sample has: CONFIG_QUANT = ed({'epoch_size': 30, …}), all values written out"
# Types of each kind, compared exactly: a bool is not a whole number.
_KINDS: Mapping[str, tuple[type, ...]] = {"a whole number": (int,), "a number": (int, float), "a text": (str,)}
# For a key of the sample: the field of QatRequest (and so the option) with the same meaning, and its kind.
_FIELDS: Mapping[str, tuple[str, str]] = {
    "class_num": ("num_classes", "a whole number"),
    "batch_size": ("batch_size", "a whole number"),
    "loss_scale": ("loss_scale", "a number"),
    "momentum": ("momentum", "a number"),
    "weight_decay": ("weight_decay", "a number"),
    "epoch_size": ("epochs", "a whole number"),
    "save_checkpoint_epochs": ("save_checkpoint_epochs", "a whole number"),
    "keep_checkpoint_max": ("keep_checkpoint_max", "a whole number"),
    "save_checkpoint_path": ("output_dir", "a text"),
    "warmup_epochs": ("warmup_epochs", "a number"),
    "lr_decay_mode": ("lr_decay", "a text"),
    "lr_init": ("lr_init", "a number"),
    "lr_end": ("lr_end", "a number"),
    "lr_max": ("lr_max", "a number"),
}
_SHOWN = 60  # characters of a value in a message
# Keys without an option, and the value that amctq always uses.
_ALWAYS = {"pretrain_epoch_size": 0, "save_checkpoint": True}


@dataclass(frozen=True, kw_only=True)
class HyperParameters:
    """The content of a file.

    Attributes:
        path: the file.
        values: by field of QatRequest; an option overrides them.
        unused: what the file has and no option takes, as text.
    """

    path: Path
    values: Mapping[str, Any]
    unused: tuple[str, ...]


def read_hyper_parameters(path: Path) -> HyperParameters:
    """Read a file in the form of the sample's ``retrain_config.py``.

    Args:
        path: given with ``--hyper-parameters``.

    Raises:
        InputError: it cannot be read, is not Python or has no such dictionary, or a value is not a literal or of
            another kind. The message names the line.
    """
    text = read_text(path, what="hyper-parameters", option="--hyper-parameters")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # MemoryError: nested too deeply
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        reason = error.msg if isinstance(error, SyntaxError) else first_line(error)
        message = f"{path}{line}: not Python: {reason}"
        raise InputError(message, hint=_HINT) from error
    statement, entries = _dictionary(tree, path)
    values: dict[str, Any] = {}
    unused = [f"line {node.lineno}" for node in tree.body if node is not statement and not _harmless(node)]
    for key, node in entries:
        value = _value(path, key, node)
        if key in _FIELDS:
            field, expected = _FIELDS[key]
            if type(value) not in _KINDS[expected] or not _fits(value):
                message = f"{path}, line {node.lineno}: {key}: found {_shown(node)}"
                raise InputError(message, hint=f"expected {expected}")
            values[field] = value
        elif key not in _ALWAYS or value != _ALWAYS[key]:
            unused.append(f"{_cut(key)} = {_shown(node)}")
    return HyperParameters(path=path, values=values, unused=tuple(unused))


def _dictionary(tree: ast.Module, path: Path) -> tuple[ast.stmt, list[tuple[str, ast.expr]]]:
    """The statement that assigns the dictionary, and its entries: CONFIG_QUANT, or the only one of another name."""
    found = {}
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            entries = _entries(node.value)
            if isinstance(target, ast.Name) and entries is not None:
                found[target.id] = node, entries
    if _SAMPLES_NAME in found:
        return found[_SAMPLES_NAME]
    if len(found) != 1:
        named = f"several dictionaries ({', '.join(found)})" if found else "no dictionary"
        message = f"{path}: {_cut(named)}, and none is called {_SAMPLES_NAME}"
        raise InputError(message, hint=_HINT)
    return next(iter(found.values()))


def _entries(node: ast.expr) -> list[tuple[str, ast.expr]] | None:
    """Keys and values of ``{…}``, of a call around it as ``ed({…})``, or of a call's keywords as ``dict(a=1)``."""
    if isinstance(node, ast.Call):
        inner = _entries(node.args[0]) if len(node.args) == 1 else None if node.args else []
        named = [(word.arg, word.value) for word in node.keywords if word.arg is not None]
        return None if inner is None or len(named) < len(node.keywords) else [*inner, *named]
    if not isinstance(node, ast.Dict):
        return None
    keys = [key.value if isinstance(key, ast.Constant) else None for key in node.keys]
    if not all(isinstance(key, str) for key in keys):
        return None
    return list(zip(map(str, keys), node.values, strict=True))


def _value(path: Path, key: str, node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        message = f"{path}, line {node.lineno}: {_cut(key)}: {_shown(node)} is not written out, and nothing is executed"
        raise InputError(message, hint="write the value itself") from error


def _fits(value: Any) -> bool:
    """Whether an option can take a value: a finite number of 64 bits, or a text that a file name can be."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    return bool(abs(value) < 1 << 63)


def _shown(node: ast.expr) -> str:
    """A value as the file has it, cut where it is long."""
    try:
        return _cut(ast.unparse(node))
    except (ValueError, RecursionError, MemoryError):  # a number of thousands of digits, a deep nesting
        return "a value that is too long to be shown"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"


def _harmless(node: ast.stmt) -> bool:
    """Whether a statement is an import or a text, which hold no hyper-parameters."""
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return text or isinstance(node, (ast.Import, ast.ImportFrom))
