"""The file of wordings: kind -> what is asked -> `asked` and `unseen` templates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

SLOT = "{entity}"
LISTS = ("asked", "unseen")
# Kinds whose wordings all mention an entity, kinds whose wordings never do; of the visual ones only `has_colour` does.
WITH_ENTITY, WITHOUT_ENTITY = ("two_hop", "yes_no", "comparison", "caption"), ("recognition", "one_hop")


@dataclass(frozen=True)
class Wording:
    """A template; its id is kind/what/list/number."""

    id: str
    text: str

    def fill(self, surface: str, article: str = "") -> tuple[str, tuple[int, int]]:
        """The question, and the (start, end) of the surface form in it; an article stands before it and does not belong to it."""
        start = self.text.find(SLOT)
        if start < 0:
            return self.text, (0, 0)
        filled = self.text[:start] + article + surface + self.text[start + len(SLOT) :]
        filled = filled[0].upper() + filled[1:]
        return filled, (start + len(article), start + len(article) + len(surface))


class Wordings:
    """All wordings.

    Args:
        path: The YAML file.

    Raises:
        ValueError: Names file, kind, group, what was given and expected.
    """

    def __init__(self, path: Path) -> None:
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ValueError(f"{path}: expected a readable YAML file: {error}") from error
        if not isinstance(document, dict) or not all(isinstance(groups, dict) for groups in document.values()):
            raise ValueError(f"{path}: expected a mapping from kinds to groups of wordings")
        self._lists: dict[tuple[str, str, str], list[Wording]] = {}
        for kind, groups in document.items():
            for what, lists in groups.items():
                self._read(f"{path}: {kind}: {what}", kind, what, lists)

    def of(self, kind: str, what: str, part: str) -> Sequence[Wording]:
        """The wordings of a group: those "asked" everywhere, or the "unseen" ones of `val_wordings`."""
        if (kind, what, part) not in self._lists:
            raise KeyError(f"no {part} wordings for {kind}/{what}")
        return self._lists[kind, what, part]

    @property
    def groups(self) -> list[tuple[str, str]]:
        """(kind, what) of each group."""
        return list(dict.fromkeys((kind, what) for kind, what, _ in self._lists))

    def _read(self, where: str, kind: str, what: str, lists: object) -> None:
        if not isinstance(lists, dict) or set(lists) != set(LISTS):
            raise ValueError(f"{where}: expected a mapping with the lists {LISTS}, given {str(lists)[:80]}")
        seen: set[str] = set()
        for part in LISTS:
            texts = lists[part]
            if not isinstance(texts, list) or not texts or not all(isinstance(text, str) and text for text in texts):
                raise ValueError(f"{where}: {part}: expected a list of wordings, given {texts!r}")
            for text in texts:
                slots = text.count(SLOT)
                wanted = 1 if kind in WITH_ENTITY or what == "has_colour" else 0 if kind in WITHOUT_ENTITY or kind == "visual" else slots
                if slots != wanted or text.replace(SLOT, "").count("{"):
                    raise ValueError(f"{where}: {part}: expected {wanted} slot {SLOT} and no other, given {text!r}")
                if text in seen:
                    raise ValueError(f"{where}: the wording {text!r} is given twice")
                seen.add(text)
            self._lists[kind, what, part] = [Wording(f"{kind}/{what}/{part}/{place}", text) for place, text in enumerate(texts)]
