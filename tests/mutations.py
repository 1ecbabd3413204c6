"""Seeded damage to the content of a file: what a disk, an editor and a bad program make of it."""

from __future__ import annotations

import random
from collections.abc import Iterator

_LIKED = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r\n", b"\n\n", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"-1",
    b"1e999", b"NaN", b"null", b"true", b"9" * 5000, b"[" * 5000, b"\\ud800", "²٣中".encode(), b"../", b"  ", b"0x10",
    b"1.5",
)  # fmt: skip


def mutations(content: bytes, *, seeds: int) -> Iterator[tuple[int, bytes]]:
    """The content with one to five changes, each with its seed; the same ones in every run."""
    for seed in range(seeds):
        chance = random.Random(seed)
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 1, 2, 5))):
            _change(changed, chance)
        yield seed, bytes(changed)


def _change(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content) + 1)
    end = min(len(content), start + chance.choice((1, 1, 2, 8, 64, 1 << 20)))
    match chance.randrange(7):
        case 0:
            del content[start:end]
        case 1:
            content[start:start] = chance.choice(_LIKED)
        case 2:
            content[start:end] = chance.choice(_LIKED)
        case 3:  # a piece is there twice
            content[start:start] = content[start:end]
        case 4 if end > start:
            content[start] ^= 1 << chance.randrange(8)
        case 5:  # two pieces change places
            other = chance.randrange(len(content) + 1)
            content[start:end], content[other:other] = b"", content[start:end]
        case _:
            content[start:start] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
