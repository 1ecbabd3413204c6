"""Damage to files, drawn from a seed: single bytes, pieces, and what editors and other programs make of a text."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Iterator

# What may stand in the place of a number, a word or a text of a file.
_VALUES = (
    *(b"0", b"-1", b"1", b"0.5", b"1e999", b"-1e999", b"nan", b"inf", b"NaN", b"Infinity", b"1e-320", b"2.5"),
    *(b"4294967296", b"9007199254740993", b"9223372036854775808", b"1" * 400, b"1" * 5000, b"-" + b"9" * 5000),
    *(b"0x" + b"f" * 5000, b"true", b"false", b"null", b"None", b"True", b'""', b'"x"', b"'x'", b"[]", b"{}", b"[[]]"),
    *(b'{"a": 1}', b'[1, "a", null]', b'"\\ud800"', b'"\\u0000"', b'"\\xff"', b"'\\ud800'", b"'\\x00'", b'"\\377"'),
    *('"网络"'.encode(), b'"\xff"', b"\xed\xa0\x80", b"\0", b"x" * 70_000, b'"' + b"y" * 70_000 + b'"', b"\\", b'"'),
)
# What breaks readers of headers and lists: digits that are none, halves of characters, escapes, separators.
_TEXTS = (
    *("²", "٣", "é", "\ud800", "\x00", "\x1b[2J", "\x7f", "\u2028", "\ufeff", " ", "\t", "\r\n", "\n", "\r\n\r\n"),
    *("*", ":", ";", ",", "/", "@", "%00", "%", "..", "W/", '"', "bytes", "chunked", "gzip"),
)
_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[A-Za-z_][\w.]*|[-+]?[0-9][\w.+-]*')
_NESTED = ((b"[", b"]"), (b'{"a":', b"}"), (b"a {", b"}"), (b"(", b")"), (b"-", b""), (b"not ", b""), (b"x.", b""))


def mutation_count(usual: int) -> int:
    """How many damaged files a reader gets: FUZZ_MUTATIONS, where it is set."""
    return int(os.environ.get("FUZZ_MUTATIONS", usual))


def mutations(content: bytes, *, count: int, seed: int) -> Iterator[bytes]:
    """``count`` damaged copies of a file."""
    draw = random.Random(seed)
    for _ in range(count):
        damaged = content
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            damaged = draw.choice(_KINDS)(damaged, draw)
        yield damaged


def _place(content: bytes, draw: random.Random) -> int:
    return draw.randrange(len(content) + 1)


def _bit(content: bytes, draw: random.Random) -> bytes:
    if not content:
        return b"\1"
    changed = bytearray(content)
    changed[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _byte(content: bytes, draw: random.Random) -> bytes:
    place = _place(content, draw)
    return content[:place] + bytes([draw.randrange(256)]) + content[place + draw.randrange(2) :]


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: _place(content, draw)]


def _without(content: bytes, draw: random.Random) -> bytes:
    first, last = sorted((_place(content, draw), _place(content, draw)))
    return content[:first] + content[last:]


def _twice(content: bytes, draw: random.Random) -> bytes:
    first, last = sorted((_place(content, draw), _place(content, draw)))
    return content[:last] + content[first:last] + content[last:]


def _text(content: bytes, draw: random.Random) -> bytes:
    place = _place(content, draw)
    text = draw.choice(_TEXTS).encode(errors="surrogatepass")
    return content[:place] + text + content[place + draw.choice((0, 1, 1, 4, 20)) :]


def _line_moved(content: bytes, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    line = lines.pop(draw.randrange(len(lines)))
    lines.insert(draw.randrange(len(lines) + 1), line)
    return b"\n".join(lines * draw.choice((1, 1, 2)))


def _token(content: bytes, draw: random.Random) -> bytes:
    tokens = list(_TOKEN.finditer(content))
    if not tokens:
        return content
    token = draw.choice(tokens)
    other = draw.choice(_VALUES) if draw.random() < 0.8 else draw.choice(tokens)[0]
    return content[: token.start()] + other + content[token.end() :]


def _alike(content: bytes, draw: random.Random) -> bytes:
    """Another number for a number, another text for a text, another word for a word: what a parser does not refuse."""
    tokens = list(_TOKEN.finditer(content))
    if not tokens:
        return content
    token = draw.choice(tokens)
    kind = _kind(token[0])
    others = [other for other in (*_VALUES, *(item[0] for item in tokens)) if _kind(other) == kind]
    return content[: token.start()] + draw.choice(others) + content[token.end() :]


def _kind(token: bytes) -> str:
    if token[:1] in b"\"'":
        return "text" if len(token) > 1 and token[0] == token[-1] else ""
    if token.strip(b"-")[:1].isdigit() or token[:1] in b"[{":
        return "value"
    return "value" if token in {b"true", b"false", b"null", b"nan", b"inf"} else "word"


def _nested(content: bytes, draw: random.Random) -> bytes:
    opening, closing = draw.choice(_NESTED)
    depth = draw.choice((70, 300, 3000, 100_000))
    tokens = list(_TOKEN.finditer(content))
    if not tokens or draw.random() < 0.2:
        return opening * depth + content + closing * depth
    token = draw.choice(tokens)
    return content[: token.start()] + opening * depth + token[0] + closing * depth + content[token.end() :]


def _encoded(content: bytes, draw: random.Random) -> bytes:
    text = content.decode("latin-1")
    name = draw.choice(("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"))
    return text.encode(name, errors="replace")


def _lines_ended(content: bytes, draw: random.Random) -> bytes:
    return content.replace(b"\n", draw.choice((b"\r\n", b"\r", b"\n\n", b"\x0b", b"\xe2\x80\xa8", b"\x00")))


_KINDS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_bit, _byte, _cut, _without, _twice, _text, _text, _text, _line_moved, _nested, _encoded, _lines_ended),
    *(_token,) * 3,
    *(_alike,) * 12,
)
