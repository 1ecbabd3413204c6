"""Where the stand-ins lie: the package ``amct_mindspore``, and an NPU for commands that tests start."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

STANDIN = Path(__file__).with_name("standin")
NPU = Path(__file__).with_name("npu")


@contextlib.contextmanager
def standin_importable() -> Iterator[None]:
    """``import amct_mindspore`` gives the stand-in inside the block."""
    sys.path.insert(0, str(STANDIN))
    try:
        yield
    finally:
        sys.path.remove(str(STANDIN))
        for name in [name for name in sys.modules if name.partition(".")[0] == "amct_mindspore"]:
            del sys.modules[name]


def on_an_npu(*, with_amct: bool = True) -> dict[str, str]:
    """The environment of a command that finds an NPU, CANN and, if wanted, amct_mindspore."""
    places = [NPU, STANDIN] if with_amct else [NPU]
    return {"PYTHONPATH": os.pathsep.join(map(str, places))}
