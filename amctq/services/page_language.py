"""The language of a page: as asked for, else that of the environment."""

from __future__ import annotations

from collections.abc import Mapping

from amctq.choices import Language

_NAMES = ("LC_ALL", "LC_MESSAGES", "LANG")  # the first that is set decides, as for other programs


def page_language(asked: Language | None, environment: Mapping[str, str]) -> Language:
    """The language of a page: as asked for, else Chinese where the environment says so, else English."""
    if asked is not None:
        return asked
    named = next((environment[name] for name in _NAMES if environment.get(name)), "")
    return Language.ZH if named.lower().startswith("zh") else Language.EN
