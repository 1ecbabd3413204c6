"""``prepare_cifar`` as a call: archives that are refused, and options that contradict each other."""

from __future__ import annotations

import gzip
import hashlib
import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from amctq import PrepareCifarRequest, prepare_cifar
from amctq.errors import InputError, UsageError
from amctq.progress import Event, Notice
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


def _negative(kind: bytes, size: int) -> bytes:
    """87 bytes or so, whose only header declares a length below 0, as GNU tar writes such numbers."""
    return gzip.compress(header("x", kind, size=size).tobuf(tarfile.GNU_FORMAT))


def _endless_extended_headers(size: int) -> bytes:
    """Extended headers only, each after the last one."""
    member = header("x", tarfile.XHDTYPE, size=size)
    return gzip.compress((member.tobuf(tarfile.GNU_FORMAT) + bytes(size)) * 100_000, 1)


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
        pytest.param(lambda _: _negative(tarfile.XHDTYPE, -512), ["declares -512 bytes"], id="negative-extended"),
        pytest.param(lambda _: _negative(tarfile.XGLTYPE, -1), ["declares -1 bytes"], id="negative-global"),
        pytest.param(lambda _: _negative(tarfile.SOLARIS_XHDTYPE, -(1 << 40)), ["declares -1,"], id="negative-solaris"),
        pytest.param(lambda _: _negative(tarfile.REGTYPE, -512), ["declares -512 bytes"], id="negative-file"),
        pytest.param(lambda _: _endless_extended_headers(0), ["256 headers"], id="endless-extended-headers"),
        pytest.param(lambda _: _endless_extended_headers(512), ["256 headers"], id="endless-extended-headers-of-512"),
        pytest.param(
            lambda small: tar(small, *(header(f"{INSIDE}/.{index}") for index in range(300))),
            ["256 headers"],
            id="endless-hidden-files",
        ),
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


def test_a_file_larger_than_any_archive_is_left_early() -> None:
    archive = Path("own.tar.gz")
    archive.write_bytes(gzip.compress(bytes(10_240)))
    with archive.open("r+b") as stream:
        stream.truncate(1 << 42)  # a hole
    with pytest.raises(InputError, match=r"more than the 1,073,741,824 bytes"):
        prepare_cifar(PrepareCifarRequest(archive=archive, md5="0" * 32))
    archive.unlink()


def test_what_a_mac_leaves_in_an_archive_is_passed_over_and_said(small: Content) -> None:
    hidden = ("._data_batch_1.bin", ".DS_Store", "Thumbs.db", "./._cifar-10-batches-bin", "__MACOSX/x/._test_batch.bin")
    archive = tar({**dict.fromkeys(hidden, b"\0\5\26\7"), **small})
    Path("own.tar.gz").write_bytes(archive)
    events: list[Event] = []
    request = PrepareCifarRequest(
        archive=Path("own.tar.gz"), md5=hashlib.md5(archive).hexdigest(), output_dir=Path("data")
    )
    result = prepare_cifar(request, events.append)
    assert sum(result.data()["images_per_class"]["test"]) == 100
    said = [event.text for event in events if isinstance(event, Notice) and "passed over" in event.text]
    assert len(said) == 1
    assert "own.tar.gz: passed over 5 hidden or system entries" in said[0]
    assert not [path for path in Path("data").rglob("*") if path.name.startswith((".", "__", "Thumbs"))]


TEST_FILE = "files cifar-10-verify-bin/test_batch.bin"


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        ("origin", [], "origin: found []"),
        ("origin", {"seed": {}}, "origin"),
        ("synthetic", "yes", 'synthetic: found "yes"'),
        ("classes", ["cat"], "classes"),
        ("classes", [1] * 10, "classes"),
        ("files", [], "files: found []"),
        ("files", {}, "files: cifar-10-batches-bin/batches.meta.txt is missing"),
        ("files ../../outside", {}, "unknown key"),
        (f"{TEST_FILE} bytes", "30", 'bytes: found "30"'),
        (f"{TEST_FILE} bytes", -1, "bytes: found -1"),
        (f"{TEST_FILE} sha256", 5, "sha256: found 5"),
        (f"{TEST_FILE} sha256", "x", "64 hexadecimal digits"),
        (f"{TEST_FILE} images_per_class", ["1"] * 10, "images_per_class"),
        (f"{TEST_FILE} images_per_class", None, "images_per_class"),
        ("schema", "1", 'schema: found "1"'),
    ],
)
def test_a_manifest_with_other_fields(keys: str, value: Any, said: str) -> None:
    request = PrepareCifarRequest(synthetic=True, train_images=10, test_images=10, output_dir=Path("data"))
    prepare_cifar(request)
    path = Path("data", "cifar-10-manifest.json")
    document = json.loads(path.read_bytes())
    *outer, last = keys.split(" ")
    reduce(dict.__getitem__, outer, document)[last] = value
    path.write_text(json.dumps(document))
    before = {item: item.read_bytes() for item in Path("data").rglob("*") if item.is_file()}
    with pytest.raises(InputError) as caught:
        prepare_cifar(request)
    assert said in f"{caught.value.message} {caught.value.hint}"
    assert str(path) in caught.value.message
    assert {item: item.read_bytes() for item in Path("data").rglob("*") if item.is_file()} == before
    prepare_cifar(replace(request, force=True))
    assert prepare_cifar(request).already


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"schema": 1' + b"0" * 5000 + b"}"]
)
def test_a_manifest_that_is_no_json(content: bytes) -> None:
    Path("data").mkdir()
    Path("data", "cifar-10-manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"cifar-10-manifest\.json"):
        prepare_cifar(PrepareCifarRequest(synthetic=True, train_images=10, test_images=10, output_dir=Path("data")))


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
