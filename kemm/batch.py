"""What flows through kemm: a `Batch` of inputs, and the `Stream` that an encoder makes of each.

The letters of every shape comment in the package:

    B batch, L any length, T tokens, P patches, R regions, E mentions, C candidates, D width, H heads, K retrieved
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, NotRequired, TypedDict

import torch
from torch import Tensor

IGNORE = -100
"""The label of a position that no loss counts."""


class Stream(NamedTuple):
    """The states of one modality at some height.

    Attributes:
        x: States (B, L, D), or with more dimensions before D where a fusion says so (candidates: (B, E, C, D)).
        mask: Bool, True = real: (B, L), or (B, L, L) where visibility is per pair (row sees column).
        positions: Positions (B, L) for layers that read them (rotary), or None.
        height: How many of its encoder's layers it has run.
    """

    x: Tensor
    mask: Tensor
    positions: Tensor | None = None
    height: int = 0

    def real(self) -> Tensor:
        """The padding mask (B, L): the mask itself, or who sees itself where visibility is per pair."""
        return self.mask.diagonal(dim1=-2, dim2=-1) if self.mask.dim() == self.x.dim() else self.mask


class TextInput(TypedDict):
    """Tokens: `ids` (B, T) int64, `mask` (B, T) bool; optionally segment `types` (B, T), `positions` (B, T),
    `words` (B, T) the index of the word that a token belongs to (-1: none), `labels` (B, T) for masked LM."""

    ids: Tensor
    mask: Tensor
    types: NotRequired[Tensor]
    positions: NotRequired[Tensor]
    words: NotRequired[Tensor]
    labels: NotRequired[Tensor]


class WordGraphInput(TypedDict):
    """Nodes of a word-knowledge graph: `ids` (B, L) rows of the table of their `kinds` (B, L), 0 word, 1 entity, 2 relation; soft
    `positions` (B, L); `mask` (B, L, L) bool, who sees whom; optionally segment `types` (B, L), the kinds by default, and what is hidden:
    `labels`, `entity_labels`, `relation_labels` (B, L), with the entities `candidates` (N,) that `entity_labels` count in."""

    ids: Tensor
    kinds: Tensor
    positions: Tensor
    mask: Tensor
    types: NotRequired[Tensor]
    labels: NotRequired[Tensor]
    entity_labels: NotRequired[Tensor]
    relation_labels: NotRequired[Tensor]
    candidates: NotRequired[Tensor]


class ImageInput(TypedDict):
    """Pixels (B, 3, h, w): float, already normalised, or uint8."""

    pixels: Tensor


class RegionInput(TypedDict):
    """Detector regions: `features` (B, R, F), `boxes` (B, R, 4..7) normalised geometry, `mask` (B, R) bool;
    optionally `types` (B, R); `labels` (B, R), `targets` (B, R, C) and places of `negatives` (B, R, N) for masked regions."""

    features: Tensor
    boxes: NotRequired[Tensor]
    mask: Tensor
    types: NotRequired[Tensor]
    labels: NotRequired[Tensor]
    targets: NotRequired[Tensor]
    negatives: NotRequired[Tensor]


class EntityInput(TypedDict):
    """Rows of an entity table: `ids` (B, L), 0 = none; optionally `mask` (B, L)."""

    ids: Tensor
    mask: NotRequired[Tensor]


class CandidateInput(TypedDict):
    """Candidates of mentions: `ids` (B, E, C), 0 = padding; `priors` (B, E, C); `spans` (B, E, 2) first and last token
    (inclusive), -1 = padding; optionally `gold` (B, E), the id of the true entity, 0 = unknown, and `mask` (B, E, C)."""

    ids: Tensor
    mask: NotRequired[Tensor]
    priors: Tensor
    spans: Tensor
    gold: NotRequired[Tensor]


class MentionInput(TypedDict):
    """Entities where a text mentions them: `ids` (B, E) rows of an entity table, 0 = none; `positions` (B, E, M) the tokens of each
    mention, -1 = padding; optionally `mask` (B, E), segment `types` (B, E), and `labels` (B, E) for masked entities."""

    ids: Tensor
    positions: Tensor
    mask: NotRequired[Tensor]
    types: NotRequired[Tensor]
    labels: NotRequired[Tensor]


class TripleInput(TypedDict):
    """Edges of the graph: `head`, `relation`, `inverse` (the relation that reads it backwards), `tail`, each (B,)."""

    head: Tensor
    relation: Tensor
    inverse: Tensor
    tail: Tensor


Batch = dict[str, Any]
"""A dict by modality of the TypedDicts above (or of Streams: then the embedding is skipped), with what tasks add; `id` (B,)
int64 names the samples and keys all random draws."""


def has(batch: Batch, path: str) -> bool:
    """Whether a nested batch holds an entry named by a dotted path."""
    value: object = batch
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return False
        value = value[name]
    return True


def batch_size(batch: Batch) -> int:
    """The number of samples in a batch: the first dimension of its first tensor."""
    for value in batch.values():
        if isinstance(value, Tensor) and value.dim():
            return value.shape[0]
        if isinstance(value, Stream):
            return value.x.shape[0]
        if isinstance(value, dict) and value:
            return batch_size(value)
    raise ValueError("a batch needs at least one tensor")


def map_batch(batch: Any, function: Any) -> Any:
    """A copy of a nested batch with `function` applied to every tensor."""
    if isinstance(batch, Tensor):
        return function(batch)
    if isinstance(batch, Stream):
        positions = None if batch.positions is None else function(batch.positions)
        return Stream(function(batch.x), function(batch.mask), positions, batch.height)
    if isinstance(batch, dict):
        return {name: map_batch(value, function) for name, value in batch.items()}
    return batch


def split_batch(batch: Batch, chunks: int) -> list[Batch]:
    """The batch in `chunks` pieces of (nearly) equal size, in order; tensors of no dimension go to each.

    Each tensor is cut by its own number of rows: a view may hold more samples than the batch that it was made of (`Matching`).
    """
    pieces = min(chunks, batch_size(batch))

    def piece(i: int) -> Batch:
        return map_batch(batch, lambda t: t[len(t) * i // pieces : len(t) * (i + 1) // pieces] if t.dim() else t)

    return [piece(i) for i in range(pieces)]


def join_streams(parts: list[dict[str, Stream]]) -> dict[str, Stream]:
    """The streams of pieces of a batch, joined again along B."""
    if len(parts) == 1:
        return parts[0]

    def cat(name: str) -> Stream:
        streams = [part[name] for part in parts]
        positions = None if streams[0].positions is None else torch.cat([s.positions for s in streams if s.positions is not None])
        return Stream(torch.cat([s.x for s in streams]), torch.cat([s.mask for s in streams]), positions, streams[0].height)

    return {name: cat(name) for name in parts[0]}
