"""Files of each kind that amctq reads as data, and seeded mutations of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from amctq.data.cifar import RECORD_BYTES
from tests.services.archives import TRAIN, Content, tar

Random = np.random.Generator
# Numbers that readers trip over: signs, sizes, ends of ranges.
_NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1]
_VALUES: list[Any] = [None, True, -1, 1.5, 10**30, "", "x" * 5000, "\ud800", [], [1], {}, {"a": []}, [[[]]]]
_FORMS = ("png", "jpeg", "bmp", "gif", "tiff", "webp", "ppm")


def mutated(content: bytes, random: Random) -> bytes:
    """``content`` with one to four changes: bits, numbers, and parts removed, repeated, inserted or cut off."""
    data = bytearray(content)
    for _ in range(random.integers(1, 5)):
        # Headers are near the start or the end; most of the rest is pixels.
        span = min(len(data), 512) if random.random() < 0.6 else len(data)
        at = int(random.integers(0, max(span, 1)))
        if random.random() < 0.2:
            at = max(len(data) - 1 - at, 0)
        length = int(random.integers(1, 40))
        match int(random.integers(0, 7)):
            case 0 if data:
                data[at] ^= 1 << int(random.integers(0, 8))
            case 1:
                data[at : at + length] = random.bytes(length)
            case 2:
                number = _NUMBERS[int(random.integers(0, len(_NUMBERS)))]
                order: Any = "big" if random.random() < 0.5 else "little"
                width = int(random.choice([w for w in (1, 2, 4, 8) if number < 1 << 8 * w]))
                data[at : at + width] = number.to_bytes(width, order)
            case 3:
                del data[at : at + length]
            case 4:
                data[at:at] = data[at : at + length * 20]
            case 5:
                data[at:at] = random.bytes(length)
            case _:
                del data[at:]
    return bytes(data)


def record_bytes(images: int, seed: int) -> bytes:
    """A record file with random pixels."""
    records = np.random.default_rng(seed).integers(0, 256, (images, RECORD_BYTES), dtype=np.uint8)
    records[:, 0] %= 10
    return records.tobytes()


def archive_content() -> Content:
    """The eight files of CIFAR-10's archive, with two images in each."""
    records = {name: record_bytes(2, index) for index, name in enumerate([*TRAIN, "test_batch.bin"])}
    names = "\n".join(f"class{index}" for index in range(10)).encode()
    return {"batches.meta.txt": names, "readme.html": b"<html></html>", **records}


def write_archive(folder: Path, random: Random) -> tuple[Path, str]:
    """A mutated archive, of its tar archive or of the compressed bytes; and its MD5."""
    plain = tar(archive_content(), compress=False)
    if random.random() < 0.7:
        # At a header: the members of 512 bytes and their content are on blocks.
        start = 512 * int(random.integers(0, len(plain) // 512))
        plain = (
            plain[:start] + mutated(plain[start : start + 512], random)[:512].ljust(512, b"\0") + plain[start + 512 :]
        )
        content = gzip.compress(plain, 1)
    else:
        content = mutated(gzip.compress(plain, 1), random)
    path = folder / "own.tar.gz"
    path.write_bytes(content)
    return path, hashlib.md5(content).hexdigest()


def write_records(folder: Path, random: Random) -> Path:
    """A folder of record files, one of them mutated."""
    root = _empty(folder / "records")
    content = record_bytes(3, 1)
    if random.random() < 0.5:
        labels = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES).copy()
        labels[int(random.integers(0, 3)), 0] = random.integers(0, 256)
        content = labels.tobytes()
    else:
        content = mutated(content, random)
    (root / "data_batch_1.bin").write_bytes(record_bytes(3, 2))
    (root / "test_batch.bin").write_bytes(content)
    return root


def write_images(folder: Path, random: Random) -> Path:
    """An image folder of two classes, one image of it mutated; sometimes with strange names."""
    root = _empty(folder / "images")
    form = _FORMS[int(random.integers(0, len(_FORMS)))]
    mode = ["RGB", "L", "1", "P", "RGBA"][int(random.integers(0, 5))]
    if form in {"jpeg", "ppm"}:
        mode = "RGB"
    pixels = np.random.default_rng(int(random.integers(0, 9))).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, form)
    name = str(random.choice([f"a.{form}", "a", "a.jpg", "._a.png", "a\udcff.png", "Thumbs.db", "\n.png"]))
    for label in ("one", "two"):
        (root / label).mkdir()
        Image.fromarray(pixels).save(root / label / "0.png")
    (root / "one" / name).write_bytes(mutated(stream.getvalue(), random))
    if random.random() < 0.1:
        (root / "three").mkdir()
    return root


def write_npz(folder: Path, random: Random) -> Path:
    """A mutated ``.npz`` file: a header inside it, or the bytes of the archive."""
    images: dict[str, np.ndarray[Any, Any]] = {
        "uint8": np.full((4, 8, 8, 3), 9, np.uint8),
        "float32": np.ones((4, 3, 8, 8), np.float32),
    }
    members = {}
    for name, array in (("images", images[str(random.choice(list(images)))]), ("labels", np.arange(4))):
        stream = io.BytesIO()
        np.save(stream, array)
        members[name] = stream.getvalue()
    inside = random.random() < 0.6
    if inside:
        name = str(random.choice(list(members)))
        members[name] = mutated(members[name], random)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED if random.random() < 0.5 else zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    path = folder / "data.npz"
    path.write_bytes(packed.getvalue() if inside else mutated(packed.getvalue(), random))
    return path


def mutated_json(content: bytes, random: Random) -> bytes:
    """JSON with a value of another type, or a key removed or renamed; or with mutated bytes."""
    if random.random() < 0.3:
        return mutated(content, random)
    document = json.loads(content)
    for _ in range(random.integers(1, 3)):
        place, key = _anywhere(document, random)
        match int(random.integers(0, 4)):
            case 0:
                del place[key]
            case 1 if isinstance(place, dict):
                place[f"{key}x"] = place.pop(key)
            case _:
                place[key] = _VALUES[int(random.integers(0, len(_VALUES)))]
        if not document:
            break
    return json.dumps(document).encode()


def _anywhere(document: Any, random: Random) -> tuple[Any, Any]:
    """A container in ``document``, and a key or an index of it."""
    place = document
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = keys[int(random.integers(0, len(keys)))]
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or random.random() < 0.3:
            return place, key
        place = inner


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


DATASETS: dict[str, Callable[[Path, Random], Path]] = {
    "records": write_records,
    "images": write_images,
    "npz": write_npz,
}
