"""KnowBERT's knowledge attention and recontextualisation (arXiv 1909.04164, section 3; allenai/kb: kb/knowbert.py, entity_linking.py).

H_proj = W_1 H + b_1                                     the text in the entities' width
S      = LN(self-attentive pool of H_proj in each span)  S_e = TransformerLayer(S), between the mention spans
psi    = MLP([S_e . E / sqrt(d), prior])                 over the candidates E of each span
e~     = softmax(psi) E,  S' = LN(S_e + e~)              weighted entities, equations 3 and 4
H'     = LN(H + W_2 MHA-layer(H_proj, S', S') + b_2)     recontextualisation, equations 6 and 7
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from kemm.batch import Batch, Stream
from kemm.fusion.base import Fusion, Streams
from kemm.nn import AttentionBlock, FeedForwardBlock, PostNormLayer, init_bert

if TYPE_CHECKING:
    from kemm.model import FusionModel

NO_CANDIDATE = -1e4
"""The score of padding among the candidates (allenai/kb: entity_linking.py)."""


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


class Linked(NamedTuple):
    """What linking makes of a text's mentions.

    Attributes:
        text: The text in the entities' width (B, T, D).
        mentions: The mentions' states (B, E, D).
        scores: psi (B, E, C); `NO_CANDIDATE` at padding.
        weighted: The weighted entity of each mention (B, E, D).
    """

    text: Tensor
    mentions: Tensor
    scores: Tensor
    weighted: Tensor


class EntityLinker(nn.Module):
    """Scores the candidates of each mention, and weighs their vectors by the scores (equations 1 to 4).

    Args:
        dim: Width of the text.
        entity_dim: Width of the entities.
        heads: Heads of the span encoder.
        inner: Width of its feed-forward; None for no span encoder: then mentions do not attend to each other.
        hidden: Width of the scoring MLP.
        threshold: See `KnowledgeAttention`.
        dropout: Rate of the span encoder.
    """

    def __init__(
        self,
        dim: int,
        entity_dim: int,
        heads: int = 4,
        inner: int | None = 1024,
        hidden: int = 100,
        threshold: float | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.threshold = threshold
        self.project = nn.Linear(dim, entity_dim)
        self.entity_norm, self.span_norm = nn.LayerNorm(entity_dim), nn.LayerNorm(entity_dim)
        self.pool = SpanPool(entity_dim)
        self.span_encoder = PostNormLayer(entity_dim, heads, inner, dropout) if inner else None
        self.score = nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.null: Tensor | None
        self.register_buffer("null", torch.zeros(entity_dim) if threshold is not None else None)
        for part in (self.project, self.pool, self.span_encoder or nn.Identity()):
            init_bert(part)  # not the MLP: it sees two numbers, and would be blind to both for thousands of steps

    def forward(self, x: Tensor, spans: Tensor, candidates: Tensor, mask: Tensor, priors: Tensor) -> Linked:
        """Link the mentions of a text.

        Args:
            x: States of the text (B, T, dim).
            spans: First and last token of the mentions (B, E, 2), -1 at padding.
            candidates: Vectors (B, E, C, D).
            mask: Bool (B, E, C), True = a candidate.
            priors: Their prior probabilities (B, E, C).
        """
        entities = self.entity_norm(candidates)
        text = self.project(x)  # (B, T, D)
        mentions = self.span_norm(self.pool(text, spans))  # (B, E, D)
        if self.span_encoder is not None:
            mentions = self.span_encoder(mentions, spans[..., 0] >= 0)
        similarity = torch.einsum("bed,becd->bec", mentions, entities) * entities.shape[-1] ** -0.5
        scores = self.score(torch.stack([similarity, priors.to(similarity.dtype)], -1))[..., 0]
        scores = scores.masked_fill(~mask, NO_CANDIDATE)
        return Linked(text, mentions, scores, self.weigh(scores, entities))

    def weigh(self, scores: Tensor, entities: Tensor) -> Tensor:
        """The weighted entity (B, E, D) of each mention."""
        if self.threshold is None or self.null is None:
            return torch.einsum("bec,becd->bed", scores.softmax(-1), entities)
        attended = scores >= self.threshold
        weights = scores.masked_fill(~attended, NO_CANDIDATE).softmax(-1)
        weighted = torch.einsum("bec,becd->bed", weights, entities)
        return torch.where(attended.any(-1, keepdim=True), weighted, self.null)


class KnowledgeAttention(Fusion):
    """KAR: links the mentions of a text to candidates of one knowledge graph, and tells the text what it linked.

    Reads `batch[entity]["spans"]` and `["priors"]` (see `CandidateInput`), and the entity stream (B, E, C, D). Adds the stream
    `name`: the scores psi (B, E, C, 1), with the candidates' rows of the table as its positions.

    Args:
        dim: Width of the text.
        entity_dim: Width of the entities.
        heads: Heads of both attentions.
        inner: Width of the feed-forward between text and mentions.
        span_inner: Width of the span encoder's; `inner` by default.
        hidden: Width of the scoring MLP.
        threshold: Candidates of a lower score are not attended; a mention without others gets `null`, the graph's vector for "no
            entity" (the margin model). None: all candidates are attended (the softmax model).
        dropout: Rate everywhere.
        text: Name of the text stream.
        entity: Name of the entity stream: one graph's candidates.
        name: Stream of the scores; `<entity>_linking` by default.
    """

    def __init__(
        self,
        dim: int = 768,
        entity_dim: int = 300,
        heads: int = 4,
        inner: int = 1024,
        span_inner: int | None = None,
        hidden: int = 100,
        threshold: float | None = None,
        dropout: float = 0.1,
        text: str = "text",
        entity: str = "entity",
        name: str = "",
    ) -> None:
        super().__init__()
        self.text, self.entity, self.name = text, entity, name or f"{entity}_linking"
        self.unused = ("linker.pool.score.bias",)  # the softmax of the pool does not see it
        self.needs = (f"{entity}.spans", f"{entity}.priors")
        self.linker = EntityLinker(dim, entity_dim, heads, span_inner or inner, hidden, threshold, dropout)
        self.weighted_norm = nn.LayerNorm(entity_dim)
        self.attention = AttentionBlock(entity_dim, heads, dropout=dropout)
        self.feedforward = FeedForwardBlock(entity_dim, inner, dropout)
        self.output = nn.Linear(entity_dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        for block in (self.attention, self.feedforward, self.output):
            init_bert(block)
        # The projection back begins as the pseudo-inverse (the original's inverse of a singular matrix is numerical noise).
        with torch.no_grad():
            self.output.weight.copy_(torch.linalg.pinv(self.linker.project.weight))

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel") -> Streams:
        text, candidates, given = streams[self.text], streams[self.entity], batch[self.entity]
        linked = self.linker(text.x, given["spans"], candidates.x, candidates.mask, given["priors"])
        mentions = self.weighted_norm(linked.mentions + self.dropout(linked.weighted))
        knowing = self.feedforward(self.attention(linked.text, given["spans"][..., 0] >= 0, mentions))
        x = self.norm(text.x + self.dropout(self.output(knowing)))
        scores = Stream(linked.scores[..., None], candidates.mask, given.get("ids"))
        return {self.text: text._replace(x=x), self.name: scores}
