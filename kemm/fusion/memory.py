"""Memory attention: retrieved rows of a table, scored again with gradient (Entities as Experts, arXiv 2004.07202, section 3.1;
google-research/language: mentionmemory/modules/entity_attention_layer.py)."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from kemm.batch import Batch, Stream
from kemm.fusion.base import Fusion, Streams
from kemm.memory import Memory
from kemm.nn import BertNorm

if TYPE_CHECKING:
    from kemm.model import FusionModel

NOT_FOUND = -1e4
"""The score of a row that an approximate index did not find."""


class Remembers(nn.Module):
    """A module with a memory: the keys of its index are a snapshot, a buffer, so that a resumed run retrieves as the interrupted one.

    A constructor calls `remember` after that of its other base.
    """

    snapshot: Tensor
    taken: Tensor

    def remember(self, rows: int, dim: int, factory: str = "Flat") -> None:
        """Make room for the memory.

        Args:
            rows: Rows of the memory.
            dim: Width of the keys.
            factory: FAISS's description of the index.
        """
        self.memory = Memory(dim, factory)
        self.register_buffer("snapshot", torch.zeros(rows, dim))
        self.register_buffer("taken", torch.zeros(1, dtype=torch.bool))
        self.register_load_state_dict_post_hook(_forget)

    def forget(self) -> None:
        """Drop the index; the next search builds it from the snapshot."""
        self.memory = Memory(self.memory.dim, self.memory.factory)

    def keys(self, network: "FusionModel") -> Tensor:
        """The current keys (rows, dim) of all rows."""
        raise NotImplementedError

    @torch.no_grad()
    def refresh(self, network: "FusionModel") -> None:
        """Take a new snapshot of the keys, and index it."""
        keys = self.keys(network)
        if keys.shape != self.snapshot.shape:
            raise ValueError(f"{type(self).__name__}: there are keys {tuple(keys.shape)}, and the memory has {tuple(self.snapshot.shape)}")
        self.snapshot.copy_(keys)
        self.taken.fill_(True)
        self.memory.build(self.snapshot)

    def search(self, queries: Tensor, k: int, network: "FusionModel") -> Tensor:
        """The k rows (B, k) nearest to queries (B, dim), by the last snapshot; -1 where an approximate index finds fewer."""
        if not bool(self.taken):
            self.refresh(network)
        if len(self.memory) == 0:
            self.memory.build(self.snapshot)
        return self.memory.search(queries, min(k, len(self.memory)))[1]


def _forget(module: nn.Module, keys: Any) -> None:
    assert isinstance(module, Remembers)
    module.forget()


class MemoryFusion(Remembers, Fusion):
    """A fusion with a memory.

    Args:
        rows: Rows of the memory.
        dim: Width of the keys.
        factory: FAISS's description of the index.
    """

    def __init__(self, rows: int, dim: int, factory: str = "Flat") -> None:
        super().__init__()
        self.remember(rows, dim, factory)


class MemoryAttention(MemoryFusion):
    """Entities as Experts' memory layer: each mention asks an entity table, and its first token is told the answer.

        q = W_f [x_start; x_end] + b_f    alpha = softmax(q . E over the top k)    x_start = LN(x_start + W_b sum(alpha E) + b_b)

    Reads `batch[mention]["spans"]` (B, M, 2). Adds the streams `<mention>_query` (B, M, D') of q and `<mention>_linking` (B, M, k, 1) of
    the scores, whose `positions` are the retrieved rows.

    Args:
        dim: Width of the text.
        rows: Rows of the entity table.
        entity_dim: Width of the entities.
        k: Number of retrieved entities (the paper trains over all rows and reads 100).
        text: Name of the text stream.
        entity: Encoder whose table is the memory.
        mention: Input that holds the spans.
        factory: FAISS's description of the index.
    """

    def __init__(
        self,
        dim: int,
        rows: int,
        entity_dim: int = 256,
        k: int = 100,
        text: str = "text",
        entity: str = "entity",
        mention: str = "mention",
        factory: str = "Flat",
    ) -> None:
        super().__init__(rows, entity_dim, factory)
        self.k, self.text, self.entity, self.mention = k, text, entity, mention
        self.tables = {entity: rows}
        self.needs = (f"{mention}.spans",)
        self.ask = nn.Linear(2 * dim, entity_dim)
        self.answer = nn.Linear(entity_dim, dim)
        self.norm = BertNorm(dim)

    def keys(self, network: "FusionModel") -> Tensor:
        return full(network.table(self.entity))

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        text, spans = streams[self.text], batch[self.mention]["spans"]
        real = spans[..., 0] >= 0  # (B, M)
        start, end = (at_places(text.x, spans[..., side].clamp(min=0)) for side in (0, 1))  # (B, M, D)
        query = self.ask(torch.cat([start, end], -1))  # (B, M, D')
        rows = self.search(query.flatten(0, 1), self.k, network).view(*real.shape, -1)  # (B, M, k)
        found = rows >= 0
        rows = rows.clamp(min=0)
        entities = network.table(self.entity)[rows]  # (B, M, k, D')
        scores = torch.einsum("bmd,bmkd->bmk", query, entities).masked_fill(~found, NOT_FOUND)
        told = self.answer(torch.einsum("bmk,bmkd->bmd", scores.softmax(-1), entities)) * real[..., None]
        places = torch.where(real, spans[..., 0], 0)[..., None].expand_as(told)
        x = self.norm(text.x.scatter_add(1, places, told.to(text.x.dtype)))
        linking = Stream(scores[..., None], real[..., None] & found, rows)
        return {self.text: text._replace(x=x), f"{self.mention}_query": Stream(query, real), f"{self.mention}_linking": linking}


def at_places(x: Tensor, places: Tensor) -> Tensor:
    """States (B, T, D) at places (B, M): (B, M, D)."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[-1]))


def full(tensor: Tensor) -> Tensor:
    """The whole tensor, where it is sharded over ranks."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
