"""The request of ``amctq prepare-cifar``, and the checks that its options do not contradict each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from amctq.download.address import checked_url
from amctq.download.source import Source, checked_sum
from amctq.errors import UsageError
from amctq.services import request as shared
from amctq.services.option import INPUT, Option, Request

ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
OFFICIAL_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
OFFICIAL_BYTES = 170_052_171
SYNTHETIC_TRAIN_IMAGES = 10_000
SYNTHETIC_TEST_IMAGES = 10_000
SYNTHETIC_SEED = 1
_LARGEST_ARCHIVE = 1 << 30  # CIFAR-10 has 184 million bytes before it is compressed
_GENERATED = "Generated set"


@dataclass(frozen=True, kw_only=True)
class PrepareCifarRequest(Request):
    """The request of ``amctq prepare-cifar``. Each field is the option of the same name; see the option's help.

    Attributes:
        archive: None means that the archive is downloaded.
        train_images: number of training images of the generated set.
        test_images: number of test images of the generated set.

    Raises:
        UsageError: a value is out of its range, or two options contradict each other.
    """

    archive: Annotated[Path | None, Option(INPUT, "Your own copy of cifar-10-binary.tar.gz.", metavar="FILE")] = None
    url: Annotated[
        str | None, Option(INPUT, "Address of the archive.  [default: the official address]", metavar="URL")
    ] = field(default=None, repr=False)
    mirror: Annotated[tuple[str, ...], shared.MIRROR] = field(default=(), repr=False)  # both may hold passwords
    sha256: Annotated[
        str | None, Option(INPUT, "SHA-256 of the archive, if it is not the official one.", metavar="HEX")
    ] = None
    md5: Annotated[str | None, Option(INPUT, "MD5 of the archive.  [default: the official one]", metavar="HEX")] = None
    synthetic: Annotated[bool, Option(_GENERATED, "Generate images of shapes and textures in ten classes instead.")] = (
        False
    )
    train_images: Annotated[
        int | None, Option(_GENERATED, "Number of training images.  [default: 10,000]", metavar="N")
    ] = None
    test_images: Annotated[int | None, Option(_GENERATED, "Number of test images.  [default: 10,000]", metavar="N")] = (
        None
    )
    seed: Annotated[
        int | None, Option(_GENERATED, "Random seed; the same seed gives the same files.  [default: 1]", metavar="N")
    ] = None
    retries: Annotated[int, shared.RETRIES] = 3
    timeout: Annotated[float, shared.TIMEOUT] = 30
    retry_delay: Annotated[float, shared.RETRY_DELAY] = 1
    output_dir: Annotated[Path, shared.OUTPUT_DIR] = Path("data")
    force: Annotated[bool, shared.FORCE] = False

    def __post_init__(self) -> None:
        from amctq.data.cifar import CLASSES  # imported late, because it loads NumPy

        super().__post_init__()
        exclusive = [
            option
            for option, given in (("--archive", self.archive), ("--url", self.url), ("--synthetic", self.synthetic))
            if given
        ]
        sums = [option for option, given in (("--sha256", self.sha256), ("--md5", self.md5)) if given]
        if len(exclusive) > 1 or len(sums) > 1 or (self.synthetic and sums):
            given = (*exclusive, *sums) if self.synthetic else (exclusive if len(exclusive) > 1 else sums)
            message = f"{' and '.join(given)} contradict each other"
            raise UsageError(message, hint="give one of them")
        for option, value, least in (
            ("--train-images", self.train_images, CLASSES),
            ("--test-images", self.test_images, CLASSES),
            ("--seed", self.seed, 0),
        ):
            if value is not None and not self.synthetic:
                message = f"{option} is about a generated set, and --synthetic is not given"
                raise UsageError(message, hint="add --synthetic")
            if value is not None and value < least:
                message = f"{option} {value}: expected {least} or more"
                raise UsageError(message)
        if self.url is not None:
            checked_url(self.url, option="--url")
        for mirror in self.mirror:
            checked_url(mirror, option="--mirror")
        if self.sha256 is not None:
            checked_sum(self.sha256, option="--sha256", digits=64)
        if self.md5 is not None:
            checked_sum(self.md5, option="--md5", digits=32)

    @property
    def source(self) -> Source:
        """The source of the archive: its addresses, and the checksum that identifies it."""
        urls = (self.url or ADDRESS,)
        if self.sha256 is not None:
            sha256 = checked_sum(self.sha256, option="--sha256", digits=64)
            source = Source(urls=urls, sha256=sha256, largest=_LARGEST_ARCHIVE)
        elif self.md5 is not None:
            md5 = checked_sum(self.md5, option="--md5", digits=32)
            source = Source(urls=urls, md5=md5, largest=_LARGEST_ARCHIVE)
        else:
            source = Source(urls=urls, md5=OFFICIAL_MD5, size=OFFICIAL_BYTES)
        return source.mirrored(self.mirror)

    @property
    def origin(self) -> dict[str, str | int]:
        """The origin of the set, as the manifest records it; equal origins give equal files."""
        from amctq.data import synthetic

        if not self.synthetic:
            source = self.source
            algorithm = "sha256" if source.sha256 else "md5"
            return {"kind": "archive", algorithm: source.identity or ""}
        return {
            "kind": "synthetic",
            "version": synthetic.VERSION,
            "train_images": SYNTHETIC_TRAIN_IMAGES if self.train_images is None else self.train_images,
            "test_images": SYNTHETIC_TEST_IMAGES if self.test_images is None else self.test_images,
            "seed": SYNTHETIC_SEED if self.seed is None else self.seed,
        }
