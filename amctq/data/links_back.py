"""Links in an image folder that lead back into it: the images of one class would be those of another too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from amctq.errors import InputError

_HINT = "a class has the number of its folder, and images of its own: remove the link, or copy the images"


@dataclass(frozen=True, kw_only=True)
class ClassPlaces:
    """Where the class folders of a dataset really are.

    Attributes:
        owners: the class folder, by the folder in which it really is.
        above: the folders that hold all classes or one of them.
    """

    owners: Mapping[Path, Path]
    above: frozenset[Path]

    @classmethod
    def of(cls, place: Path, folders: Iterable[Path]) -> ClassPlaces:
        """Find those of the class folders in ``place``.

        Raises:
            InputError: a class folder is in another's, or has the whole dataset in it.
        """
        real = {folder: folder.resolve() for folder in folders}
        owners: dict[Path, Path] = {}
        for folder, at in real.items():
            owners.setdefault(at, folder)
        whole = place.resolve()
        places = cls(owners=owners, above=frozenset(at for one in (whole, *owners) for at in (one, *one.parents)))
        for folder, at in real.items():
            if whole.is_relative_to(at):
                message = f"{folder} is a link back to {at}, which holds all classes"
                raise InputError(message, hint=_HINT)
        for folder, at in real.items():
            other = places.other(at, folder)
            if other is not None:
                message = f"the class folder {folder} is a link to {at}, whose images are of the class {other.name}"
                raise InputError(message, hint=_HINT)
        return places

    def other(self, real: Path, own: Path) -> Path | None:
        """The class folder, not ``own``, in which a folder without links in its path is."""
        found = (self.owners.get(at) for at in (real, *real.parents))
        return next((folder for folder in found if folder is not None and folder != own), None)

    def leads_back(self, link: Path, own: Path) -> bool:
        """Whether a link inside the class folder ``own`` leads to another class, or to a folder with classes in it."""
        real = link.resolve()
        if self.owners.get(real) == own:  # a circle in the class itself, where each folder is visited once
            return False
        return real in self.above or self.other(real, own) is not None
