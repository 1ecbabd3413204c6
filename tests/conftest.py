"""Fixtures that every test may use: the installed command, the shared data, an isolated environment."""

from __future__ import annotations

import os
import shutil
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from amctq.data import synthetic
from tests.command import Finished, Own, Shared
from tests.runs import Runs
from tests.server import Server, running, self_signed

# How long an example takes says nothing of what is tested, and on a busy machine everything takes long.
settings.register_profile("amctq", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("amctq")

# A shell that runs the tests in the background has had Ctrl-C ignored, which the commands would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# MindSpore reads it once, when it is imported, which many tests do before a command could say so.
os.environ.setdefault("GLOG_v", "4")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No AMCTQ_* or proxies of the developer's own, and an empty current directory."""
    for name in [name for name in os.environ if name.startswith("AMCTQ_") or name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    for name in ("ONEDNN_MAX_CPU_ISA", "GLOG_v", "DEVICE_ID", "ASCEND_RT_VISIBLE_DEVICES", "NO_COLOR", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    work = tmp_path / "cwd"
    work.mkdir()
    monkeypatch.chdir(work)


@pytest.fixture(scope="session")
def shared() -> Shared:
    """Real CIFAR-10 and trained checkpoints; the test is skipped where they are not."""
    if not (SHARED / "checkpoints").is_dir():
        pytest.skip(f"needs the real data and checkpoints in {SHARED}")
    return Shared(SHARED)


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server on loopback."""
    with running(Server()) as server:
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for loopback that nobody has signed."""
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command, to make a certificate")
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[Server]:
    """The same with TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with running(Server(context)) as server:
        yield server


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """What is run once for many tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder of its own in that of the session
        folder = folder.parent
    (folder / "runs").mkdir(exist_ok=True)
    return Runs(folder / "runs")


@pytest.fixture(scope="session")
def resnet20_run(shared: Shared, runs: Runs) -> tuple[Finished, Path]:
    """A run with the usual options, which writes ONNX and MindIR."""
    options = ("--eval-images", 100, "--batch-size", 50, "--export", "onnx,mindir", "--json")
    return runs.finished("ptq", *shared.network("resnet20"), *options)


@pytest.fixture(scope="session")
def own(resnet20_run: tuple[Finished, Path], runs: Runs) -> Own:
    """A network, images, a configuration and a record of one's own."""
    folder = runs.made("own", _save_own)
    results = resnet20_run[1]
    return Own(
        checkpoint=folder / "small.ckpt",
        npz=folder / "images.npz",
        config=results / "config.json",
        record=results / "calibration_record.txt",
    )


def _save_own(folder: Path) -> None:
    import mindspore

    from tests.backends.networks import Small

    mindspore.set_seed(1)
    mindspore.save_checkpoint(Small(10), str(folder / "small.ckpt"))
    random = np.random.default_rng(8)
    images = random.normal(size=(64, 3, 32, 32)).astype(np.float32)
    np.savez(folder / "images.npz", images=images, labels=random.integers(0, 10, 64))


@pytest.fixture(scope="session")
def pictures(runs: Runs) -> Path:
    """A folder of CIFAR-10 files with generated pictures, which resnet8 has learned."""
    return runs.made("pictures", lambda folder: _save_pictures(folder, train=96, test=64))


@pytest.fixture(scope="session")
def pictures_in_chinese(runs: Runs) -> Path:
    """The same with more test images, in a folder whose name CANN would not take."""
    return runs.made("图 片", lambda folder: _save_pictures(folder, train=96, test=200))


def _save_pictures(folder: Path, *, train: int, test: int) -> None:
    for name, images, role in (("data_batch_1", train, 7), ("test_batch", test, 8)):
        np.concatenate(list(synthetic.records(images, seed=1, role=role))).tofile(folder / f"{name}.bin")
