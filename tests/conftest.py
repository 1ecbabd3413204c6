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

from amctq.data import synthetic
from tests.command import Own, Shared, amctq
from tests.server import Server, running, self_signed

# A shell that runs the tests in the background has had Ctrl-C ignored, which the commands would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No AMCTQ_* or proxies of the developer's own, and an empty current directory."""
    for name in [name for name in os.environ if name.startswith("AMCTQ_") or name.upper().endswith("_PROXY")]:
        monkeypatch.delenv(name)
    for name in ("ONEDNN_MAX_CPU_ISA", "GLOG_v", "DEVICE_ID", "NO_COLOR", "SSL_CERT_FILE"):
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
def own(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Own:
    """A network, images, a configuration and a record of one's own."""
    folder = tmp_path_factory.mktemp("own")
    import mindspore

    from tests.backends.networks import Small

    mindspore.set_seed(1)
    checkpoint = folder / "small.ckpt"
    mindspore.save_checkpoint(Small(10), str(checkpoint))
    random = np.random.default_rng(8)
    npz = folder / "images.npz"
    images = random.normal(size=(64, 3, 32, 32)).astype(np.float32)
    np.savez(npz, images=images, labels=random.integers(0, 10, 64))
    results = folder / "results"
    arguments = ["--dataset", shared.data, "--ckpt", shared.checkpoint("resnet20"), "--model", "resnet20"]
    done = amctq("ptq", *arguments, "--eval-images", "0", "--output-dir", results)
    assert done.code == 0, done.stderr
    return Own(
        checkpoint=checkpoint, npz=npz, config=results / "config.json", record=results / "calibration_record.txt"
    )


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of CIFAR-10 files with generated pictures, which resnet8 has learned."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, images, role in (("data_batch_1", 96, 7), ("test_batch", 64, 8)):
        np.concatenate(list(synthetic.records(images, seed=1, role=role))).tofile(folder / f"{name}.bin")
    return folder
