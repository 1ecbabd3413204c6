"""``calibration_record.txt``, written and read as plain text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ENTRY = re.compile(r'record \{\s*key: "([^"]+)"\s*value \{(.*?)\}\s*\}', re.DOTALL)

_FIELDS = {"scale_d", "offset_d", "scale_w", "offset_w", "shift_bit", "skip_fusion"}


def write_record(path: Path, layers: dict[str, tuple[float, int, NDArray[Any]]]) -> None:
    """``layers``: scale_d, offset_d, scale_w by name; AMCT never says which BatchNorm it has not folded."""
    lines = []
    for name, (scale, offset, weights) in layers.items():
        lines += ["record {", f'  key: "{name}"', "  value {"]
        lines += [f"    scale_d: {np.float32(scale):.9g}", f"    offset_d: {offset}"]
        lines += [f"    scale_w: {value:.9g}" for value in weights]
        lines += ["    offset_w: 0"] * len(weights)
        lines += ["  }", "}"]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def read_record(path: str) -> dict[str, tuple[float, int]]:
    """scale_d and offset_d by layer."""
    found = {}
    for name, value in _ENTRY.findall(Path(path).read_text()):
        for field in set(re.findall(r"(\w+):", value)) - _FIELDS:  # protobuf refuses what a prototype lacks
            raise ValueError(f'{path}: SingleLayerRecord has no field named "{field}"')
        scale = re.search(r"scale_d: (\S+)", value)
        offset = re.search(r"offset_d: (-?\d+)", value)
        if scale is None or offset is None:
            raise ValueError(f"{path}: layer {name} has no scale_d and offset_d")
        found[name] = float(scale[1]), int(offset[1])
    if not found:
        raise ValueError(f"{path} holds no record")
    return found
