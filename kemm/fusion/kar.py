"""KnowBERT's knowledge attention and recontextualisation (arXiv 1909.04164, section 3; allenai/kb: kb/knowbert.py, entity_linking.py).

    H_proj = W_1 H + b_1                                     the text in the entities' width
    S      = LN(self-attentive pool of H_proj in each span)  S_e = TransformerLayer(S), between the mention spans
    psi    = MLP([S_e . E / sqrt(d), prior])                 over the candidates E of each span
    e~     = softmax(psi) E,  S' = LN(S_e + e~)              weighted entities, equations 3 and 4
    H'     = LN(H + W_2 MHA-layer(H_proj, S', S') + b_2)     recontextualisation, equations 6 and 7
"""

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from kemm.batch import Batch, Stream
from kemm.fusion.base import Fusion, Streams
from kemm.nn import AttentionBlock, FeedForwardBlock, PostNormLayer, init_bert

if TYPE_CHECKING:
    from kemm.model import FusionModel

NO_CANDIDATE = -1e4
"""The score of padding among the candidates (allenai/kb: entity_linking.py)."""

LayerNorm = partial(nn.LayerNorm, eps=1e-5)


class SpanPool(nn.Module):
    """Self-attentive pooling of token states in spans with inclusive ends (Lee et al., arXiv 1707.07045, equation 3).

    Args:
        dim: Width.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Linear(dim, 1)

    def forward(self, x: Tensor, spans: Tensor) -> Tensor:
        """Token states (B, T, D) pooled in spans (B, E, 2): (B, E, D); a padding span (-1, -1) is zero."""
        places = torch.arange(x.shape[1], device=x.device)
        inside = (places >= spans[..., :1]) & (places <= spans[..., 1:])  # (B, E, T)
        scores = self.score(x).transpose(1, 2).masked_fill(~inside, torch.finfo(x.dtype).min)  # (B, E, T)
        return (scores.softmax(-1) * inside) @ x


class KnowledgeAttention(Fusion):
    """KAR: links the mentions of a text to candidates of one knowledge graph, and tells the text what it linked.

    Reads `batch[entity]["spans"]` and `["priors"]` (see `CandidateInput`), and the entity stream (B, E, C, D). Adds the stream
    `<entity>_linking`: the scores psi (B, E, C, 1).

    Args:
        dim: Width of the text.
        entity_dim: Width of the entities.
        heads: Heads of both attentions.
        inner: Width of both feed-forwards.
        hidden: Width of the scoring MLP.
        threshold: Candidates of a lower score are not attended; a span without others gets `null` (the margin model). None: all
            candidates are attended (the softmax model).
        dropout: Rate everywhere.
        text: Name of the text stream.
        entity: Name of the entity stream: one graph's candidates.
    """

    def __init__(
        self,
        dim: int = 768,
        entity_dim: int = 300,
        heads: int = 4,
        inner: int = 1024,
        hidden: int = 100,
        threshold: float | None = None,
        dropout: float = 0.1,
        text: str = "text",
        entity: str = "entity",
    ) -> None:
        super().__init__()
        self.text, self.entity, self.threshold = text, entity, threshold
        self.project = nn.Linear(dim, entity_dim)
        self.entity_norm, self.span_norm, self.weighted_norm = LayerNorm(entity_dim), LayerNorm(entity_dim), LayerNorm(entity_dim)
        self.pool = SpanPool(entity_dim)
        self.span_encoder = PostNormLayer(entity_dim, heads, inner, dropout)
        self.score = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.attention = AttentionBlock(entity_dim, heads, dropout=dropout)
        self.feedforward = FeedForwardBlock(entity_dim, inner, dropout)
        self.output = nn.Linear(entity_dim, dim)
        self.norm = LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        init_bert(self)
        # The MLP sees two numbers: with deviation 0.02 it would be blind to both for thousands of steps.
        for layer in (self.score[0], self.score[2]):
            layer.reset_parameters()
        # Projection back begins as the pseudo-inverse (the original's inverse of a singular matrix is numerical noise).
        with torch.no_grad():
            self.output.weight.copy_(torch.linalg.pinv(self.project.weight))
        self.register_buffer("null", torch.zeros(entity_dim) if threshold is not None else None)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        text, candidates, linked = streams[self.text], streams[self.entity], batch[self.entity]
        spans = linked["spans"]
        entities = self.entity_norm(candidates.x)  # (B, E, C, D)
        projected = self.project(text.x)  # (B, T, D)
        real = spans[..., 0] >= 0  # (B, E)
        mentions = self.span_encoder(self.span_norm(self.pool(projected, spans)), real)  # (B, E, D)
        scores = self.link(mentions, entities, linked["priors"].to(entities.dtype), candidates.mask)
        mentions = self.weighted_norm(mentions + self.dropout(self.weigh(scores, entities)))
        recontextualised = self.feedforward(self.attention(projected, real, mentions))
        x = self.norm(text.x + self.dropout(self.output(recontextualised)))
        return {
            self.text: text._replace(x=x),
            f"{self.entity}_linking": Stream(scores[..., None], candidates.mask),
        }

    def link(self, mentions: Tensor, entities: Tensor, priors: Tensor, mask: Tensor) -> Tensor:
        """The scores psi (B, E, C) of the candidates; `NO_CANDIDATE` at padding."""
        similarity = torch.einsum("bed,becd->bec", mentions, entities) * entities.shape[-1] ** -0.5
        scores = self.score(torch.stack([similarity, priors], -1))[..., 0]
        return scores.masked_fill(~mask, NO_CANDIDATE)

    def weigh(self, scores: Tensor, entities: Tensor) -> Tensor:
        """The weighted entity (B, E, D) of each span."""
        if self.threshold is None:
            return torch.einsum("bec,becd->bed", scores.softmax(-1), entities)
        attended = scores >= self.threshold
        weights = scores.masked_fill(~attended, NO_CANDIDATE).softmax(-1)
        weighted = torch.einsum("bec,becd->bed", weights, entities)
        return torch.where(attended.any(-1, keepdim=True), weighted, self.null)


