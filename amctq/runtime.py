"""Which device runs MindSpore, and the environment that must be set before ``import mindspore``."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq.choices import Device
from amctq.errors import InputError, UnavailableError, first_line
from amctq.signals import signals_held
from amctq.version import __version__

ONEDNN_ISA = "ONEDNN_MAX_CPU_ISA"
VISIBLE_NPUS = "ASCEND_RT_VISIBLE_DEVICES"
_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
# The last remedy is onnxruntime's own, for files that exist already (onnxruntime_session_options_config_keys.h).
SATURATION_ADVICE = (
    "without VNNI onnxruntime's 8-bit products saturate at 16 bits: quantize with --isa avx2, or with --weight-bits 7, "
    "or run the file with the session option session.x64quantprecision=1"
)


@dataclass(frozen=True, kw_only=True)
class ResolvedDevice:
    """The device that a run uses.

    Attributes:
        kind: CPU or ASCEND, never AUTO.
        device_id: index of the NPU; 0 on a CPU.
        reason: why this device was chosen, for the report.
        onednn_isa: the limit of instructions for oneDNN, or None.
        onednn_reason: who has set the limit.
    """

    kind: Device
    device_id: int
    reason: str
    onednn_isa: str | None
    onednn_reason: str


def npu_nodes() -> tuple[Path, ...]:
    """The NPUs of this machine: the files ``/dev/davinci0`` and so on of the Ascend driver."""
    return tuple(sorted(path for path in Path("/dev").glob("davinci[0-9]*")))


def npu_numbers() -> tuple[int, ...]:
    """The physical numbers of the NPUs, in ascending order."""
    return tuple(sorted(int(node.name.removeprefix("davinci")) for node in npu_nodes()))


def usable_npus() -> tuple[int, ...]:
    """The physical numbers of the NPUs that this process may use: those of ASCEND_RT_VISIBLE_DEVICES, in its order.

    Without that variable all of the machine.

    Raises:
        InputError: the variable is no list of numbers.
    """
    present = npu_numbers()
    named = visible_npus() if present else None
    if named is None:
        return present
    # In a container that holds davinci4 and davinci5 the variable may count them from 0.
    return tuple(number for number in named if number in present or number < len(present))


def visible_npus() -> tuple[int, ...] | None:
    """The physical numbers in ASCEND_RT_VISIBLE_DEVICES, with which a user keeps to his NPUs; None if it is not set.

    Raises:
        InputError: it is no list of numbers, or has one twice.
    """
    text = os.environ.get(VISIBLE_NPUS)
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    numbers = [int(word) for word in words if re.fullmatch("[0-9]{1,4}", word)]
    if len(numbers) < len(words) or len(set(numbers)) < len(numbers):
        message = f"{VISIBLE_NPUS} is {text[:60]!r}, expected numbers of NPUs, each once, such as 2,3"
        raise InputError(message, hint="correct the variable, or unset it for all NPUs of this machine")
    return tuple(numbers)


def cann_home() -> Path | None:
    """The folder of CANN, from its own variables or in the usual place; None if CANN is not installed."""
    named = [os.environ.get(name) for name in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH")]
    usual = ["/usr/local/Ascend/ascend-toolkit/latest", "/usr/local/Ascend/cann"]
    for folder in [*named, *usual]:
        if folder and Path(folder).is_dir():
            return Path(folder)
    return None


def ascend_obstacle() -> str | None:
    """What this machine lacks to run on an NPU; None if nothing is missing."""
    if not npu_nodes():
        return "no NPU (no /dev/davinci*)"
    if not usable_npus():
        return f"no NPU that {VISIBLE_NPUS}={os.environ[VISIBLE_NPUS]} shows"
    return None if cann_home() else "no CANN (ASCEND_TOOLKIT_HOME is not set)"


def cann_version() -> str | None:
    """The version in CANN's own ``version.info`` or ``version.cfg``; None without CANN."""
    home = cann_home()
    if home is None:
        return None
    for name in ("version.info", "version.cfg", "compiler/version.info", "runtime/version.info"):
        file = home / name
        if file.is_file():
            for line in file.read_text(encoding="utf-8-sig", errors="replace").splitlines():
                key, _, value = line.partition("=")
                if key.strip().lower() in {"version", "toolkit_running_version", "toolkit_installed_version"}:
                    return value.strip(" []").split(":")[0]
    return "unknown"


def versions() -> dict[str, str | None]:
    """Versions of amctq and of the packages that affect its results; None for a package that is not installed."""
    found: dict[str, str | None] = {"amctq": __version__, "python": platform.python_version()}
    for package in ("mindspore", "onnxruntime", "openvino", "onnx", "numpy"):
        found[package] = None
        if importlib.util.find_spec(package) is not None:  # pip's record of a package may outlive it
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                found[package] = importlib.metadata.version(package)
    found["cann"] = cann_version()
    return found


def resolve_device(requested: Device, device_id: int | None) -> ResolvedDevice:
    """Choose the device: the requested one, else an NPU if there is one with CANN, else the CPU.

    Args:
        requested: as ``--device``.
        device_id: as ``--device-id``; None means DEVICE_ID, else 0.

    Raises:
        UnavailableError: an NPU is requested, and this machine has no NPU, none of that number, or no CANN.
        InputError: DEVICE_ID or ASCEND_RT_VISIBLE_DEVICES cannot be read.
    """
    if requested is Device.CPU:
        return _resolved(Device.CPU, 0, "asked for")
    missing = ascend_obstacle()
    if missing is None:
        count = len(usable_npus())
        why = "asked for" if requested is Device.ASCEND else f"{count} NPU(s) and CANN found"
        return _resolved(Device.ASCEND, _device_id(device_id, count), why)
    if requested is Device.ASCEND:
        message = f"--device ascend: this machine has {missing}"
        raise UnavailableError(message, hint="use --device cpu, or see what is missing with: amctq doctor")
    return _resolved(Device.CPU, 0, missing)


def _resolved(kind: Device, device_id: int, reason: str) -> ResolvedDevice:
    isa, isa_reason = onednn_isa(kind)
    return ResolvedDevice(kind=kind, device_id=device_id, reason=reason, onednn_isa=isa, onednn_reason=isa_reason)


def _device_id(option: int | None, count: int) -> int:
    text = os.environ.get("DEVICE_ID", "0")
    if option is None and not re.fullmatch("[0-9]{1,4}", text):
        message = f"DEVICE_ID is {text[:60]!r}, expected a whole number"
        raise InputError(message, hint="correct the variable, or pass --device-id")
    number = int(text) if option is None else option
    if number >= count:
        asked = f"DEVICE_ID={number}" if option is None else f"--device-id {number}"
        message = f"{asked}: there are {count} NPU(s), expected 0 to {count - 1}"
        raise UnavailableError(message, hint=f"it counts the NPUs from 0, those of {VISIBLE_NPUS} if that is set")
    return number


def onednn_isa(device: Device) -> tuple[str | None, str]:
    """The limit of instructions for oneDNN, and who has set it.

    With AVX-512, MindSpore's oneDNN uses a reference kernel for 3x3 convolutions, which is 27 times slower than the
    kernel for AVX2. A value that the user has set is kept. An NPU needs no limit.
    """
    own = os.environ.get(ONEDNN_ISA)
    if own:
        return own, "set in the environment"
    if device is Device.ASCEND:
        return None, "not set on Ascend"
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return None, "not an x86 CPU"
    return "AVX2", "set by amctq: MindSpore's AVX-512 convolutions are slow"


def prepare_environment(device: ResolvedDevice) -> None:
    """Set the variables that MindSpore reads when it is imported; the user's own code may import it before amctq."""
    os.environ.setdefault("GLOG_v", "4")  # critical messages only; an error is an exception too
    if device.onednn_isa is not None:
        os.environ.setdefault(ONEDNN_ISA, device.onednn_isa)


def load_mindspore(device: ResolvedDevice, scratch: Path) -> Any:
    """Import MindSpore for ``device``, without its log and with fast convolutions.

    Args:
        device: where it will run.
        scratch: folder for what MindSpore writes when a compilation fails, instead of the current directory.

    Raises:
        UnavailableError: MindSpore cannot be imported, or refuses the device.
    """
    prepare_environment(device)
    os.environ["MS_OM_PATH"] = str(scratch)
    _hush_cell_finalizers()
    try:
        with signals_held():  # an exception in the middle of the import would cause a crash later
            mindspore = importlib.import_module("mindspore")
            target = "CPU" if device.kind is Device.CPU else "Ascend"
            if mindspore.get_context("device_target") != target or device.kind is Device.ASCEND:
                mindspore.set_device(target, device.device_id)
            mindspore.Tensor([0.0]).add(1.0).asnumpy()  # the first result installs a signal handler of MindSpore
    except Exception as error:
        message = f"MindSpore does not work here: {first_line(error)}"
        hint = "install it with: pip install mindspore 'numpy<2'; then see: amctq doctor"
        raise UnavailableError(message, hint=hint) from error
    return mindspore


@contextlib.contextmanager
def graph_mode() -> Iterator[None]:
    """Use MindSpore's graph mode inside the block. Outside is PyNative mode, in which hooks work."""
    import mindspore

    before = mindspore.get_context("mode")
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    try:
        yield
    finally:
        mindspore.set_context(mode=before)


def _hush_cell_finalizers() -> None:
    """Hide errors of ``Cell.__del__``: after some exceptions there are hundreds of them at exit."""
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        where = getattr(unraisable.object, "__qualname__", "")
        if where != "Cell.__del__":
            before(unraisable)

    sys.unraisablehook = hook


def _cpuinfo(*keys: str) -> str:
    """The first value with one of these keys in Linux's /proc/cpuinfo; empty if there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.lower().startswith(keys)), "")


def cpu_flags() -> tuple[str, ...]:
    """All features of this CPU, as Linux names them; empty if they are not known."""
    return tuple(_cpuinfo("flags", "features").split())


def cpu_instructions() -> tuple[str, ...]:
    """The instruction sets of this CPU that matter for INT8, as Linux names them."""
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")
    found = set(cpu_flags())
    return tuple(name for name in wanted if name in found)


def has_vnni(instructions: Collection[str]) -> bool:
    """Whether these instructions add products of uint8 and int8 in 32 bits; False if they are not known."""
    return not _VNNI.isdisjoint(instructions)


def saturates(instructions: Collection[str]) -> bool:
    """Whether onnxruntime's products of uint8 and int8 saturate at 16 bits on a CPU with these instructions.

    Its kernels for AVX2 and for AVX-512 without VNNI saturate (``export.weights_onnx``). Those for SSE2 and ARM do not.
    """
    return "avx2" in instructions and not has_vnni(instructions)


def cpu_model() -> str:
    """The name of the CPU, else the type of the machine."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_count() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
