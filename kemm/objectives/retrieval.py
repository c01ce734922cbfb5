"""Latent retrieval (REALM, arXiv 2002.08909): which passage helps to recover the hidden words is itself learned from the recovery.

    p(z | x) = softmax over z of f(x) . f(z)                         equation in section 3.2, f: one network's feature of text and passage
    p(y | x, z) = product over hidden words j of p(y_j | [x; z])     section 3.2
    p(y | x) = sum over z of p(z | x) p(y | x, z)                    equation 1

The sum runs over the k passages nearest by the last snapshot of f(z), and the null document (section 3.4), whose reader is x alone. The
snapshot only chooses: f of the chosen is computed again, with gradient (section 3.3).
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from kemm.batch import IGNORE, Batch, TextInput
from kemm.fusion.base import Streams
from kemm.fusion.memory import NOT_FOUND, Remembers
from kemm.kg import Passages
from kemm.nn import BertNorm
from kemm.objectives.base import Losses, Teacher, wide
from kemm.objectives.masked_lm import MaskedLM
from kemm.objectives.masking import TokenMasking

if TYPE_CHECKING:
    from kemm.model import FusionModel

CHUNK = 256
"""Passages that are encoded at a time for a snapshot."""


class Read(NamedTuple):
    """What was retrieved for B texts with M hidden words, and read.

    Attributes:
        rows: The passages (B, K).
        prior: log p(z | x) (B, K + 1), the null document last.
        sample: The text (M,) of each hidden word.
        answer: The hidden words (M,).
        words: log p(y_j | [x; z]) (M, K + 1, V).
    """

    rows: Tensor
    prior: Tensor
    sample: Tensor
    answer: Tensor
    words: Tensor


class LatentRetrieval(Remembers, MaskedLM):
    """Recovers hidden words with retrieved passages. The passage that a text is, by the key of its id `batch["passage"]` (B,), -1 for none,
    is never retrieved for it: it would give the words away.

    Args:
        dim: Width of the text.
        vocab_size: Size of the vocabulary.
        passages: File of the passages, see `Passages`; or their tokens, whose keys are their places.
        feature_dim: Width of the feature.
        k: Passages that are read for each text.
        masking: What is hidden; None where the data brings `labels` (or another objective of the view hides).
        feature: Stream of the feature that asks, and by which passages are found.
        stream: The stream of states that is read.
        text: The input whose words are recovered; passages enter the network under this name too.
        factory: FAISS's description of the index.
        norm: Makes the norm of a width.
        view: See `Objective`.
    """

    passage_ids: Tensor
    passage_mask: Tensor
    passage_keys: Tensor

    def __init__(
        self,
        dim: int,
        vocab_size: int,
        passages: Path | TextInput,
        feature_dim: int,
        k: int = 8,
        masking: TokenMasking | None = None,
        feature: str = "text_feature",
        stream: str = "text",
        text: str = "text",
        factory: str = "Flat",
        norm: Callable[[int], nn.Module] = BertNorm,
        view: str = "main",
    ) -> None:
        super().__init__(dim, vocab_size, masking, stream=stream, text=text, norm=norm, view=view)
        self.known: Passages | None = None
        if isinstance(passages, dict):
            ids, mask, keys = passages["ids"], passages["mask"], torch.arange(len(passages["ids"]))
        else:
            known = self.known = Passages(passages)
            known.check_vocabulary(vocab_size)
            ids, mask, keys = known.ids, known.mask, known.keys()
        self.register_buffer("passage_ids", ids, persistent=False)
        self.register_buffer("passage_mask", mask, persistent=False)
        self.register_buffer("passage_keys", keys, persistent=False)
        self.remember(len(ids), feature_dim, factory)
        self.k, self.feature = k, feature
        self.null = nn.Parameter(torch.zeros(1))

    def passages(self, rows: Tensor) -> TextInput:
        """The tokens of passages."""
        return {"ids": self.passage_ids[rows], "mask": self.passage_mask[rows]}

    def features(self, rows: Tensor, network: "FusionModel") -> Tensor:
        """f(z) (N, E) of passages (N,)."""
        return network({self.text: self.passages(rows)})[self.feature].x[:, 0]

    def keys(self, network: "FusionModel") -> Tensor:
        modes = [(module, module.training) for module in network.modules()]
        network.eval()
        rows = torch.arange(len(self.passage_ids), device=self.passage_ids.device)
        keys = torch.cat([self.features(part, network) for part in rows.split(CHUNK)])
        for module, training in modes:
            module.training = training
        return keys

    def retrieve(self, query: Tensor, batch: Batch, network: "FusionModel") -> tuple[Tensor, Tensor]:
        """The rows of the k nearest passages (B, K), and which of them count: not the text's own, and none that was not found."""
        rows = self.search(query, self.k + 1, network)
        barred = rows < 0
        if "passage" in batch:
            barred = barred | (self.passage_keys[rows.clamp(min=0)] == batch["passage"][:, None])
        order = barred.to(torch.uint8).argsort(dim=1, stable=True)[:, : self.k]
        return rows.gather(1, order).clamp(min=0), ~barred.gather(1, order)

    def join(self, text: TextInput, rows: Tensor, network: "FusionModel") -> TextInput:
        """Each text (B, T) with each of its passages (B, K), less their [CLS]: (B * K, L), padding last, in segments 0 and 1.

        What is longer than the encoder reads is cut at the end of the passage.
        """
        encoder = network.encoder(self.text)
        embed: Any = encoder.embed
        passages, shape = self.passages(rows), (*rows.shape, -1)
        second = int(embed.types is not None and embed.types.num_embeddings > 1)
        ids, mask, types = (
            torch.cat([one[:, None].expand(shape), two[..., 1:]], -1).flatten(0, 1)
            for one, two in (
                (text["ids"], passages["ids"]),
                (text["mask"], passages["mask"]),
                (text.get("types", torch.zeros_like(text["ids"])), torch.full_like(passages["ids"], second)),
            )
        )
        longest = min(int(mask.sum(1).max()), encoder.limits["length"])
        order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)[:, :longest]
        return {"ids": ids.gather(1, order), "mask": mask.gather(1, order), "types": types.gather(1, order)}

    def read(self, streams: Streams, batch: Batch, network: "FusionModel") -> Read:
        """Retrieves passages for texts with `labels`, and reads them."""
        labels = self.labels(batch)
        query = streams[self.feature].x[:, 0]  # (B, E)
        rows, counts = self.retrieve(query, batch, network)  # (B, K)
        distinct, place = rows.unique(return_inverse=True)
        scores = torch.einsum("be,bke->bk", query, self.features(distinct, network)[place]).masked_fill(~counts, NOT_FOUND)
        prior = wide(torch.cat([scores, self.null.to(scores.dtype).expand(len(scores), 1)], 1)).log_softmax(-1)  # (B, K + 1)
        sample, token = (labels != IGNORE).nonzero(as_tuple=True)  # (M,)
        read = network({self.text: self.join(batch[self.text], rows, network)})[self.stream].x.unflatten(0, rows.shape)  # (B, K, L, D)
        joined = (batch[self.text]["mask"].cumsum(1) - 1)[sample, token]  # where the hidden words lie in [x; z]
        states = torch.cat([read[sample, :, joined], streams[self.stream].x[sample, token][:, None]], 1)  # (M, K + 1, D)
        words = wide(self.logits(states, network)).log_softmax(-1)  # (M, K + 1, V)
        return Read(rows, prior, sample, labels[sample, token], words)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        _, prior, sample, answer, words = self.read(streams, batch, network)
        each = words.gather(-1, answer[:, None, None].expand(-1, words.shape[1], 1))[..., 0]  # (M, K + 1)
        likelihood = (prior + torch.zeros_like(prior).index_add(0, sample, each)).logsumexp(-1)  # (B,)
        best = (prior[sample][..., None] + words).logsumexp(1).argmax(-1)
        asked = (self.labels(batch) != IGNORE).any(1)
        count, hidden = asked.sum().to(prior.dtype), torch.full_like(prior[0, 0], len(answer)).detach()
        return {
            "loss": (-likelihood[asked].sum(), count),
            "accuracy": ((best == answer).sum().to(prior.dtype), hidden),
            "null": (prior[asked, -1].exp().sum().detach(), count),
        }
