"""Entity encoder: rows of a table of knowledge-graph entities."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from kemm.batch import CandidateInput, EntityInput, Stream
from kemm.encoders.base import Encoder


class EntityEmbedding(nn.Module):
    """A table whose row 0 is "no entity".

    Args:
        num_entities: Rows, row 0 included.
        dim: Width.
        vectors: A safetensors file with `vectors` (num_entities, dim) to begin with.
        frozen: Whether the table is not trained.
    """

    def __init__(self, num_entities: int, dim: int, vectors: Path | None = None, frozen: bool = False) -> None:
        super().__init__()
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
        vectors: A safetensors file with `vectors` (num_entities, dim) to begin with.
        frozen: Whether the table is not trained (ERNIE, KnowBERT).
    """

    def __init__(self, num_entities: int, dim: int = 100, vectors: Path | None = None, frozen: bool = False) -> None:
        super().__init__(EntityEmbedding(num_entities, dim, vectors, frozen))
        self.dim = dim

    @property
    def table(self) -> Tensor:
        """The vectors of all entities, (N, D)."""
        return self.embed.table.weight


def read_vectors(path: Path, num_entities: int, dim: int) -> Tensor:
    """The tensor `vectors` of a safetensors file, checked against the table that it is for."""
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: no such file of entity vectors")
    tensors = load_file(path)
    if "vectors" not in tensors:
        raise ValueError(f"{path}: expected a tensor 'vectors', found {sorted(tensors)}")
    if tensors["vectors"].shape != torch.Size((num_entities, dim)):
        raise ValueError(f"{path}: 'vectors' is {tuple(tensors['vectors'].shape)}, and the table ({num_entities}, {dim})")
    return tensors["vectors"]
