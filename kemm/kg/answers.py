"""A closed list of answers, some of which name entities of a graph."""

from pathlib import Path

from kemm.kg.files import read_graph
from kemm.rows import Gate, RowError, read_list, text_of


class Answers:
    """Answers in their order; one that several entities share by name counts once.

    Args:
        path: JSON: a list of {"answer": str, "entity": id or null}.
        graph: Folder of the graph that the ids are of, or None.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: An entry is malformed or names an unknown entity, or there is none.
    """

    def __init__(self, path: Path, graph: Path | None = None) -> None:
        self.path = path
        self.graph = None if graph is None else read_graph(graph)[0]
        known = self.graph.entity_index if self.graph is not None else {}
        # An answer that was skipped would move all that follow, and with them the rows of heads that were trained: never skipped.
        gate = Gate("error")
        listed: list[tuple[str, str | None]] = []
        for where, entry in read_list(path, "answers"):
            with gate.row(where):
                entity = entry.get("entity") if isinstance(entry, dict) else None
                if entity is not None and not isinstance(entity, str):
                    raise RowError("malformed", f"'entity' is {entity!r:.80}, expected the id of an entity or null")
                listed.append((text_of(entry, "answer"), entity))
                if entity is not None and self.graph is not None and entity not in known:
                    raise RowError("unknown id", f"the entity {entity!r} is not among the {len(known)} of {graph}")
        if not listed:
            raise ValueError(f"{path}: expected a list of answers, and it is empty")
        self.names = list(dict.fromkeys(name for name, _ in listed))
        self.index = {name: place for place, name in enumerate(self.names)}
        # Row 0 of entity tables is "none", so rows are one more than the graph's indices.
        self.entities = {known[entity] + 1: self.index[name] for name, entity in listed if entity in known}

    def __len__(self) -> int:
        return len(self.names)
