"""Images of every kind of pixel."""

from __future__ import annotations

import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from amctq.data.image_file import MAX_PIXELS, decode, is_image, max_pixels
from amctq.errors import InputError

COLOURS = np.random.default_rng(3).integers(0, 256, (9, 7, 3), dtype=np.uint8)
GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)


def _saved(image: Image.Image, name: str, **options: Any) -> Path:
    image.save(name, **options)
    return Path(name)


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
@pytest.mark.parametrize("factor", [257, 256], ids=["scaled", "shifted"])
def test_grey_of_sixteen_bits_is_what_its_eight_bits_are(suffix: str, factor: int) -> None:
    deep = Image.fromarray(GREY.astype(np.uint16) * factor)
    assert deep.mode == "I;16"
    expected = np.repeat(GREY[:, :, None], 3, axis=2)
    assert np.array_equal(decode(_saved(deep, f"deep.{suffix}")), expected)
    assert np.array_equal(decode(_saved(Image.fromarray(GREY), "plain.png")), expected)


def _tiff(pixels: np.ndarray[Any, Any], *, white_is_zero: bool = False, signed: bool = False) -> bytes:
    """A grey TIFF in one strip, little-endian; Pillow writes none of these kinds."""
    height, width = pixels.shape
    data, bits = pixels.tobytes(), 8 * pixels.itemsize
    start, long, short = 8, 4, 3
    tags = [(256, short, width), (257, short, height), (258, short, bits), (259, short, 1)]
    tags += [(262, short, int(not white_is_zero)), (273, long, start), (277, short, 1), (278, short, height)]
    tags += [(279, long, len(data)), (339, short, 2 if signed else 1)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return struct.pack("<2sHI", b"II", 42, start + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("factor", [1, 257], ids=["8-bits", "16-bits"])
def test_a_tiff_whose_zero_is_white(factor: int) -> None:
    pixels = (GREY.astype(int) * factor).astype(np.uint8 if factor == 1 else "<u2")
    expected = np.repeat(GREY[:, :, None], 3, axis=2)
    Path("black.tif").write_bytes(_tiff(pixels))
    Path("white.tif").write_bytes(_tiff(~pixels, white_is_zero=True))
    assert np.array_equal(decode(Path("black.tif")), expected)
    assert np.array_equal(decode(Path("white.tif")), expected)


@pytest.mark.parametrize(("kind", "said"), [("i1", "below 0"), ("<i2", "32-bit whole numbers")])
def test_pixels_below_zero_are_refused(kind: str, said: str) -> None:
    Path("signed.tif").write_bytes(_tiff((GREY.astype(int) - 128).astype(kind), signed=True))
    with pytest.raises(InputError, match=rf"signed\.tif has pixels {said}"):
        decode(Path("signed.tif"))


def _png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_colours_of_sixteen_bits_are_what_their_eight_bits_are() -> None:
    deep = COLOURS.astype(">u2") * 257
    rows = b"".join(b"\0" + row.tobytes() for row in deep)
    Path("deep.png").write_bytes(_png(7, 9, 16, 2, rows))
    assert np.array_equal(decode(Path("deep.png")), COLOURS)


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBA", "RGBX", "CMYK", "YCbCr", "1", "L", "P"])
def test_modes_that_are_colours_or_grey(mode: str) -> None:
    alpha = Image.new("L", (7, 9), 0)
    image = Image.fromarray(COLOURS)
    if mode in {"LA", "La"}:
        image = Image.merge("LA", (image.convert("L"), alpha))
        expected = image.convert("L").convert("RGB")
    elif mode == "RGBA":
        image.putalpha(alpha)  # the colour below stays
        expected = Image.fromarray(COLOURS)
    else:
        image = image.convert("P").convert("PA") if mode == "PA" else image.convert(mode)
        expected = image.convert("RGB")
    suffix = "png" if mode in {"LA", "RGBA", "1", "L", "P", "La"} else "tiff"
    if mode in {"PA", "RGBX"}:
        suffix = "png"
        image = image.convert("RGBA")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode(_saved(image, f"image.{suffix}"))
    assert np.array_equal(found, np.asarray(expected))


def test_a_palette_with_transparency_is_quiet_and_keeps_its_colours(capfd: pytest.CaptureFixture[str]) -> None:
    image = Image.fromarray(COLOURS).quantize(8)
    expected = np.asarray(image.convert("RGB"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = decode(_saved(image, "palette.png", transparency=bytes([0, 90, 255])))
    assert np.array_equal(found, expected)
    assert capfd.readouterr().err == ""


def test_a_photograph_turned_by_its_exif_is_taken_as_stored() -> None:
    exif = Image.Exif()
    exif[274] = 6
    path = _saved(Image.fromarray(COLOURS), "turned.png", exif=exif)
    assert np.array_equal(decode(path), COLOURS)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.ones((4, 4), np.float32), "floating-point numbers"),
        (np.full((4, 4), 70_000, np.int32), "32-bit whole numbers"),
    ],
    ids=["F", "I"],
)
def test_pixels_without_a_range_are_refused(pixels: np.ndarray[Any, Any], said: str) -> None:
    path = _saved(Image.fromarray(pixels), "image.tiff")
    with pytest.raises(InputError, match=said) as caught:
        decode(path)
    assert "8-bit PNG" in str(caught.value.hint)


@pytest.mark.parametrize(("width", "height"), [(13_000, 13_000), (10_000, 20_000), (60_000, 60_000)])
def test_a_huge_image_is_refused_by_its_size_and_before_it_takes_memory(width: int, height: int) -> None:
    path = Path("huge.png")
    row = bytes(1 + width)
    path.write_bytes(_png(width, height, 8, 0, row * 100))
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        decode(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert f"{width * height:,} pixels" in caught.value.message
    assert f"{MAX_PIXELS:,}" in caught.value.message
    assert "damaged" not in caught.value.message
    assert is_image(path)


@pytest.mark.parametrize("suffix", ["webp", "jp2", "avif"])
def test_what_takes_twice_the_memory_may_have_half_the_pixels(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    form = {"webp": "WEBP", "jp2": "JPEG2000", "avif": "AVIF"}[suffix]
    assert (max_pixels(form), max_pixels("PNG")) == (MAX_PIXELS // 2, MAX_PIXELS)
    Image.init()
    if form not in Image.SAVE:
        pytest.skip(f"this Pillow does not write {form}")
    monkeypatch.setattr("amctq.data.image_file.MAX_PIXELS", 20_000)
    image = Image.new("RGB", (200, 90))
    assert decode(_saved(image, "large.png")).shape == (90, 200, 3)
    with pytest.raises(InputError, match=rf"has 18,000 pixels, more than the 10,000 that amctq decodes of {form}"):
        decode(_saved(image, f"large.{suffix}"))
    assert decode(_saved(image.crop((0, 0, 100, 90)), f"small.{suffix}")).shape == (90, 100, 3)


def test_a_damaged_image_says_why() -> None:
    path = _saved(Image.fromarray(COLOURS), "image.png")
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(InputError, match=r"image.png is damaged or not an image \(.+\)"):
        decode(path)
    path.write_text("no image")
    with pytest.raises(InputError, match="damaged or not an image"):
        decode(path)
    assert not is_image(path)
