"""One image file, decoded to 8-bit red, green and blue."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from amctq.errors import InputError, first_line
from amctq.regular_file import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .bmp .gif .webp .tif .tiff .ppm .pgm .pbm .jp2 .avif".split()
)  # an image by its name; any other file is one by its content
# Raster formats only: others start programs (PostScript), or any text looks like them.
_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
MAX_PIXELS = 89_478_485  # Pillow's own limit; such an image takes 1 GB while it is decoded
# Their decoders take up to 22 bytes a pixel, twice as much as the others'.
_HALF = frozenset({"WEBP", "JPEG2000", "AVIF"})
# Tags of a TIFF, and values of them (TIFF 6.0, sections 8 and 19).
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339
_WHITE_IS_ZERO, _SIGNED = 0, 2
_SIXTEEN_BITS_AS_I = frozenset({"PNG", "PPM", "JPEG2000"})  # whose mode "I" is 0…65535; in TIFF it is any number


def is_image(path: Path) -> bool:
    """Whether the content of a file begins as an image does; a file that cannot be read does not."""
    try:
        with _opened(path):
            return True
    except _TooLargeError:
        return True
    except Exception:  # Pillow's readers raise errors of many kinds
        return False


def max_pixels(form: str | None) -> int:
    """The largest image of a format, by Pillow's name, that is decoded: with it no command takes 2 GB."""
    return MAX_PIXELS // 2 if form in _HALF else MAX_PIXELS


def decode(path: Path) -> NDArray[np.uint8]:
    """An image as uint8 (H, W, 3), red, green, blue. Transparency is ignored; of 16 bits the upper 8 are taken.

    Raises:
        InputError: the file cannot be read, is damaged or no image, has too many pixels, or pixels without a range.
    """
    try:
        rgb = _load(path)
        return np.asarray(rgb)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise errors of many kinds
        if isinstance(error, OSError) and error.errno is not None:
            message = f"cannot read the image {path}: {error.strerror}"
            raise InputError(message, hint="check the file and its permissions") from error
        message = f"{path} is damaged or not an image ({_reason(error)})"
        raise InputError(message, hint="replace it, or remove it from the folder") from error


class _TooLargeError(InputError):
    """The image has more pixels than ``max_pixels``."""


def _load(path: Path) -> Image | NDArray[np.uint8]:
    """The pixels in RGB; the image that was read is released before they are copied."""
    with _opened(path) as image:
        tags = getattr(image, "tag_v2", {})  # of a TIFF
        if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _SIXTEEN_BITS_AS_I):
            _check_bits(tags, path)
            grey = (np.asarray(image) >> 8).astype(np.uint8)
            if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:  # Pillow turns only 8 bits
                grey = ~grey
            return np.repeat(grey[:, :, None], 3, axis=2)
        if image.mode in {"I", "F"}:
            raise _unknown_range(path, "32-bit whole numbers" if image.mode == "I" else "floating-point numbers")
        if _SIGNED in _numbers(tags.get(_SAMPLE_FORMAT)):  # Pillow would take -1 for 255
            raise _unknown_range(path, "below 0")
        image.load()
        try:
            return image.convert("RGB")
        except ValueError as error:
            raise _unknown_range(path, f"of mode {image.mode}") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image]:
    """An image whose header has been read; its pixels have not."""
    from PIL import Image

    with warnings.catch_warnings(), open_regular(path) as stream:
        warnings.simplefilter("ignore")  # of what may be wrong beside the pixels
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(stream, formats=_formats()) as image:
                if image.width * image.height > max_pixels(image.format):
                    raise _too_large(path, f"{image.width * image.height:,}", image.format)
                yield image
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            found = re.search(r"(\d+) pixels", str(error))
            raise _too_large(path, f"{int(found[1]):,}" if found else "too many") from error


@cache
def _formats() -> tuple[str, ...]:
    """Those of ``_FORMATS`` that this Pillow was built with."""
    from PIL import Image

    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _check_bits(tags: Mapping[int, Any], path: Path) -> None:
    """Refuse a TIFF of 12 bits, which Pillow gives as 16 bits without scaling."""
    bits = _numbers(tags.get(_BITS, 16))
    if bits != (16,):
        raise _unknown_range(path, f"of {bits[0]} bits")


def _numbers(value: Any) -> tuple[Any, ...]:
    """What a tag of a TIFF holds: one value or several, or none."""
    return () if value is None else value if isinstance(value, tuple) else (value,)


def _too_large(path: Path, pixels: str, form: str | None = None) -> _TooLargeError:
    of = f" of {form}" if form in _HALF else ""
    message = f"{path} has {pixels} pixels, more than the {max_pixels(form):,} that amctq decodes{of}"
    return _TooLargeError(message, hint="save it smaller: the network takes a few hundred pixels of each side")


def _unknown_range(path: Path, what: str) -> InputError:
    message = f"{path} has pixels {what}, expected 8 or 16 bits of grey, or 8 bits of red, green and blue"
    return InputError(message, hint="save it as an 8-bit PNG")


def _reason(error: Exception) -> str:
    from PIL import UnidentifiedImageError

    return "it begins as none" if isinstance(error, UnidentifiedImageError) else first_line(error)
