"""What is wrong in an ONNX file, although onnxruntime runs it."""

from __future__ import annotations

from collections import Counter

import onnx

from amctq.errors import InputError

_OWN_KEYS = "amctq."
_HINT = "the file is damaged, or another program has changed it; export it again"


def refuse_defects(model: onnx.ModelProto) -> None:
    """Refuse a file whose accuracy would say nothing.

    Raises:
        InputError: the message names the defect.
    """
    _refuse_duplicate_keys(model)


def _refuse_duplicate_keys(model: onnx.ModelProto) -> None:
    """Refuse metadata of amctq that are there twice: readers differ in which they take."""
    counts = Counter(item.key for item in model.metadata_props if item.key.startswith(_OWN_KEYS))
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        message = f"its metadata have a duplicate key: {twice[0]}"
        raise InputError(message, hint=_HINT)
