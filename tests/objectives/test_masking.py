"""What is hidden: shares, whole words, mentions, and draws that depend on nothing but the sample."""

from typing import Any

import pytest
import torch
from torch import Tensor

from kemm.batch import IGNORE
from kemm.nn import Draws
from kemm.objectives import EntitySpanMasking, TokenMasking, WholeWordMasking

PAD, CLS, SEP, MASK, WORDS = 0, 1, 2, 3, 1000
KINDS = (TokenMasking, WholeWordMasking, EntitySpanMasking)


def make(kind: type[TokenMasking] = TokenMasking, **options: Any) -> TokenMasking:
    return kind(MASK, WORDS, specials=(PAD, CLS, SEP), **options)


def batch_of(rows: int, length: int, padding: int = 0) -> dict[str, Any]:
    """Rows of different lengths with [CLS] and [SEP], words of two pieces, a mention at places 3 to 5 and one at 8."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(10, WORDS, (rows, length), generator=generator)
    lengths = torch.randint(length // 2, length + 1, (rows,), generator=generator)
    places = torch.arange(length)
    mask = places < lengths[:, None]
    ids = torch.where(places == lengths[:, None] - 1, SEP, ids).masked_fill(~mask, PAD)
    ids[:, 0] = CLS
    words = ((places - 1).clamp(min=-1) // 2).masked_fill(~mask | (ids == SEP), -1)

    def wide(x: Tensor, fill: int) -> Tensor:
        return torch.nn.functional.pad(x, (0, padding), value=fill)

    text = {"ids": wide(ids, PAD), "mask": wide(mask.long(), 0).bool(), "words": wide(words, -1)}
    spans = torch.tensor([[[3, 5], [8, 8], [-1, -1]]]).expand(rows, -1, -1)
    return {"text": text, "entity": {"spans": spans}, "id": torch.arange(rows) + 100}


def share(part: Tensor, whole: Tensor) -> float:
    return float(part.sum() / whole.sum())


def test_shares() -> None:
    batch = batch_of(400, 60)
    ids, real = batch["text"]["ids"], batch["text"]["mask"] & (batch["text"]["ids"] >= 10)
    hidden = make()(batch, Draws(batch["id"]))["text"]
    chosen = hidden["labels"] != IGNORE
    assert not (chosen & ~real).any()
    assert share(chosen, real) == pytest.approx(0.15, abs=0.01)
    assert torch.equal(hidden["labels"][chosen], ids[chosen])
    assert torch.equal(hidden["ids"][~chosen], ids[~chosen])
    masked, kept = chosen & (hidden["ids"] == MASK), chosen & (hidden["ids"] == ids)
    assert share(masked, chosen) == pytest.approx(0.8, abs=0.02)
    assert share(kept, chosen) == pytest.approx(0.1, abs=0.02)
    random = hidden["ids"][chosen & ~masked & ~kept]
    assert 0.4 < float((random < WORDS / 2).double().mean()) < 0.6
    assert random.unique().numel() > 0.5 * random.numel()


@pytest.mark.parametrize(("rate", "replaced"), [(0.4, 0.8), (1.0, 1.0), (0.3, 0.0)])
def test_other_shares(rate: float, replaced: float) -> None:
    batch = batch_of(300, 40)
    real = batch["text"]["mask"] & (batch["text"]["ids"] >= 10)
    hidden = make(rate=rate, replaced=replaced)(batch, Draws(batch["id"]))["text"]
    chosen = hidden["labels"] != IGNORE
    assert share(chosen, real) == pytest.approx(rate, abs=0.02)
    assert share(chosen & (hidden["ids"] == MASK), chosen) == pytest.approx(replaced, abs=0.02)


def test_the_rate_is_a_share() -> None:
    with pytest.raises(ValueError, match=r"15.*\(0, 1\]"):
        make(rate=15)


def test_whole_words() -> None:
    batch = batch_of(400, 60)
    words = batch["text"]["words"]
    chosen = make(WholeWordMasking)(batch, Draws(batch["id"]))["text"]["labels"] != IGNORE
    for row in range(len(words)):
        for word in words[row].unique().tolist():
            pieces = chosen[row, words[row] == word]
            assert not pieces.any() if word < 0 else pieces.all() == pieces.any()
    assert share(chosen, words >= 0) == pytest.approx(0.15, abs=0.01)


def test_a_text_without_words() -> None:
    batch = batch_of(2, 8)
    batch["text"]["words"] = torch.full_like(batch["text"]["words"], -1)
    assert (make(WholeWordMasking)(batch, Draws(batch["id"]))["text"]["labels"] == IGNORE).all()


def test_mentions() -> None:
    batch = batch_of(3000, 12)
    real = batch["text"]["mask"] & (batch["text"]["ids"] >= 10)
    chosen = make(EntitySpanMasking, rate=0.3)(batch, Draws(batch["id"]))["text"]["labels"] != IGNORE
    first = real[:, 3:6].all(1)
    assert torch.equal(chosen[first, 3], chosen[first, 4])
    assert torch.equal(chosen[first, 3], chosen[first, 5])
    assert share(chosen[:, 3], real[:, 3]) == pytest.approx(0.3, abs=0.03)
    assert share(chosen[:, 8], real[:, 8]) == pytest.approx(0.3, abs=0.03)
    assert 0.05 < float((chosen[:, 3] & chosen[:, 8])[real[:, 8]].double().mean()) < 0.13
    outside = [1, 2, 6, 7, 9, 10]
    assert share(chosen[:, outside], real[:, outside]) == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_do_not_depend_on_the_batch(kind: type[TokenMasking]) -> None:
    masking = make(kind)
    batch, wider = batch_of(8, 20), batch_of(8, 20, padding=7)
    whole = masking(batch, Draws(batch["id"]))["text"]
    padded = masking(wider, Draws(wider["id"]))["text"]
    for name in ("ids", "labels"):
        assert torch.equal(padded[name][:, :20], whole[name])
    assert (padded["labels"][:, 20:] == IGNORE).all()
    for row in (6, 1):
        alone = {"text": {name: x[[row]] for name, x in batch["text"].items()}, "entity": {"spans": batch["entity"]["spans"][[row]]}}
        again = masking(alone, Draws(batch["id"][[row]]))["text"]
        for name in ("ids", "labels"):
            assert torch.equal(again[name][0], whole[name][row])


@pytest.mark.parametrize("kind", KINDS)
def test_other_steps_and_seeds_hide_other_tokens(kind: type[TokenMasking]) -> None:
    batch = batch_of(20, 40)
    labels = [make(kind)(batch, draws)["text"]["labels"] for draws in (Draws(batch["id"]), Draws(batch["id"], 1), Draws(batch["id"], 0, 1))]
    assert not torch.equal(labels[0], labels[1])
    assert not torch.equal(labels[0], labels[2])
    assert not torch.equal(labels[1], labels[2])


@pytest.mark.parametrize("kind", KINDS)
def test_the_given_batch_stays_as_it_is(kind: type[TokenMasking]) -> None:
    batch = batch_of(4, 20)
    copies = {name: x.clone() for name, x in batch["text"].items()}
    make(kind)(batch, Draws(batch["id"]))
    assert batch["text"].keys() == copies.keys()
    assert all(torch.equal(x, copies[name]) for name, x in batch["text"].items())
