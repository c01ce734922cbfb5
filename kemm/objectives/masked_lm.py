"""Masked language modelling (arXiv 1810.04805, section 3.1), and the causal kind (GPT, CoCa's captions)."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kemm.batch import IGNORE, Batch
from kemm.fusion.base import Streams
from kemm.nn import BertNorm, Draws, init_bert
from kemm.objectives.base import Losses, Objective, Teacher, View, cross_entropy, drop_labels
from kemm.objectives.masking import TokenMasking

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Transform(nn.Module):
    """`norm(activation(Linear(x)))`, which BERT's heads begin with.

    Args:
        dim: Width of the states.
        out: Width of the result; `dim` by default.
        activation: The non-linearity.
        norm: Makes the norm of a width.
        bias: Whether the projection has a bias (ModernBERT's has none).
    """

    def __init__(
        self,
        dim: int,
        out: int | None = None,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        norm: Callable[[int], nn.Module] = BertNorm,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, out or dim, bias=bias)
        self.norm = norm(out or dim)
        self.activation = activation
        init_bert(self)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.activation(self.dense(x)))


class MaskedLM(Objective):
    """Recovers hidden tokens; logits are made at hidden places only.

    Args:
        dim: Width of the text.
        vocab_size: Size of the vocabulary.
        masking: What is hidden; None where the data brings `labels`.
        distill: Weight of the teacher's distribution against the label (ALBEF, arXiv 2107.07651, equation 7).
        stream: The stream that is read.
        text: The input whose labels are recovered.
        norm: Makes the norm of a width.
        view: See `Objective`.
        after: See `Objective`.
        reuse: See `Objective`.
        unless: See `drop_labels`.
        activation: The head's non-linearity.
        bias: Whether the head's projection has a bias.
        tied: Whether the decoder is the text encoder's word table, or a matrix of its own.
    """

    def __init__(
        self,
        dim: int,
        vocab_size: int,
        masking: TokenMasking | None = None,
        distill: float = 0.0,
        stream: str = "text",
        text: str = "text",
        norm: Callable[[int], nn.Module] = BertNorm,
        view: str = "main",
        after: str = "",
        reuse: Sequence[str] = (),
        unless: str = "",
        activation: Callable[[Tensor], Tensor] = F.gelu,
        bias: bool = True,
        tied: bool = True,
    ) -> None:
        super().__init__(view, after, reuse)
        self.masking, self.distill, self.stream, self.text, self.unless = masking, distill, stream, text, unless
        self.needs = masking.needs if masking else (f"{text}.labels",)
        self.taught = self.teaches = distill > 0
        self.transform = Transform(dim, None, activation, norm, bias)
        self.decoder = None if tied else nn.Linear(dim, vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def limits(self, network: "FusionModel") -> dict[str, int]:
        return {f"{self.text}.ids": len(self.bias)}

    def check_learner(self, who: str, network: "FusionModel", objectives: Mapping[str, Objective]) -> None:
        drawn = self.masking.vocab_size if self.masking else None
        check_vocabulary(who, network, self.text, len(self.bias) if self.decoder is None else None, drawn)

    def corrupt(self, batch: Batch, before: dict[str, View], draws: Draws) -> Batch:
        return self.masking(batch, draws) if self.masking else batch

    def labels(self, batch: Batch) -> Tensor:
        """The words that are recovered (B, T), `IGNORE` elsewhere."""
        return drop_labels(batch[self.text]["labels"], batch, self.unless)

    def logits(self, x: Tensor, network: "FusionModel") -> Tensor:
        """Scores (..., V) of the words at states (..., D)."""
        words = network.encoder(self.text).embed.words.weight if self.decoder is None else self.decoder.weight
        return F.linear(self.transform(x), words, self.bias)

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        labels = self.labels(batch)
        hidden = labels != IGNORE  # (B, T)
        x = streams[self.stream].x[:, : labels.shape[1]]
        logits = self.logits(x[hidden], network)  # (hidden, V)
        losses = cross_entropy(logits, labels[hidden])
        if teacher is not None:
            with torch.no_grad():
                assert isinstance(teacher.objective, MaskedLM)
                taught = teacher.streams[self.stream].x[:, : labels.shape[1]][hidden]
                target = teacher.objective.logits(taught, teacher.network).softmax(-1)
            soft = -(target * logits.log_softmax(-1)).sum()
            loss, count = losses["loss"]
            losses["loss"] = ((1 - self.distill) * loss + self.distill * soft, count)
        return losses


class CausalLM(Objective):
    """Predicts each token from those before it (GPT; CoCa's captioning, arXiv 2205.01917, equation 2).

    Args:
        dim: Width of the stream.
        vocab_size: Size of the vocabulary.
        stream: The stream whose states predict the next token.
        text: The input whose tokens are predicted.
        tied: Whether the decoder is the text encoder's word table (GPT-2) or a matrix of its own (CoCa).
        norm: A norm before the decoder.
        view: See `Objective`.
    """

    def __init__(
        self,
        dim: int,
        vocab_size: int,
        stream: str = "text",
        text: str = "text",
        tied: bool = True,
        norm: nn.Module | None = None,
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.stream, self.text, self.needs, self.vocab_size = stream, text, (text,), vocab_size
        self.norm = norm or nn.Identity()
        self.decoder = None if tied else nn.Linear(dim, vocab_size, bias=False)

    def limits(self, network: "FusionModel") -> dict[str, int]:
        return {f"{self.text}.ids": self.vocab_size}

    def check_learner(self, who: str, network: "FusionModel", objectives: Mapping[str, Objective]) -> None:
        check_vocabulary(who, network, self.text, self.vocab_size if self.decoder is None else None)

    def logits(self, x: Tensor, network: "FusionModel") -> Tensor:
        """Scores (..., V) of the next words at states (..., D)."""
        x = self.norm(x)
        return self.decoder(x) if self.decoder is not None else x @ network.encoder(self.text).embed.words.weight.T

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        text = batch[self.text]
        labels = text["ids"].masked_fill(~text["mask"], IGNORE)[:, 1:]
        counted = labels != IGNORE
        x = streams[self.stream].x[:, : labels.shape[1]]
        return cross_entropy(self.logits(x[counted], network), labels[counted])


def check_vocabulary(who: str, network: "FusionModel", text: str, decoded: int | None, drawn: int | None = None) -> None:
    """Refuses sizes that do not fit the words of an input's encoder.

    Args:
        who: What the message calls the objective.
        network: The network.
        text: The input.
        decoded: Size of a head that decodes with the encoder's word table.
        drawn: Size of the vocabulary that random words are drawn from.

    Raises:
        ValueError: They do not, or there is no such input.
    """
    if text not in network.inputs:
        raise ValueError(f"{who}: text is {text!r}, expected one of the network's inputs {sorted(network.inputs)}")
    words, where = network.encoder(text).limits.get("ids"), f"model.network.encoders.{network.inputs[text]}"
    if words is not None and decoded not in (None, words):
        raise ValueError(f"{who}: vocab_size is {decoded}, expected {words}, the vocab_size of {where}")
    if words is not None and drawn is not None and drawn > words:
        raise ValueError(f"{who}: masking.vocab_size is {drawn}, expected at most {words}, the vocab_size of {where}")
