"""Which engine is taken, and what is said of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from amctq import runtime
from amctq.backends.choice import Asked, amct_obstacles, resolve_backend
from amctq.choices import ActAlgo, BackendName, Device, ExportFormat, Placement
from amctq.errors import UnavailableError, UsageError
from amctq.runtime import resolve_device
from tests.amct.standin_path import standin_importable

ANYTHING = Asked(export=(), device=Device.AUTO)


@pytest.fixture
def npu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine with an NPU and CANN, and with amct_mindspore unless the parameter says otherwise."""
    monkeypatch.setattr(runtime, "npu_nodes", lambda: (Path("/dev/davinci0"),))
    monkeypatch.setattr(runtime, "cann_home", lambda: Path("/usr/local/Ascend"))
    with standin_importable() if getattr(request, "param", True) else contextlib.nullcontext():
        yield


def _choose(name: BackendName, asked: Asked = ANYTHING) -> tuple[BackendName, str]:
    backend, why = resolve_backend(name, asked, resolve_device(asked.device, None), batch_size=4)
    return backend.name, why


@pytest.mark.usefixtures("npu")
def test_auto_takes_amct_where_it_and_an_npu_are() -> None:
    assert _choose(BackendName.AUTO) == (BackendName.AMCT, "amct_mindspore and an NPU are here")
    assert _choose(BackendName.NATIVE) == (BackendName.NATIVE, "asked for")
    assert amct_obstacles() == []


@pytest.mark.usefixtures("npu")
@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (Asked(export=(ExportFormat.ONNX,), device=Device.AUTO), "amct_mindspore has no --export onnx"),
        (Asked(export=(), device=Device.AUTO, act_algo=ActAlgo.HFMG), "amct_mindspore has no --act-algo hfmg"),
        (Asked(export=(), device=Device.AUTO, placement=Placement.ORT), "amct_mindspore has no --placement ort"),
        (Asked(export=(), device=Device.AUTO, record=True), "amct_mindspore has no --record"),
        (Asked(export=(), device=Device.CPU), "amct_mindspore needs an NPU, and the device is cpu (asked for)"),
    ],
)
def test_auto_takes_the_engine_that_can(asked: Asked, why: str) -> None:
    assert _choose(BackendName.AUTO, asked) == (BackendName.NATIVE, why)


@pytest.mark.parametrize("npu", [False], indirect=True)
def test_an_npu_without_amct_is_the_native_engines(npu: None) -> None:
    del npu
    assert _choose(BackendName.AUTO) == (BackendName.NATIVE, "amct_mindspore is not installed")
    with pytest.raises(UnavailableError, match=r"--backend amct: amct_mindspore is not installed$"):
        _choose(BackendName.AMCT)


@pytest.mark.skipif(bool(runtime.npu_nodes()), reason="there is an NPU here")
def test_amct_without_an_npu_says_all_that_is_missing() -> None:
    with pytest.raises(UnavailableError, match=r"amct_mindspore is not installed; it needs an NPU, and .* no NPU"):
        _choose(BackendName.AMCT)


@pytest.mark.usefixtures("npu")
def test_what_was_asked_for_and_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="--export onnx: --backend amct has air"):
        _choose(BackendName.AMCT, Asked(export=(ExportFormat.ONNX,), device=Device.AUTO))
    with pytest.raises(UsageError, match="--record: --backend amct has no way from a record to a model"):
        _choose(BackendName.AMCT, Asked(export=(), device=Device.AUTO, record=True))
    with pytest.raises(UsageError, match="--export air: --backend native has"):
        _choose(BackendName.NATIVE, Asked(export=(ExportFormat.AIR,), device=Device.AUTO))
