"""Which device runs MindSpore, and the environment that must stand before ``import mindspore``."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import os
import platform
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
_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})
# The last one is onnxruntime's own remedy for files that are there already (onnxruntime_session_options_config_keys.h).
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
        reason: why this one, for the report.
        onednn_isa: the instruction limit that oneDNN gets, or None.
        onednn_reason: who set it.
    """

    kind: Device
    device_id: int
    reason: str
    onednn_isa: str | None
    onednn_reason: str


def npu_nodes() -> tuple[Path, ...]:
    """The NPUs that the Ascend driver shows, ``/dev/davinci0`` and so on."""
    return tuple(sorted(path for path in Path("/dev").glob("davinci[0-9]*")))


def npu_numbers() -> tuple[int, ...]:
    """Their physical numbers, ascending."""
    return tuple(sorted(int(node.name.removeprefix("davinci")) for node in npu_nodes()))


def cann_home() -> Path | None:
    """Where CANN is installed, by its own variables or at its usual place; None where it is not."""
    named = [os.environ.get(name) for name in ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH")]
    usual = ["/usr/local/Ascend/ascend-toolkit/latest", "/usr/local/Ascend/cann"]
    for place in [*named, *usual]:
        if place and Path(place).is_dir():
            return Path(place)
    return None


def ascend_obstacle() -> str | None:
    """What this machine lacks to run on an NPU; None where it has all."""
    if not npu_nodes():
        return "no NPU (no /dev/davinci*)"
    return None if cann_home() else "no CANN (ASCEND_TOOLKIT_HOME is not set)"


def cann_version() -> str | None:
    """The version that CANN's own ``version.info`` or ``version.cfg`` names; None without CANN."""
    home = cann_home()
    if home is None:
        return None
    for name in ("version.info", "version.cfg", "compiler/version.info", "runtime/version.info"):
        file = home / name
        if file.is_file():
            for line in file.read_text(errors="replace").splitlines():
                key, _, value = line.partition("=")
                if key.strip().lower() in {"version", "toolkit_running_version", "toolkit_installed_version"}:
                    return value.strip(" []").split(":")[0]
    return "unknown"


def versions() -> dict[str, str | None]:
    """Versions of amctq and of what its figures depend on; None for what is not installed."""
    found: dict[str, str | None] = {"amctq": __version__, "python": platform.python_version()}
    for package in ("mindspore", "onnxruntime", "onnx", "numpy"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    found["cann"] = cann_version()
    return found


def resolve_device(requested: Device, device_id: int | None) -> ResolvedDevice:
    """Choose the device: the one asked for, else an NPU where there is one with CANN, else the CPU.

    Args:
        requested: what ``--device`` says.
        device_id: what ``--device-id`` says; None falls back to DEVICE_ID, then 0.

    Raises:
        UnavailableError: an NPU was asked for and this machine has none, or no CANN.
        InputError: DEVICE_ID is not a number.
    """
    if requested is Device.CPU:
        return _resolved(Device.CPU, 0, "asked for")
    missing = ascend_obstacle()
    if missing is None:
        why = "asked for" if requested is Device.ASCEND else f"{len(npu_nodes())} NPU(s) and CANN found"
        return _resolved(Device.ASCEND, _device_id(device_id), why)
    if requested is Device.ASCEND:
        message = f"--device ascend: this machine has {missing}"
        raise UnavailableError(message, hint="use --device cpu, or see what is missing with: amctq doctor")
    return _resolved(Device.CPU, 0, missing)


def _resolved(kind: Device, device_id: int, reason: str) -> ResolvedDevice:
    isa, isa_reason = onednn_isa(kind)
    return ResolvedDevice(kind=kind, device_id=device_id, reason=reason, onednn_isa=isa, onednn_reason=isa_reason)


def _device_id(option: int | None) -> int:
    if option is not None:
        return option
    text = os.environ.get("DEVICE_ID", "0")
    if not text.isdigit():
        message = f"DEVICE_ID is {text!r}, expected a whole number"
        raise InputError(message, hint="correct the variable, or pass --device-id")
    return int(text)


def onednn_isa(device: Device) -> tuple[str | None, str]:
    """The instruction limit that oneDNN will see, and who set it.

    With AVX-512, MindSpore's oneDNN falls back to a reference kernel for 3x3 convolutions, 27 times slower than
    the kernel that it picks under AVX2. A value of the user's own is respected, and an NPU needs none.
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
    """Set what MindSpore reads when it is imported, which code of the user's own may do before amctq does."""
    os.environ.setdefault("GLOG_v", "4")  # critical only: an error comes back as an exception as well
    if device.onednn_isa is not None:
        os.environ.setdefault(ONEDNN_ISA, device.onednn_isa)


def load_mindspore(device: ResolvedDevice, scratch: Path) -> Any:
    """Import MindSpore on ``device``, quiet and with its fast convolutions.

    Args:
        device: where it shall run.
        scratch: folder for what MindSpore writes when a compilation fails; it would be the current directory.

    Raises:
        UnavailableError: MindSpore cannot be imported, or refuses the device.
    """
    prepare_environment(device)
    os.environ["MS_OM_PATH"] = str(scratch)
    _hush_cell_finalizers()
    try:
        with signals_held():  # an exception inside the import leaves a library that crashes later
            mindspore = importlib.import_module("mindspore")
            target = "CPU" if device.kind is Device.CPU else "Ascend"
            if mindspore.get_context("device_target") != target or device.kind is Device.ASCEND:
                mindspore.set_device(target, device.device_id)
            mindspore.Tensor([0.0]).add(1.0).asnumpy()  # the first result fetched installs a handler of MindSpore's
    except Exception as error:
        message = f"MindSpore does not work here: {first_line(error)}"
        hint = "install it with: pip install mindspore 'numpy<2'; then see: amctq doctor"
        raise UnavailableError(message, hint=hint) from error
    return mindspore


@contextlib.contextmanager
def graph_mode() -> Iterator[None]:
    """Let MindSpore compile what it runs inside the block; outside, hooks work."""
    import mindspore

    before = mindspore.get_context("mode")
    mindspore.set_context(mode=mindspore.GRAPH_MODE)
    try:
        yield
    finally:
        mindspore.set_context(mode=before)


def _hush_cell_finalizers() -> None:
    """Keep ``Cell.__del__`` quiet, which fails by the hundred at exit after some exceptions."""
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        where = getattr(unraisable.object, "__qualname__", "")
        if where != "Cell.__del__":
            before(unraisable)

    sys.unraisablehook = hook


def cpu_flags() -> tuple[str, ...]:
    """All that Linux says this CPU can do, by its own names; empty where it does not say."""
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return ()
    for line in text.splitlines():
        if line.lower().startswith(("flags", "features")):
            return tuple(line.partition(":")[2].split())
    return ()


def cpu_instructions() -> tuple[str, ...]:
    """Instruction sets of this CPU that matter for INT8, as Linux names them."""
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve")
    found = set(cpu_flags())
    return tuple(name for name in wanted if name in found)


def has_vnni(instructions: Collection[str]) -> bool:
    """Whether these add up products of uint8 and int8 in 32 bits; False where they are not known."""
    return not _VNNI.isdisjoint(instructions)


def saturates(instructions: Collection[str]) -> bool:
    """Whether onnxruntime's products of uint8 and int8 saturate at 16 bits where these are all there is.

    So do its kernels for AVX2 and for AVX-512 without VNNI (``export.weights_onnx``); those for SSE2 and ARM widen.
    """
    return "avx2" in instructions and not has_vnni(instructions)


def cpu_model() -> str:
    """The CPU's own name, or the machine type where it gives none."""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cpu_count() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
