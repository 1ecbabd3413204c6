"""``amctq doctor``: what this machine can do, and what it lacks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amctq import runtime
from amctq.backends.choice import amct_obstacles
from amctq.choices import Device, Requirement
from amctq.errors import InputError, UnavailableError
from amctq.progress import OnEvent, Reporter, silent
from amctq.services.doctor_request import DoctorRequest

# Runs in its own process, because a broken installation may end the interpreter instead of raising.
_PROBE = """
import json, time
start = time.perf_counter()
from amctq.choices import Device
from amctq.leftovers import process_folder
from amctq.runtime import load_mindspore, resolve_device
device = resolve_device(Device.CPU, None)
mindspore = load_mindspore(device, process_folder())
seconds = time.perf_counter() - start
import numpy
weight = mindspore.Tensor(numpy.ones((2, 3, 3, 3), numpy.float32))
image = mindspore.Tensor(numpy.ones((1, 3, 8, 8), numpy.float32))
value = float(mindspore.ops.conv2d(image, weight).asnumpy().ravel()[0])
print(json.dumps({"import_s": round(seconds, 1), "convolution": value == 27.0}))
"""
_PROBE_SECONDS = 120
_NEEDED = ("mindspore", "numpy", "onnxruntime")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        name: stable name, for programs.
        ok: False if something is missing or broken.
        value: what was found.
        advice: the next step, or None.
    """

    name: str
    ok: bool
    value: str
    advice: str | None = None


@dataclass(frozen=True, kw_only=True)
class DoctorReport:
    """What this machine can do.

    Attributes:
        findings: one for each check.
        versions: versions of amctq and of the packages that it needs.
    """

    findings: tuple[Finding, ...]
    versions: dict[str, str | None]

    @property
    def verdict(self) -> dict[str, Any]:
        """Whether the commands run here, and where; the word of a finding says the rest."""
        ok = {item.name: item.ok for item in self.findings}
        missing = [name for name in _NEEDED if not ok.get(name)]
        if missing:
            return {"passed": False, "text": f"not ready: {', '.join(missing)} must be put right first"}
        where = "on the NPU and on the CPU" if ok.get("npu") and ok.get("cann") else "on the CPU"
        return {"passed": True, "text": f"ready: ptq, qat and evaluate run here {where}"}

    def data(self) -> dict[str, Any]:
        """The report, ready for JSON."""
        return {
            "verdict": self.verdict,
            "versions": self.versions,
            "findings": {
                item.name: {"ok": item.ok, "value": item.value, "advice": item.advice} for item in self.findings
            },
        }


def doctor(request: DoctorRequest, on_event: OnEvent = silent) -> DoctorReport:
    """Check this machine.

    Raises:
        UnavailableError: something in ``request.require`` is missing.
    """
    reporter = Reporter(on_event)
    with reporter.phase("trying MindSpore"):
        mindspore = _mindspore()
    report = DoctorReport(
        findings=(
            mindspore,
            _onednn(),
            _numpy(),
            _onnxruntime(),
            _openvino(),
            _cpu(runtime.cpu_instructions()),
            _compiler(),
            *_ascend(),
            _amct(),
            _atc(),
        ),
        versions=runtime.versions(),
    )
    by_name = {item.name: item for item in report.findings}
    needed = {
        Requirement.MINDSPORE: ("mindspore",),
        Requirement.ASCEND: ("npu", "cann"),
        Requirement.AMCT: ("amct",),
        Requirement.ATC: ("atc",),
        Requirement.VNNI: ("cpu",),
        Requirement.OPENVINO: ("openvino",),
    }
    missing = [
        f"{requirement.value}: {by_name[name].value}"
        for requirement in request.require
        for name in needed[requirement]
        if not by_name[name].ok
    ]
    if missing:
        message = f"required and missing: {'; '.join(missing)}"
        raise UnavailableError(message, hint="amctq doctor without --require shows all findings", data=report.data())
    return report


def _mindspore() -> Finding:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding(name="mindspore", ok=False, value=f"no answer within {_PROBE_SECONDS} s")
    probe = _probed(done.stdout)
    if done.returncode != 0 or probe is None:
        last = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        return Finding(
            name="mindspore",
            ok=False,
            value=f"does not work: {last}",
            advice="pip install mindspore 'numpy<2'",
        )
    version = runtime.versions()["mindspore"]
    return Finding(
        name="mindspore",
        ok=probe["convolution"],
        value=f"{version}, a convolution on the CPU works (import {probe['import_s']} s)",
    )


def _probed(stdout: str) -> dict[str, Any] | None:
    """The object in the last line of the probe; None where there is none."""
    try:
        found = json.loads((stdout.strip().splitlines() or [""])[-1])
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() >= {"convolution", "import_s"} else None


def _onednn() -> Finding:
    isa, reason = runtime.onednn_isa(Device.CPU)
    slow = isa is not None and isa.upper() not in {"AVX2", "AVX", "SSE41", "AVX2_VNNI"}
    return Finding(
        name="onednn",
        ok=not slow,
        value=f"{runtime.ONEDNN_ISA}={isa} ({reason})" if isa else f"{runtime.ONEDNN_ISA} {reason}",
        advice=f"unset {runtime.ONEDNN_ISA}: with AVX-512 MindSpore's convolutions are 27 times slower"
        if slow
        else None,
    )


def _numpy() -> Finding:
    version = runtime.versions()["numpy"] or "missing"
    ok = version.split(".")[0] == "1"
    advice = None if ok else "pip install 'numpy<2': MindSpore's operators fail with NumPy 2"
    return Finding(name="numpy", ok=ok, value=version, advice=advice)


def _onnxruntime() -> Finding:
    version = runtime.versions()["onnxruntime"]
    if version is None:
        return Finding(name="onnxruntime", ok=False, value="missing", advice="pip install onnxruntime")
    return Finding(name="onnxruntime", ok=True, value=version)


def _openvino() -> Finding:
    from amctq.inference.openvino_session import require_openvino

    try:
        require_openvino()
    except UnavailableError as error:
        value = f"{error.message}; only --target and --runtime openvino need it"
        return Finding(name="openvino", ok=False, value=value, advice=error.hint)
    return Finding(name="openvino", ok=True, value=runtime.versions()["openvino"] or "no version")


def _cpu(found: tuple[str, ...]) -> Finding:
    vnni, dot_products = runtime.has_vnni(found), {"asimddp", "i8mm"} & set(found)
    advice = None
    if runtime.saturates(found):
        advice = runtime.SATURATION_ADVICE
    elif not vnni and not dot_products:
        advice = "INT8 is exact here but slow: there are no instructions for dot products of bytes"
    named = "VNNI" if vnni else "dot products" if dot_products else "no VNNI"
    return Finding(
        name="cpu",
        ok=advice is None,
        value=f"{runtime.cpu_model()}, {runtime.cpu_count()} core(s), {named} ({' '.join(found) or 'no SIMD'})",
        advice=advice,
    )


def _compiler() -> Finding:
    from amctq.backends.compiled import compiler

    found = " ".join(compiler())
    return Finding(
        name="compiler",
        ok=bool(found),
        value=found or "no C compiler (CC, or cc on PATH)",
        advice=None if found else "not needed: with one, a training step of qat on a CPU takes less time",
    )


def _ascend() -> tuple[Finding, Finding]:
    nodes = runtime.npu_nodes()
    npu = _npu(nodes)
    home, version = runtime.cann_home(), runtime.cann_version()
    cann = Finding(
        name="cann",
        ok=home is not None,
        value=f"{version} in {home}" if home else "not found (ASCEND_TOOLKIT_HOME is not set)",
        advice=None if home or not nodes else "source the set_env.sh of CANN",
    )
    return npu, cann


def _npu(nodes: tuple[Path, ...]) -> Finding:
    """The NPUs that this process may use."""
    unused = "not needed: the native back end runs on the CPU"
    if not nodes:
        return Finding(name="npu", ok=False, value="none (no /dev/davinci*)", advice=unused)
    try:
        usable = runtime.usable_npus()
    except InputError as error:
        return Finding(name="npu", ok=False, value=error.message, advice=error.hint)
    named = f" ({runtime.VISIBLE_NPUS})" if runtime.visible_npus() is not None else ""
    value = ", ".join(f"davinci{number}" for number in usable) or "none"
    return Finding(name="npu", ok=bool(usable), value=value + named, advice=None if usable else unused)


def _amct() -> Finding:
    try:
        missing = amct_obstacles()
    except InputError as error:
        missing = [error.message]
    return Finding(
        name="amct",
        ok=not missing,
        value="; ".join(missing) or "amct_mindspore and an NPU: --backend auto takes it",
        advice="not needed: CANN 9.1 has removed it, and the native back end does its work" if missing else None,
    )


def _atc() -> Finding:
    path = shutil.which("atc", path=os.environ.get("PATH"))
    return Finding(name="atc", ok=path is not None, value=path or "not on PATH")
