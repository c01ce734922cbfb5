"""Triples between entities that are described in words, with wrong ones beside them: what KEPLER's knowledge embedding reads (arXiv
1911.06136, section 3.2), from files as Wikidata5M has them."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from kemm.batch import Batch, TextInput
from kemm.data.known import specials
from kemm.data.source import Reach, Source
from kemm.data.tokens import TextReader
from kemm.kg import KnownTriples, read_known, read_triples
from kemm.rows import Gate, OnBad, RowError


class DescribedTriples(Source):
    """Triples of a graph whose ends have descriptions.

    The batch has `head`, `tail`, `negative_head` and `negative_tail` (those of a triple one after another), each the tokens of
    descriptions, and `triple` with `relation`, `head` and `tail` as rows of tables (0 is none). With descriptions of the relations there is
    `relation_text` (KEPLER-Rel), or `relation_head` and `relation_tail`, an entity's description with the relation's behind it
    (KEPLER-Cond). Wrong ends are drawn anew in each epoch among the described entities, and make no known triple.

    Args:
        graph: Folder of the graph, which says what the names mean and what is true.
        descriptions: Lines of an entity's id and its description, with a tab between them (`wikidata5m_text.txt`).
        tokenizer: A tokenizer file.
        path: File of the triples; the graph's own by default.
        without: Files of triples that are left out, with the same read backwards.
        relations: Lines of a relation's id and its description, for the two variants.
        conditional: Whether these stand behind the entities' (KEPLER-Cond) or for the relation (KEPLER-Rel).
        negatives: Wrong heads, and as many wrong tails, of each triple.
        max_length: Longer descriptions are cut, in tokens.
        seed: Of the wrong ends.
        on_bad: What happens to a bad line of the descriptions: an error that names it, or it is skipped and counted.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A line is bad, a relation has no description, or no triple between described entities is left.
    """

    def __init__(
        self,
        graph: Path,
        descriptions: Path,
        tokenizer: Path,
        path: Path | None = None,
        without: Sequence[Path] = (),
        relations: Path | None = None,
        conditional: bool = False,
        negatives: int = 1,
        max_length: int = 128,
        seed: int = 0,
        on_bad: OnBad = "error",
    ) -> None:
        self.reader, self.gate, self.graph = TextReader(tokenizer, max_length), Gate(on_bad), graph
        known = read_known(graph, without)
        self.sizes = known.num_entities, known.num_relations
        self.entities = read_descriptions(descriptions, known.entity_index, self.gate)
        self.relations = read_descriptions(relations, known.relation_index, self.gate) if relations else {}
        self.conditional, self.negatives, self.seed = conditional, negatives, seed
        given = read_triples(path, known)[0] if path else known.triples
        triples = given.tolist()
        self.triples = [row for row in triples if row[0] in self.entities and row[2] in self.entities]
        if not self.triples:
            raise ValueError(f"{path or graph}: none of {len(triples)} triples is between entities that {descriptions} describes")
        bare = sorted({row[1] for row in self.triples} - self.relations.keys())
        if relations and bare:
            raise ValueError(f"{relations}: {len(bare)} relations have no description, {known.relations[bare[0]].id!r} among them")
        self.false = FalseEnds(torch.cat([known.triples, given]), known.num_relations, sorted(self.entities))
        self.false.check(torch.tensor(self.triples))

    @property
    def skipped(self) -> dict[str, int]:
        return dict(self.gate.skipped)

    @property
    def reaches(self) -> dict[str, Reach]:
        names = {"head", "tail", "negative_head", "negative_tail"} | self._relation_streams().keys()
        texts = {f"{name}.{of}": self.reader.reaches[f"text.{of}"] for name in sorted(names) for of in ("ids", "length")}
        return texts | {"triple.relation": Reach(self.sizes[1] + 1, str(self.graph))}

    def __len__(self) -> int:
        return len(self.triples)

    def _relation_streams(self) -> Mapping[str, int]:
        """Entry of the batch -> which end of the triple it begins with, -1 for none."""
        if not self.relations:
            return {}
        return {"relation_head": 0, "relation_tail": 2} if self.conditional else {"relation_text": -1}

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        triples = [self.triples[row] for row in rows]
        chosen = torch.tensor(triples)
        draws = [random.Random(f"{self.seed}/{row}/{epoch}") for row in rows]
        heads, tails = (self.false(chosen, tail, self.negatives, draws).flatten().tolist() for tail in (False, True))
        texts = {"head": [row[0] for row in triples], "tail": [row[2] for row in triples], "negative_head": heads, "negative_tail": tails}
        told = {name: self._tokens([self.entities[entity] for entity in listed]) for name, listed in texts.items()}
        for name, end in self._relation_streams().items():
            described = [self.relations[row[1]] for row in triples]
            told[name] = self._tokens(described) if end < 0 else self._tokens([self.entities[row[end]] for row in triples], described)
        head, relation, tail = (chosen + 1).unbind(1)  # row 0 of the tables is "none"
        return {"id": torch.tensor(rows), "triple": {"head": head, "relation": relation, "tail": tail}, **told}

    def _tokens(self, texts: Sequence[str], behind: Sequence[str] = ()) -> TextInput:
        between = self.reader.tokenizer.id_to_token(specials(self.reader)[1])
        joined = [f"{text} {between} {further}" for text, further in zip(texts, behind, strict=True)] if behind else texts
        tokens = self.reader(joined)
        return {"ids": tokens.ids, "mask": tokens.mask}


class FalseEnds:
    """Entities that make a triple false.

    Args:
        triples: The true ones (N, 3).
        num_relations: Number of relations.
        entities: The entities that are drawn, in order.
    """

    def __init__(self, triples: Tensor, num_relations: int, entities: Sequence[int]) -> None:
        self.entities = torch.tensor(entities)
        self.place = torch.full((int(torch.cat([triples[:, [0, 2]].flatten(), self.entities]).max()) + 1,), -1)
        self.place[self.entities] = torch.arange(len(entities))
        rows = torch.stack([self.place[triples[:, 0]], triples[:, 1], self.place[triples[:, 2]]], 1)
        self.known = KnownTriples(rows[(rows >= 0).all(1)], len(entities), num_relations)

    def _query(self, triples: Tensor, tail: bool) -> tuple[Tensor, Tensor, Tensor]:
        """The given end, the relation, and how many entities are false at the other end."""
        anchor, relation = self.place[triples[:, 0 if tail else 2]], triples[:, 1]
        start, end = self.known.spans(anchor, relation, tail)
        return anchor, relation, len(self.entities) - (end - start)

    def check(self, triples: Tensor) -> None:
        """Refuses triples one of whose ends could be every entity.

        Raises:
            ValueError: There are such.
        """
        for tail in (False, True):
            full = self._query(triples, tail)[2] == 0
            if full.any():
                end = "tail" if tail else "head"
                raise ValueError(f"the triple {triples[full][0].tolist()} has no wrong {end}: all {len(self.entities)} entities are right")

    def __call__(self, triples: Tensor, tail: bool, number: int, draws: Sequence[random.Random]) -> Tensor:
        """Wrong heads or tails (B, number) of triples (B, 3), each equally likely."""
        anchor, relation, false = self._query(triples, tail)
        order = torch.tensor([[draw.randrange(count) for _ in range(number)] for draw, count in zip(draws, false.tolist(), strict=True)])
        return self.entities[self.known.false_answers(anchor, relation, order, tail)]


def read_descriptions(path: Path, known: Mapping[str, int], gate: Gate) -> dict[int, str]:
    """Index -> description, from lines of an id and a description with a tab between them; further lines of an id are bad."""
    found: dict[int, str] = {}
    for where, line in gate.lines(path, "lines of ids and descriptions with tabs between them"):
        with gate.row(where):
            name, tab, text = line.partition("\t")
            if not tab or not text.strip():
                raise RowError("malformed", f"expected an id and a description with a tab between them, got {line[:80]!r}")
            if name not in known:
                raise RowError("unknown id", f"the id {name!r} is not among the {len(known)} of the graph")
            if known[name] in found:
                raise RowError("duplicate", f"the id {name!r} already has a description, {found[known[name]][:40]!r}")
            found[known[name]] = text
    return found
