"""Entity encoder: rows of a table of knowledge-graph entities."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from kemm.batch import CandidateInput, EntityInput, Stream
from kemm.encoders.base import Encoder
from kemm.kg.vectors import VectorTable


class MappedRows(nn.Module):
    """Rows of a table that stays in its file: no weights, nothing in a checkpoint, no gradient.

    Args:
        vectors: The table.
    """

    def __init__(self, vectors: VectorTable) -> None:
        super().__init__()
        self.vectors = vectors
        self.like: Tensor
        self.register_buffer("like", torch.empty(0), persistent=False)  # goes where the model goes, in its precision

    def forward(self, ids: Tensor) -> Tensor:
        """The vectors (..., D) of rows (...)."""
        return self.vectors[ids].to(self.like)


class EntityEmbedding(nn.Module):
    """A table whose row 0 is "no entity".

    Args:
        num_entities: Rows, row 0 included.
        dim: Width.
        vectors: See `EntityEncoder`.
        frozen: Whether the table is not trained.
        mapped: See `EntityEncoder`.
    """

    table: nn.Embedding | MappedRows

    def __init__(self, num_entities: int, dim: int, vectors: Path | None = None, frozen: bool = False, mapped: bool = False) -> None:
        super().__init__()
        if mapped:
            if vectors is None:
                raise ValueError("mapped is true and there are no vectors, expected the file that they stay in")
            self.table = MappedRows(open_vectors(vectors, num_entities, dim))
            return
        self.table = nn.Embedding(num_entities, dim, padding_idx=0)
        nn.init.normal_(self.table.weight, std=dim**-0.5)
        nn.init.zeros_(self.table.weight.data[0])
        if vectors is not None:
            self.table.weight.data.copy_(read_vectors(vectors, num_entities, dim))
        self.table.weight.requires_grad_(not frozen)

    def forward(self, entity: EntityInput | CandidateInput) -> Stream:
        ids = entity["ids"]
        return Stream(self.table(ids), entity.get("mask", ids != 0))  # (B, L, D), or (B, E, C, D) for candidates


class EntityEncoder(Encoder):
    """An entity table as an encoder of no layers.

    Args:
        num_entities: Rows, row 0 ("no entity") included.
        dim: Width.
        vectors: A safetensors file with `vectors` (num_entities, dim) to begin with; see `kemm.kg.VectorTable`.
        frozen: Whether the table is not trained (ERNIE, KnowBERT).
        mapped: Whether the vectors stay in their file, which is memory-mapped, and each row is read when it is asked for: for tables of
            millions. They are then frozen, and in no checkpoint.
    """

    def __init__(self, num_entities: int, dim: int = 100, vectors: Path | None = None, frozen: bool = False, mapped: bool = False) -> None:
        super().__init__(EntityEmbedding(num_entities, dim, vectors, frozen, mapped))
        self.dim, self.limits = dim, {"ids": num_entities}

    @property
    def table(self) -> Tensor:
        """The vectors of all entities, (N, D).

        Raises:
            ValueError: They stay in their file.
        """
        table = self.embed.table
        if isinstance(table, MappedRows):
            raise ValueError(f"the vectors of {table.vectors.path} are mapped, and what reads the whole table needs 'mapped: false'")
        return table.weight

    def rows(self, ids: Tensor) -> Tensor:
        """The vectors (..., D) of rows (...)."""
        mapped = self.embed.table
        return mapped(ids) if isinstance(mapped, MappedRows) else self.table[ids]


class TypedEntityEmbedding(nn.Module):
    """`Linear([vector; kind])` of an entity's given vector and its kind's learned one, and a learned vector for "no entity"
    (WordNet's synsets and their parts of speech: allenai/kb: kb/wordnet.py, WordNetAllEmbedding).

    Args:
        num_entities: Rows, row 0 (padding) included; the last row is "no entity".
        dim: Width of the result.
        raw_dim: Width of the given vectors.
        kinds: Rows of the table of kinds.
        kind_dim: Width of a kind.
        vectors: A safetensors file with `vectors` (num_entities, raw_dim) to begin with.
        kind_of: The kind of each entity; 0 by default.
    """

    def __init__(
        self,
        num_entities: int,
        dim: int,
        raw_dim: int,
        kinds: int,
        kind_dim: int,
        vectors: Path | None = None,
        kind_of: Sequence[int] = (),
    ) -> None:
        super().__init__()
        if kind_of and len(kind_of) != num_entities:
            raise ValueError(f"kind_of has {len(kind_of)} kinds, and there are {num_entities} entities")
        table = EntityEmbedding(num_entities, raw_dim, vectors, frozen=True).table
        assert isinstance(table, nn.Embedding)
        self.table = table
        self.kinds = nn.Embedding(kinds, kind_dim)
        self.project = nn.Linear(raw_dim + kind_dim, dim)
        self.null = nn.Parameter(torch.zeros(dim))
        self.kind_of: Tensor
        self.register_buffer("kind_of", torch.tensor(kind_of or [0] * num_entities))
        nn.init.normal_(self.null, std=0.02)

    def forward(self, entity: CandidateInput) -> Stream:
        ids = entity["ids"]
        x = self.project(torch.cat([self.table(ids), self.kinds(self.kind_of[ids])], -1))  # (B, E, C, D)
        x = torch.where((ids == self.table.num_embeddings - 1)[..., None], self.null, x)
        return Stream(x, ids != 0)


class TypedEntityEncoder(Encoder):
    """Entities with kinds as an encoder of no layers.

    Args:
        num_entities: Rows, row 0 (padding) and the last ("no entity") included.
        dim: Width of the result.
        raw_dim: Width of the given vectors.
        kinds: Number of kinds.
        kind_dim: Width of a kind.
        vectors: A safetensors file with `vectors` (num_entities, raw_dim) to begin with.
        kind_of: The kind of each entity; 0 by default.
    """

    def __init__(
        self,
        num_entities: int,
        dim: int = 200,
        raw_dim: int = 200,
        kinds: int = 5,
        kind_dim: int = 25,
        vectors: Path | None = None,
        kind_of: Sequence[int] = (),
    ) -> None:
        super().__init__(TypedEntityEmbedding(num_entities, dim, raw_dim, kinds, kind_dim, vectors, kind_of))
        self.dim, self.limits = dim, {"ids": num_entities}


def read_vectors(path: Path, num_entities: int, dim: int) -> Tensor:
    """The tensor `vectors` of a safetensors file, checked against the table that it is for."""
    return open_vectors(path, num_entities, dim)[torch.arange(num_entities)]


def open_vectors(path: Path, num_entities: int, dim: int) -> VectorTable:
    """A table that stays in its file, checked against what it is for.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no vectors, or others.
    """
    table = VectorTable(path)
    if table.shape != (num_entities, dim):
        raise ValueError(f"{path}: 'vectors' is {table.shape}, expected the table's ({num_entities}, {dim})")
    return table
