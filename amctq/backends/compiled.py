"""The compiled operators of retraining. They are compiled on first use, if there is a C compiler.

In a training step, each operator reads and writes all activations or all weights. One operator of ``fakequant.c``
replaces ten of MindSpore's. Without a compiler MindSpore's operators are used: the same bits, but slower.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from amctq.errors import WriteError, first_line
from amctq.files import put_in_place
from amctq.leftovers import process_folder, temporary_folder
from amctq.quant.numerics import Float32Array, signed_range
from amctq.quant.ulq import Clips, arq_retrain, ulq, ulq_parts
from amctq.runtime import cpu_flags

SOURCE = Path(__file__).with_name("fakequant.c")
# No contraction, because MindSpore rounds between a product and a sum. The two flags -fno-math-errno and
# -fno-trapping-math allow vector instructions for comparisons, and change no result.
FLAGS = (
    *("-O3", "-march=native", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
    *("-std=gnu11", "-fPIC", "-shared", "-pthread"),
)
_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Library:
    """The result of compiling.

    Attributes:
        path: the shared library, or None.
        description: how it was compiled, or why not.
    """

    path: Path | None
    description: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Kernels:
    """The functions of ``fakequant.c`` as operators of MindSpore.

    Attributes:
        ulq: (x, clip_max, clip_min) to fake-quantized x.
        ulq_grad: (x, clip_max, clip_min, dout) to dx and three sums along the batch.
        arq: (weight, gamma, range) to the fake-quantized weight.
    """

    ulq: Any
    ulq_grad: Any
    arq: Any


def library_folder() -> Path:
    """The folder of compiled operators: in XDG_CACHE_HOME, where the user wants caches, else one of this process.

    Raises:
        WriteError: there is no usable temporary folder.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    return Path(cache) / "amctq" if cache else process_folder()


def compiler() -> tuple[str, ...]:
    """The command that compiles C: CC, else cc; empty if it is not on PATH."""
    try:
        command = tuple(shlex.split(os.environ.get("CC", "cc")))
    except ValueError:  # a quotation mark is not closed
        return ()
    return command if command and shutil.which(command[0]) else ()


def compile_library() -> Library:
    """Compile ``fakequant.c``, unless it is there for this CPU. A failure is no error; it is described."""
    try:
        command = compiler()
        if not command:
            return Library(path=None, description="no C compiler (CC, or cc on PATH)")
        source = SOURCE.read_bytes()
        folder = library_folder()
        target = folder / f"fakequant-{_key(source, command)}.so"
        if ":" in str(target):  # for MindSpore a colon ends the path
            return Library(path=None, description=f"{folder} has a colon in its name")
        if not target.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _compile(command, target)
        _check(ctypes.CDLL(str(target)))
    except (OSError, RuntimeError, AttributeError, subprocess.SubprocessError, WriteError) as error:
        return Library(path=None, description=f"the C compiler is of no use: {first_line(error)}")
    return Library(path=target, description=f"compiled with {' '.join(command)}")


def kernels(library: Library) -> Kernels | None:
    """The functions of the library for MindSpore; None if there is no library.

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
    """A hash of all that the machine code depends on; with -march=native this includes the CPU."""
    parts = [source.decode(), *command, *FLAGS, platform.machine(), *cpu_flags()]
    return hashlib.sha256("\0".join(parts).encode(errors="surrogateescape")).hexdigest()[:16]


def _compile(command: Sequence[str], target: Path) -> None:
    # Compiled under another name and then renamed, because another process may load the file.
    with temporary_folder(target.parent) as folder:
        made = folder / target.name
        done = subprocess.run(
            [*command, *FLAGS, "-o", made, SOURCE],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            env=os.environ | {"TMPDIR": str(folder)},  # a compiler that is stopped leaves files of its own
        )
        if done.returncode != 0 or not made.exists():
            message = f"it cannot compile {SOURCE.name}: {done.stderr.strip() or f'exit code {done.returncode}'}"
            raise RuntimeError(message)
        put_in_place(made, target)


def _check(library: ctypes.CDLL) -> None:
    """Compare with NumPy, bit for bit, because a compiler may understand the flags differently.

    Raises:
        RuntimeError: a result differs.
    """
    random = np.random.default_rng(1)
    clips = Clips(high=1.7, low=-0.6, fixed_min=False)
    x, gradient = (random.normal(0, 1.5, (5, 4099)).astype(np.float32) for _ in range(2))
    x[0, :512] = clips.scale * np.arange(-256, 256, dtype=np.float32) * np.float32(0.5)  # both ends, and ties
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
    """Call a function in the same way as ops.Custom."""
    count = len(arrays)
    pointers = (ctypes.c_void_p * count)(*(array.ctypes.data for array in arrays))
    ranks = (ctypes.c_int * count)(*(array.ndim for array in arrays))
    shapes = [(ctypes.c_int64 * max(array.ndim, 1))(*array.shape) for array in arrays]
    starts = (ctypes.c_void_p * count)(*map(ctypes.addressof, shapes))
    types = (ctypes.c_char_p * count)(*[b"float32"] * count)
    if function(count, pointers, ranks, starts, types, None, None) != 0:
        message = "what it compiles refuses its arguments"
        raise RuntimeError(message)
