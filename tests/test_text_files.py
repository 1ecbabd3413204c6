"""Text files from any editor: with or without a byte order mark, whatever ends the lines; other encodings are named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from amctq.errors import InputError
from amctq.input_file import LARGEST, read_text
from tests.readers import TEXT_FILES, TextFile

_BOM = b"\xef\xbb\xbf"
_EACH = pytest.mark.parametrize("file", TEXT_FILES, ids=lambda file: file.name)


def _written(file: TextFile, content: bytes) -> Path:
    path = Path(file.name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


@_EACH
@pytest.mark.parametrize(
    "saved",
    [
        pytest.param(lambda content: _BOM + content, id="bom"),
        pytest.param(lambda content: content.replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(lambda content: _BOM + content.replace(b"\n", b"\r\n"), id="windows"),
        pytest.param(lambda content: content.replace(b"\n", b"\r"), id="cr"),
    ],
)
def test_any_editor_may_have_saved_it(file: TextFile, saved: Callable[[bytes], bytes]) -> None:
    plain = file.read(_written(file, file.content()))
    assert file.read(_written(file, saved(file.content()))) == plain


@_EACH
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32"])
def test_another_unicode_encoding_is_named(file: TextFile, encoding: str) -> None:
    path = _written(file, file.content().decode().encode(encoding))
    with pytest.raises(InputError, match=r"UTF-16|UTF-32") as refused:
        file.read(path)
    assert str(path) in refused.value.message
    assert "save it as UTF-8" in str(refused.value.hint)


@pytest.mark.parametrize(
    "file",
    [file for file in TEXT_FILES if file.name not in {"history.jsonl", "hccn.conf", "sums/fetched.sha256"}],
    ids=lambda file: file.name,
)
def test_a_byte_that_is_no_utf8_is_found_in_its_line(file: TextFile) -> None:
    """A history may end with anything, an hccn.conf has comments, and a list of sums has names of any bytes."""
    path = _written(file, file.content().replace(b"\n", b"\n\xb5\xe3 # ", 1))
    with pytest.raises(InputError, match=r"line 2: the byte 0xb5 is not UTF-8") as refused:
        file.read(path)
    assert "iconv -f GBK" in str(refused.value.hint)


def test_a_file_without_end_is_no_text() -> None:
    with pytest.raises(InputError, match=f"more than {LARGEST:,} bytes: that is no record"):
        read_text(Path("/dev/zero"), what="record", option="--record")
