"""Archives of CIFAR-10 with few images, good and hostile."""

from __future__ import annotations

import gzip
import io
import tarfile

from tests.command import RECORD_BYTES, Shared

TRAIN = [f"data_batch_{index}.bin" for index in range(1, 6)]
INSIDE = "cifar-10-batches-bin"
Content = dict[str, bytes]


def content_of(shared: Shared, images: int | None = None) -> Content:
    """The eight files with real records; where ../shared has only two training files, they come again."""
    length = None if images is None else images * RECORD_BYTES
    first, second, test = (
        (shared.records / name).read_bytes()[:length] for name in (TRAIN[0], TRAIN[1], "test_batch.bin")
    )
    names = {name: (shared.records / name).read_bytes() for name in ("batches.meta.txt", "readme.html")}
    return {**names, **dict(zip(TRAIN, [first, second, first, second, first], strict=True)), "test_batch.bin": test}


def tar(content: Content, *more: tarfile.TarInfo, level: int = 6, compress: bool = True) -> bytes:
    """An archive of these files; ``more`` members without content come first."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        folder = tarfile.TarInfo(INSIDE)
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for member in more:
            archive.addfile(member)
        for name, data in content.items():
            member = tarfile.TarInfo(name if "/" in name else f"{INSIDE}/{name}")
            member.size = len(data)
            member.mtime = 1.5  # makes an extended header
            archive.addfile(member, io.BytesIO(data))
    return gzip.compress(stream.getvalue(), level) if compress else stream.getvalue()


def header(name: str, kind: bytes = tarfile.REGTYPE, *, link: str = "", size: int = 0) -> tarfile.TarInfo:
    """What stands before a file, a folder or a link."""
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made
