"""``prepare_cifar`` as a call: archives that are refused, and options that contradict each other."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from amctq import PrepareCifarRequest, prepare_cifar
from amctq.errors import InputError, UsageError
from tests.command import Shared
from tests.services.archives import INSIDE, Content, content_of, header, tar


@pytest.fixture(scope="module")
def small(shared: Shared) -> Content:
    return content_of(shared, 100)


def _refused_here(archive: bytes, *words: str) -> None:
    """Bad input, and nothing is left."""
    Path("own.tar.gz").write_bytes(archive)
    with pytest.raises(InputError) as caught:
        prepare_cifar(PrepareCifarRequest(archive=Path("own.tar.gz"), md5=hashlib.md5(archive).hexdigest()))
    assert all(word in caught.value.message for word in words), caught.value.message
    assert caught.value.hint
    assert [path.name for path in Path.cwd().iterdir()] == ["own.tar.gz"]


@pytest.mark.parametrize(
    ("member", "word"),
    [
        pytest.param(header("../x"), "leads out of the folder", id="parent"),
        pytest.param(header(f"{INSIDE}/../../x"), "leads out", id="parent-inside"),
        pytest.param(header("/tmp/amctq-x"), "leads out of the folder", id="absolute"),
        pytest.param(header(f"{INSIDE}/readme.html", tarfile.SYMTYPE, link="/etc/passwd"), "link", id="symlink"),
        pytest.param(header(f"{INSIDE}/test_batch.bin", tarfile.LNKTYPE, link="x"), "link", id="hard-link"),
        pytest.param(header(f"{INSIDE}/readme.html", tarfile.CHRTYPE), "neither file nor folder", id="device"),
        pytest.param(header(f"{INSIDE}/readme.html", tarfile.BLKTYPE), "neither file nor folder", id="disk"),
        pytest.param(header(f"{INSIDE}/readme.html", tarfile.FIFOTYPE), "neither file", id="fifo"),
        pytest.param(header(f"{INSIDE}/data_batch_1.bin", size=1 << 40), "1,099,511,627,776", id="bomb"),
        pytest.param(header(f"{INSIDE}/evil.so"), "evil.so", id="stranger"),
        pytest.param(header(f"{INSIDE}/" + "x" * 200), "xxxx", id="long-name"),
        pytest.param(header("././@LongLink", tarfile.GNUTYPE_LONGNAME), "neither file nor folder", id="gnu-long-name"),
    ],
)  # fmt: skip
def test_hostile_members(member: tarfile.TarInfo, word: str, small: Content) -> None:
    if member.size:
        empty = tar({}, header(member.name), compress=False)
        archive = gzip.compress(empty[:512] + member.tobuf(tarfile.GNU_FORMAT) + bytes(10_000))
    else:
        archive = tar(small, member)
    _refused_here(archive, "own.tar.gz", word)


def _damaged(small: Content) -> bytes:
    """The last block of deflate's data replaced, so that its CRC is another one."""
    archive = gzip.compress(tar(small, compress=False), 0)
    middle = len(archive) - 3000  # the padding of tar, stored as it is
    return archive[:middle] + b"x" + archive[middle + 1 :]


def _bomb_of_zeros(small: Content) -> bytes:
    """Zeros without end after a whole archive."""
    return gzip.compress(tar(small, compress=False) + bytes(64 << 20))


def _bomb_in_an_extended_header(small: Content) -> bytes:
    """What tarfile would read into memory: 256 MiB of extended header, in 256 KiB."""
    member = header("x", tarfile.XHDTYPE, size=256 << 20)
    return gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda small: b"<html>404 not found</html>", ["no .tar.gz", "<html>"], id="html"),
        pytest.param(lambda small: b"", ["the file is empty"], id="empty"),
        pytest.param(lambda small: gzip.compress(b"x" * 5000), ["no tar archive"], id="gzip-but-no-tar"),
        pytest.param(lambda small: tar(small)[:-5000], ["cut short"], id="truncated-gzip"),
        pytest.param(lambda small: tar(small)[:-4], ["cut short"], id="truncated-trailer"),
        pytest.param(
            lambda small: gzip.compress(tar(small, compress=False)[:700_000]),
            ["ends in the middle"],
            id="truncated-tar",
        ),
        pytest.param(_damaged, ["own.tar.gz is damaged"], id="damaged"),
        pytest.param(_bomb_of_zeros, ["1 MiB after its last file"], id="zeros"),
        pytest.param(_bomb_in_an_extended_header, ["extended header"], id="extended-header"),
        pytest.param(
            lambda small: tar({**small, "data_batch_3.bin": small["data_batch_3.bin"][:-1]}),
            ["data_batch_3.bin", "3,073"],
            id="length",
        ),
        pytest.param(lambda small: tar({**small, "data_batch_3.bin": b""}), ["data_batch_3.bin"], id="empty-member"),
        pytest.param(
            lambda small: tar({**small, "test_batch.bin": small["test_batch.bin"] + b"\x0b" + bytes(3072)}),
            ["test_batch.bin", "record 100 has label 11"],
            id="label",
        ),
        pytest.param(
            lambda small: tar({name: data for name, data in small.items() if name != "data_batch_4.bin"}),
            ["lacks data_batch_4.bin"],
            id="lacking",
        ),
        pytest.param(
            lambda small: tar({**small, "cifar-10-batches-bin/test_batch.bin": b"x"}), ["two files"], id="twice"
        ),
        pytest.param(lambda small: tar({**small, "batches.meta.txt": b"cat\ndog\n"}), ["2 names"], id="names"),
        pytest.param(
            lambda small: tar({**small, "batches.meta.txt": bytes(1 << 20)}), ["1,048,576 bytes"], id="long-text"
        ),
        pytest.param(
            lambda small: tar({"cifar-10-batches-py/data_batch_1": b"\x80\x02"}), ["Python version"], id="python"
        ),
    ],
)  # fmt: skip
def test_bad_archives(make: Callable[[Content], bytes], words: list[str], small: Content) -> None:
    _refused_here(make(small), *words)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"archive": Path("F"), "url": "http://localhost/x"}, ["--archive", "--url"]),
        ({"archive": Path("F"), "synthetic": True}, ["--archive", "--synthetic"]),
        ({"synthetic": True, "md5": "0" * 32}, ["--synthetic", "--md5"]),
        ({"md5": "0" * 32, "sha256": "0" * 64}, ["--md5", "--sha256"]),
        ({"md5": "12"}, ["--md5", "32"]),
        ({"sha256": "g" * 64}, ["--sha256"]),
        ({"url": "ftp://host/x"}, ["--url"]),
        ({"train_images": 100}, ["--train-images", "--synthetic"]),
        ({"seed": 0}, ["--seed"]),
        ({"synthetic": True, "test_images": 9}, ["--test-images 9", "10"]),
        ({"synthetic": True, "seed": -1}, ["--seed"]),
    ],
    ids=str,
)
def test_contradicting_options(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        PrepareCifarRequest(**options)
    assert all(word in caught.value.message for word in words), caught.value.message
