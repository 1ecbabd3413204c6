"""The compiled operators of retraining: built on first use, where there is a C compiler, and cached for the user.

A training step reads and writes every activation and every weight once for each operator. ``fakequant.c`` does with one
pass what takes MindSpore's operators ten. Without a compiler the latter do it, with the same bits and more slowly.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from amctq.errors import first_line
from amctq.files import put_in_place
from amctq.quant.numerics import Float32Array, signed_range
from amctq.quant.ulq import Clips, arq_retrain, ulq, ulq_parts
from amctq.runtime import cpu_flags

SOURCE = Path(__file__).with_name("fakequant.c")
# No contraction: MindSpore rounds between a product and a sum. The other two let comparisons become vector
# instructions, and change no result.
FLAGS = (
    *("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
    *("-std=gnu11", "-fPIC", "-shared", "-pthread"),
)
_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Library:
    """What came of compiling.

    Attributes:
        path: the shared library, or None.
        told: what was compiled with, or why it was not.
    """

    path: Path | None
    told: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernels:
    """The functions of ``fakequant.c`` as MindSpore's operators.

    Attributes:
        ulq: (x, clip_max, clip_min) to fake-quantized x.
        ulq_grad: (x, clip_max, clip_min, dout) to dx and three sums along the batch.
        arq: (weight, gamma, range) to the fake-quantized weight.
    """

    ulq: Any
    ulq_grad: Any
    arq: Any


def cache_folder() -> Path:
    """Where compiled operators are kept: XDG_CACHE_HOME, or ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "amctq"


def compiler() -> tuple[str, ...]:
    """The command that compiles C, by CC or cc; empty where there is none on PATH."""
    try:
        command = tuple(shlex.split(os.environ.get("CC", "cc")))
    except ValueError:  # a quotation mark without its partner
        return ()
    return command if command and shutil.which(command[0]) else ()


def compile_library() -> Library:
    """Compile ``fakequant.c``, unless that has been done for such a CPU before; a failure is a reason, no error."""
    try:
        command = compiler()
        if not command:
            return Library(path=None, told="no C compiler (CC, or cc on PATH)")
        source = SOURCE.read_bytes()
        folder = cache_folder()
        target = folder / f"fakequant-{_key(source, command)}.so"
        if ":" in str(target):  # where MindSpore ends the path and begins the name of a function
            return Library(path=None, told=f"{folder} has a colon in its name")
        if not target.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _compile(command, target)
        _check(ctypes.CDLL(str(target)))
    except (OSError, RuntimeError, AttributeError, subprocess.SubprocessError) as error:
        return Library(path=None, told=f"the C compiler is of no use: {first_line(error)}")
    return Library(path=target, told=f"compiled with {' '.join(command)}, {target}")


def kernels(library: Library) -> Kernels | None:
    """The library's functions for MindSpore; None where there is no library.

    Raises:
        TypeError: MS_CUSTOM_AOT_WHITE_LIST forbids MindSpore to load it.
    """
    if library.path is None:
        return None
    from mindspore import ops

    def like_first(first: Any, *_: Any) -> Any:
        return first

    def operator(name: str, shape: Any, dtype: Any) -> Any:
        return ops.Custom(f"{library.path}:{name}", shape, dtype, "aot")

    return Kernels(
        ulq=operator("ulq", like_first, like_first),
        ulq_grad=operator("ulq_grad", lambda x, *_: (x, x[1:], x[1:], x[1:]), lambda x, *_: (x,) * 4),
        arq=operator("arq", like_first, like_first),
    )


def _key(source: bytes, command: Sequence[str]) -> str:
    """Of all that the machine code depends on: -march=native makes it the CPU's own."""
    parts = [source.decode(), *command, *FLAGS, platform.machine(), *cpu_flags()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _compile(command: Sequence[str], target: Path) -> None:
    # Under another name, then renamed: another process may be looking for it.
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        made = Path(folder) / target.name
        done = subprocess.run(
            [*command, *FLAGS, "-o", made, SOURCE],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0 or not made.exists():
            message = f"it cannot compile {SOURCE.name}: {done.stderr.strip() or f'exit code {done.returncode}'}"
            raise RuntimeError(message)
        put_in_place(made, target)


def _check(library: ctypes.CDLL) -> None:
    """Compare with NumPy, bit by bit: a compiler may have its own idea of the flags.

    Raises:
        RuntimeError: something differs.
    """
    random = np.random.default_rng(1)
    clips = Clips(high=1.7, low=-0.6, fixed_min=False)
    x, gradient = (random.normal(0, 1.5, (5, 4099)).astype(np.float32) for _ in range(2))
    x[0, :512] = clips.scale * np.arange(-256, 256, dtype=np.float32) * np.float32(0.5)  # ends and ties
    limits = (np.asarray(clips.high, np.float32), np.asarray(clips.low, np.float32))
    y, inside, *sums = (np.empty(shape, np.float32) for shape in (x.shape, x.shape, *[x.shape[1:]] * 3))
    _call(library.ulq, x, *limits, y)
    _call(library.ulq_grad, x, *limits, gradient, inside, *sums)
    parts = ulq_parts(x, clips, gradient)
    expected = [ulq(x, clips), parts.inside, *map(_along_batch, (parts.error, parts.above, parts.below))]
    found = [y, inside, *sums]
    gamma = np.array([1, -1, 0, -2, 3], np.float32)
    for channel_wise in (True, False):
        fake = np.empty_like(gradient)
        _call(library.arq, gradient, gamma, np.array([*signed_range(4), channel_wise], np.float32), fake)
        found.append(fake)
        expected.append(arq_retrain(gradient, channel_wise=channel_wise, bits=4, gamma=gamma))
    if not all(map(np.array_equal, found, expected)):
        message = "what it compiles computes other numbers than NumPy"
        raise RuntimeError(message)


def _along_batch(values: Float32Array) -> Float32Array:
    total: Float32Array = np.zeros_like(values[0])
    for image in values:
        total += image
    return total


def _call(function: Any, *arrays: Float32Array) -> None:
    """As ops.Custom calls it."""
    count = len(arrays)
    pointers = (ctypes.c_void_p * count)(*(array.ctypes.data for array in arrays))
    ranks = (ctypes.c_int * count)(*(array.ndim for array in arrays))
    shapes = [(ctypes.c_int64 * max(array.ndim, 1))(*array.shape) for array in arrays]
    starts = (ctypes.c_void_p * count)(*map(ctypes.addressof, shapes))
    types = (ctypes.c_char_p * count)(*[b"float32"] * count)
    if function(count, pointers, ranks, starts, types, None, None) != 0:
        message = "what it compiles refuses its arguments"
        raise RuntimeError(message)
