"""Masked nodes of a word-knowledge graph (CoLAKE, arXiv 2010.00309, section 3.3; txsun1997/CoLAKE: pretrain/model.py, pretrain/utils.py):
hidden words are `MaskedLM`'s."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import IGNORE, Batch
from kemm.fusion.base import Streams
from kemm.nn import Draws, gather
from kemm.objectives.base import Losses, Objective, Teacher, View, cross_entropy
from kemm.objectives.masked_lm import MaskedLM, Transform
from kemm.objectives.masking import TokenMasking

if TYPE_CHECKING:
    from kemm.model import FusionModel

WORD, ENTITY, RELATION = range(3)
LABELS = ("labels", "entity_labels", "relation_labels")


class NodeMasking(TokenMasking):
    """Chooses `rate` of the nodes of one kind (of all, the special ones too), at least one and at most `most`; a share becomes [MASK],
    half of the rest random nodes of the kind. Entities that stand in the text (they see its words) are all predicted: those that were not
    chosen stay with the chance `replaced`, half of the rest become [MASK], half random.

    Args:
        kind: 0 words, 1 entities, 2 relations.
        mask_id: The row of [MASK] in the kind's table.
        size: Random nodes are drawn from [0, size).
        specials: Rows that are never hidden.
        rate: Share of the nodes that are chosen.
        replaced: Share of the chosen that become [MASK].
        most: Nodes that are chosen in one sample.
        text: Name of the graph in the batch.
    """

    def __init__(
        self,
        kind: int,
        mask_id: int,
        size: int,
        specials: Sequence[int] = (0,),
        rate: float = 0.15,
        replaced: float = 0.8,
        most: int = 15,
        text: str = "text",
    ) -> None:
        super().__init__(mask_id, size, specials, rate, replaced, text)
        if kind not in (WORD, ENTITY, RELATION):
            raise ValueError(f"kind is {kind}, expected 0 (words), 1 (entities) or 2 (relations)")
        self.kind, self.most = kind, most

    @property
    def needs(self) -> tuple[str, ...]:
        return (f"{self.text}.kinds",)

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        graph = batch[self.text]
        ids, kinds, mask = graph["ids"], graph["kinds"], graph["mask"]
        nodes = (kinds == self.kind) & mask.diagonal(dim1=1, dim2=2)  # (B, L)
        special = (ids[..., None] == ids.new_tensor(self.specials)).any(-1)
        free, length, name = nodes & ~special, ids.shape[1], f"{self.kind}"
        place = (nodes.cumsum(1) - 1).clamp(min=0)  # among the nodes of the kind: draws do not depend on padding
        order = draws.uniform(f"order {name}", length).gather(1, place).masked_fill(~free, 2.0).argsort(1).argsort(1)
        number = (nodes.sum(1).double() * self.rate).round().clamp(1, self.most)
        chosen = free & (order < number[:, None])
        known = torch.zeros_like(free)
        if self.kind == ENTITY:
            known = free & ~chosen & (mask & (kinds == WORD)[:, None]).any(2)
        usual = draws.uniform(f"replace {name}", length).gather(1, place) < self.replaced
        other = draws.uniform(f"random {name}", length).gather(1, place) < 0.5
        masked = (chosen & usual) | (known & ~usual & other)
        random = (chosen | known) & ~usual & ~other
        nodes_drawn = draws.integers(f"node {name}", self.vocab_size, length).gather(1, place)
        hidden = torch.where(random, nodes_drawn, ids.masked_fill(masked, self.mask_id))
        labels = ids.masked_fill(~(chosen | known), IGNORE)
        return {**batch, self.text: {**graph, "ids": hidden, LABELS[self.kind]: labels}}


class MaskedRelation(MaskedLM):
    """Recovers hidden relations, the `relation_labels` of the graph; the decoder is the encoder's table of relations (see `MaskedLM`).

    Args:
        dim: Width of the graph.
        num_relations: Rows of the table of relations.
        masking: What is hidden; None where the data brings `relation_labels`.
        text: The graph.
        norm: Makes the norm of a width.
        view: See `Objective`.
    """

    def __init__(
        self,
        dim: int,
        num_relations: int,
        masking: NodeMasking | None = None,
        text: str = "text",
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        view: str = "main",
    ) -> None:
        super().__init__(dim, num_relations, masking, stream=text, text=text, norm=norm, view=view)
        self.needs = masking.needs if masking else (f"{text}.relation_labels",)

    def limits(self, network: "FusionModel") -> dict[str, int]:
        return {f"{self.text}.relations": len(self.bias)}

    def check_learner(self, who: str, network: "FusionModel", objectives: Mapping[str, Objective]) -> None:
        check_table(who, network, self.text, "relations", [len(self.bias)], self.masking)

    def labels(self, batch: Batch) -> Tensor:
        labels: Tensor = batch[self.text]["relation_labels"]
        return labels

    def logits(self, x: Tensor, network: "FusionModel") -> Tensor:
        return F.linear(self.transform(x), network.encoder(self.text).embed.relations.weight, self.bias)


class MaskedEntity(Objective):
    """Recovers hidden entities among those that are hidden in the batch (of all ranks), and negatives.

    Args:
        dim: Width of the graph.
        masking: What is hidden; None where the data brings `entity_labels`, places in its `candidates`.
        negatives: Negatives that are drawn for each sample (200 for each hidden entity in CoLAKE), each entity as likely as its
            weight.
        counts: How often each entity occurs, row by row of the table: its weight is the count's power of 3/4; all alike by default.
        text: The graph.
        norm: Makes the norm of a width.
        view: See `Objective`.
    """

    shares: Tensor

    def __init__(
        self,
        dim: int,
        masking: NodeMasking | None = None,
        negatives: int = 200,
        counts: Sequence[float] = (),
        text: str = "text",
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.masking, self.negatives, self.text = masking, negatives, text
        self.needs = masking.needs if masking else (f"{text}.entity_labels", f"{text}.candidates")
        self.transform = Transform(dim, norm=norm)
        size = masking.vocab_size if masking else 0
        if counts and len(counts) != size:
            raise ValueError(f"counts has {len(counts)} entries, and the masking draws from {size} entities")
        weights = torch.tensor(counts or [1.0] * size, dtype=torch.double) ** 0.75
        self.register_buffer("shares", weights.cumsum(0) / weights.sum().clamp(min=1e-30), persistent=False)

    def limits(self, network: "FusionModel") -> dict[str, int]:
        return {f"{self.text}.entities": len(network.encoder(self.text).embed.entities.weight)}

    def check_learner(self, who: str, network: "FusionModel", objectives: Mapping[str, Objective]) -> None:
        check_table(who, network, self.text, "entities", [], self.masking)

    def corrupt(self, batch: Batch, before: dict[str, View], draws: Draws) -> Batch:
        if self.masking is None:
            return batch
        graph = self.masking(batch, draws)[self.text]
        labels: Tensor = graph["entity_labels"]
        places = draws.uniform("negative entity", self.negatives).double()
        drawn = torch.searchsorted(self.shares.to(places), places, right=True).clamp(max=len(self.shares) - 1)  # (B, negatives)
        everyone = gather(torch.cat([labels, drawn], 1).flatten())
        candidates = everyone[everyone != IGNORE].unique()
        if len(candidates) == 0:
            candidates = labels.new_zeros(1)
        found = torch.searchsorted(candidates, labels.clamp(min=0)).masked_fill(labels == IGNORE, IGNORE)
        return {**batch, self.text: {**graph, "entity_labels": found, "candidates": candidates}}

    def logits(self, x: Tensor, candidates: Tensor, network: "FusionModel") -> Tensor:
        """Scores (..., N) of states (..., D) against the entities `candidates` (N,)."""
        return self.transform(x) @ network.encoder(self.text).embed.entities.weight[candidates].T

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        graph = batch[self.text]
        hidden = graph["entity_labels"] != IGNORE
        return cross_entropy(self.logits(streams[self.text].x[hidden], graph["candidates"], network), graph["entity_labels"][hidden])


def check_table(who: str, network: "FusionModel", text: str, name: str, decoded: Sequence[int], masking: TokenMasking | None) -> None:
    """Refuses sizes that do not fit a table of the graph's encoder.

    Args:
        who: What the message calls the objective.
        network: The network.
        text: The graph.
        name: The table, "entities" or "relations".
        decoded: Sizes that must be the table's.
        masking: What draws random rows of it.

    Raises:
        ValueError: They do not, or the encoder has no such table.
    """
    rows = network.encoder(text).limits.get(name) if text in network.inputs else None
    if rows is None:
        raise ValueError(f"{who}: text is {text!r}, expected an input with a table of {name}; the inputs are {sorted(network.inputs)}")
    where = f"the {name} of model.network.encoders.{network.inputs[text]}"
    for size in decoded:
        if size != rows:
            raise ValueError(f"{who}: num_{name} is {size}, expected {rows}, {where}")
    if masking is not None and masking.vocab_size > rows:
        raise ValueError(f"{who}: masking.size is {masking.vocab_size}, expected at most {rows}, {where}")
