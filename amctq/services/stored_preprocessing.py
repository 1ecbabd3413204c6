"""The preprocessing that an exported file names in its metadata."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from amctq.data.pixel_range import out_of_range
from amctq.data.preprocess import Preprocessing
from amctq.errors import InputError
from amctq.json_file import JsonReader, parse_json_object
from amctq.services.request import MOST_PIXELS

_MODEL, _KEY, _INPUT = "amctq.model", "amctq.preprocessing", "amctq.input"
_KEYS = ("image_size", "mean", "std", "center_crop")
_LARGEST = 1e30
_HINT = "the file is damaged, or another program has changed it; export it again"


def is_of_amctq(metadata: Mapping[str, str]) -> bool:
    """Whether amctq wrote the file that has this metadata."""
    return _MODEL in metadata


def stored_preprocessing(metadata: Mapping[str, str]) -> Preprocessing | None:
    """Read the preprocessing from the metadata of a file; None if it has none: other programs write none.

    Args:
        metadata: of the file, by key.

    Raises:
        InputError: it is damaged.
    """
    if _KEY not in metadata:
        return None
    place = f"its metadata {_KEY}"
    try:
        content = metadata[_KEY].encode()
        known = JsonReader(
            parse_json_object(content, place, option="evaluate", takes="files as amctq writes them"),
            f"{place}, ",
            keys=_KEYS,
        )
        for key in _KEYS:
            if key not in known.value:
                known.fail(key, "missing", _HINT)
        stored = Preprocessing(
            image_size=known.take("image_size", int, 0),
            mean=_three(known, "mean"),
            std=_three(known, "std"),
            center_crop=known.take("center_crop", bool, False),
        )
        _check(stored, known, metadata.get(_INPUT))
    except InputError as error:
        raise InputError(error.message, hint=_HINT) from error
    except UnicodeEncodeError as error:
        message = f"{place} is no UTF-8"
        raise InputError(message, hint=_HINT) from error
    return stored


def say_assumed(path: Path, assumed: Preprocessing, tell: Callable[[str], None], *, source: str = "") -> None:
    """Say how images are prepared for a file that does not say it.

    Args:
        path: of the file.
        assumed: how they are prepared.
        tell: gets the sentence.
        source: what that was taken from.
    """
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (assumed.mean, assumed.std))
    said = f"{path} does not say how its images are prepared: taken are mean {mean} and std {std}"
    tell(f"{said}{source and f' of {source}'}; --mean and --std say otherwise")


def _three(known: JsonReader, key: str) -> tuple[float, float, float]:
    values = known.take(key, list, [])
    if len(values) != 3 or not all(map(_is_number, values)):
        known.fail(key, f"found {str(values)[:60]}, expected three finite numbers", _HINT)
    red, green, blue = map(float, values)
    return red, green, blue


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _check(stored: Preprocessing, known: JsonReader, described: str | None) -> None:
    """Refuse values with which no image could be prepared."""
    if not 1 <= stored.image_size <= MOST_PIXELS:
        known.fail("image_size", f"found {stored.image_size}, expected a number of pixels", _HINT)
    if min(stored.std) <= 0:
        known.fail("std", f"found {list(stored.std)}, expected three numbers above 0", _HINT)
    with np.errstate(all="ignore"):
        extremes = stored.normalize(np.array([0, 255], np.uint8).repeat(3).reshape(2, 3, 1, 1))
    if not np.isfinite(extremes).all():
        known.fail("std", f"found {list(stored.std)} with the mean {list(stored.mean)}: pixels become infinite", _HINT)
    found = out_of_range(stored.mean, stored.std)
    if found is not None:
        given = list(getattr(stored, found.name))
        alike = ", and these look like 0…255" if found.divided else ""
        known.fail(found.name, f"found {given}, expected {found.expected}{alike}", _HINT)
    size = re.search(r"3x(\d{1,9})x(\d{1,9})$", described or "")
    if size is not None and {int(size[1]), int(size[2])} != {stored.image_size}:
        known.fail("image_size", f"found {stored.image_size}, and {_INPUT} is {str(described)[:60]!r}", _HINT)
