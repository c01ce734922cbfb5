"""Which tokens are hidden, and by what: BERT's 80/10/10 (arXiv 1810.04805, section 3.1) over tokens, whole words or entity spans."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.nn import Draws


class TokenMasking:
    """Chooses each token by itself.

    Args:
        mask_id: The id of [MASK].
        vocab_size: Random words are drawn from [0, vocab_size).
        specials: Ids that are never hidden ([PAD], [CLS], [SEP]).
        rate: Share of the tokens that are chosen.
        replaced: Share of the chosen that become [MASK]; half of the rest become random words, the others stay.
        text: Name of the text in the batch.
    """

    def __init__(
        self,
        mask_id: int,
        vocab_size: int,
        specials: Sequence[int] = (0,),
        rate: float = 0.15,
        replaced: float = 0.8,
        text: str = "text",
    ) -> None:
        if not 0 < rate <= 1:
            raise ValueError(f"the rate of masking is {rate}, and should lie in (0, 1]")
        self.mask_id, self.vocab_size, self.specials = mask_id, vocab_size, tuple(specials)
        self.rate, self.replaced, self.text = rate, replaced, text

    @property
    def needs(self) -> tuple[str, ...]:
        """Entries without which a batch cannot be masked."""
        return (self.text,)

    def choose(self, batch: Batch, draws: Draws) -> Tensor:
        """Bool (B, T): the tokens that are to be predicted."""
        return draws.uniform("mask", batch[self.text]["ids"].shape[1]) < self.rate

    def __call__(self, batch: Batch, draws: Draws) -> Batch:
        """The batch with the text's `ids` corrupted and its `labels` set (`IGNORE` where nothing is predicted)."""
        text = batch[self.text]
        ids: Tensor = text["ids"]
        length = ids.shape[1]
        special = (ids[..., None] == ids.new_tensor(self.specials)).any(-1)
        chosen = self.choose(batch, draws) & ~special & text["mask"]
        labels = ids.masked_fill(~chosen, IGNORE)
        masked = chosen & (draws.uniform("replace", length) < self.replaced)
        random = chosen & ~masked & (draws.uniform("random", length) < 0.5)
        words = draws.integers("word", self.vocab_size, length)
        ids = torch.where(random, words, ids.masked_fill(masked, self.mask_id))
        return {**batch, self.text: {**text, "ids": ids, "labels": labels}}


class WholeWordMasking(TokenMasking):
    """Chooses words with all their pieces; reads `words` (B, T), the index of each token's word, -1 for none."""

    @property
    def needs(self) -> tuple[str, ...]:
        return (f"{self.text}.words",)

    def choose(self, batch: Batch, draws: Draws) -> Tensor:
        words: Tensor = batch[self.text]["words"]
        chosen = draws.uniform("mask", int(words.max().clamp(min=0)) + 1) < self.rate  # (B, words)
        return chosen.gather(1, words.clamp(min=0)) & (words >= 0)


class EntitySpanMasking(TokenMasking):
    """Chooses whole mentions, and other tokens by themselves at a rate of their own (ERNIE of Baidu, arXiv 1904.09223, section 3.3;
    salient spans of REALM, arXiv 2002.08909, section 3.4; Entities as Experts, arXiv 2004.07202; only the others in WKLM, arXiv
    1912.09637, section 2.2).

    Args:
        mask_id: The id of [MASK].
        vocab_size: Random words are drawn from [0, vocab_size).
        specials: Ids that are never hidden.
        rate: Share of the mentions that are chosen; 0 for none.
        replaced: Share of the chosen that become [MASK].
        text: Name of the text in the batch.
        entity: Name of the entry with the `spans` (B, E, 2), inclusive ends, -1 = padding.
        others: Share of the other tokens that are chosen; half of `rate` by default.
    """

    def __init__(
        self,
        mask_id: int,
        vocab_size: int,
        specials: Sequence[int] = (0,),
        rate: float = 0.15,
        replaced: float = 0.8,
        text: str = "text",
        entity: str = "entity",
        others: float | None = None,
    ) -> None:
        super().__init__(mask_id, vocab_size, specials, rate / 2 if others is None else others, replaced, text)
        if not 0 <= rate <= 1:
            raise ValueError(f"the rate of hidden mentions is {rate}, and should lie in [0, 1]")
        self.entity, self.mentions = entity, rate

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.text, f"{self.entity}.spans")

    def choose(self, batch: Batch, draws: Draws) -> Tensor:
        spans: Tensor = batch[self.entity]["spans"]
        length = batch[self.text]["ids"].shape[1]
        places = torch.arange(length, device=spans.device)
        inside = (places >= spans[..., :1]) & (places <= spans[..., 1:])  # (B, E, T)
        hidden = draws.uniform("mention", spans.shape[1]) < self.mentions  # (B, E)
        return (inside & hidden[..., None]).any(1) | super().choose(batch, draws) & ~inside.any(1)
