"""``<file_name>.air``: here an archive of arrays, of the same bytes for the same model."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amct_mindspore import log

MAGIC = "stand-in for an AIR file; ATC does not take it"


def write_air(file_name: str, arrays: dict[str, NDArray[Any]], **told: Any) -> None:
    """Write the model."""
    if not isinstance(file_name, str) or file_name.endswith(".air"):
        raise ValueError(f"file_name must be a path without suffix, not {file_name!r}")
    stream = io.BytesIO()
    np.savez(stream, __manifest__=json.dumps({"magic": MAGIC, **told}), **arrays)
    path = Path(f"{file_name}.air")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(stream.getvalue())
    log.info(f"Generate AIR file : {path} success!")


def read_air(content: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What tests look at."""
    with np.load(io.BytesIO(content)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays.pop("__manifest__"))), arrays
