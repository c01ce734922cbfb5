"""Descriptions of entities made of linked texts: what the sentences say that mention them."""

import os
import tempfile
from pathlib import Path

from kemm.data.passages import Passage, Span
from kemm.data.prepare import Preparation
from kemm.kg import read_graph
from kemm.rows import Gate, RowError, list_of, text_of


class Descriptions(Preparation):
    """Writes a description of each entity that a text mentions: its name, what it is, and the sentences in which it stands, those of the
    texts that are about it first; and of each relation: its name, and what kinds it joins. `DescribedTriples` reads both.

    Args:
        graph: Folder of the graph.
        texts: JSON lines {"text", "entity", "mentions": [{"start", "end", "entity"}]}; `entity` is what the text is about.
        out: Where the entities' lines go: id, tab, description.
        relations: Where the relations' go.
        longest: Letters after which no further sentence is added.
    """

    def __init__(self, graph: Path, texts: Path, out: Path, relations: Path, longest: int = 400) -> None:
        self.graph, self.texts, self.out, self.relations, self.longest = graph, texts, out, relations, longest

    def __call__(self) -> None:
        """Writes the files, unless they are newer than what they are made of.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: A line is bad: file, line, what was given and expected.
        """
        sources = [self.texts, *(Path(self.graph) / name for name in ("entities.jsonl", "relations.jsonl", "triples.tsv"))]
        made = [Path(self.out), Path(self.relations)]
        if all(path.is_file() for path in (*made, *sources)):
            newest = max(Path(path).stat().st_mtime_ns for path in sources)
            if all(path.stat().st_mtime_ns > newest for path in made):
                return
        for path, lines in zip(made, (self.entity_lines(), self.relation_lines()), strict=True):
            _write(path, "".join(f"{name}\t{text}\n" for name, text in lines))

    def entity_lines(self) -> list[tuple[str, str]]:
        """(id, description) of each entity that has one."""
        graph = read_graph(self.graph)[0]
        own: dict[str, list[str]] = {}
        others: dict[str, list[str]] = {}
        gate = Gate()
        for where, row in gate.objects(self.texts, "JSON lines of texts with mentions"):
            with gate.row(where):
                passage = Passage("", str(row.get("entity", "")), text_of(row, "text"), tuple(map(_span, list_of(row, "mentions"))))
                for sentence in passage.sentences():
                    for entity in dict.fromkeys(span.entity for span in sentence.spans):
                        (own if entity == passage.entity else others).setdefault(entity, []).append(sentence.text)
        lines = []
        for node in graph.entities:
            text = f"{node.name}, {node.kind}." if node.kind else f"{node.name}."
            sentences = [*own.get(node.id, ()), *others.get(node.id, ())]
            for added in sentences:
                if len(text) < self.longest and added != f"{node.name}.":  # a heading
                    text += f" {added}"
            lines += [(node.id, " ".join(text.split()))] if sentences else []
        return lines

    def relation_lines(self) -> list[tuple[str, str]]:
        """(id, description) of each relation."""
        lines = []
        for relation in read_graph(self.graph)[0].relations:
            head, tail = (" or ".join(kinds) or "anything" for kinds in (relation.head, relation.tail))
            lines.append((relation.id, f"{relation.name}: {head} to {tail}"))
        return lines


def _span(mention: object) -> Span:
    if not isinstance(mention, dict) or not {"start", "end"} <= mention.keys():
        raise RowError("malformed", f"expected a mention with start, end and entity, got {mention!r:.80}")
    return Span(mention["start"], mention["end"], mention.get("entity") or "")


def _write(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="\n", dir=path.parent, delete=False) as file:
        file.write(text)
    os.replace(file.name, path)
