"""Reading as a task: the words hidden in a text, recovered with the passages that were retrieved, and without them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from torch import Tensor

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.metrics import bootstrap_interval
from kemm.nn import Draws
from kemm.objectives import LatentRetrieval
from kemm.objectives.retrieval import Read
from kemm.tasks.base import Row, Scores, Task
from kemm.tasks.explain import Found, Lookup

if TYPE_CHECKING:
    from kemm.model import FusionModel

SHOWN = 240
"""Characters of a passage that a report shows."""


class Reading(LatentRetrieval, Task):
    """Recovers hidden words with retrieved passages (see `LatentRetrieval` for what is trained).

    In evaluation a text hides the same words each time. A word is right if it has the largest of sum over z of p(z | x) p(y_j | x, z); what
    the reader of the text alone says of it is counted beside that.
    """

    def hide(self, batch: Batch, network: "FusionModel") -> tuple[Batch, Read]:
        """The batch with words hidden, and what was retrieved and read for it."""
        hidden = self.corrupt(batch, {}, Draws(batch["id"], 0, -1))
        return hidden, self.read(network(hidden), hidden, network)

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        hidden, (_, prior, sample, answer, words) = self.hide(batch, network)
        mixed = (prior[sample][..., None] + words).logsumexp(1)  # (M, V)
        sure, best = mixed.max(-1)
        alone = words[:, -1].argmax(-1) == answer
        rows: list[Row] = []
        for i, name in enumerate(batch["id"].tolist()):
            mine = (sample == i).nonzero()[:, 0]
            hits, count = int((best[mine] == answer[mine]).sum()), len(mine)
            rows.append(
                {
                    "id": name,
                    "question": self.said(hidden[self.text]["ids"][i][hidden[self.text]["mask"][i]]),
                    "answer": self.said(best[mine]),
                    "truth": [self.said(answer[mine])],
                    "kind": "text",
                    "accuracy": hits / count if count else 1.0,
                    "likelihood": round(sure[mine].exp().mean().item(), 4) if count else 1.0,
                    "words": count,
                    "right": hits,
                    "right_alone": int(alone[mine].sum()),
                    "nothing_read": round(prior[i, -1].exp().item(), 4),
                }
            )
        return rows

    def said(self, ids: Tensor) -> str:
        """Words (T,) as a text, what marks its ends left out; as numbers where no tokenizer is known."""
        ends = () if self.masking is None else self.masking.specials
        kept = [word for word in ids.tolist() if word not in ends]
        return " ".join(map(str, kept)) if self.known is None else self.known.words(kept)

    def explain(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[list[Lookup]]:
        _, read = self.hide(batch, network)
        lookups = []
        for rows, weights in zip(read.rows.tolist(), read.prior.detach().exp().tolist(), strict=True):
            found = [self._found(row, weight) for row, weight in zip(rows, weights[:-1], strict=True) if weight > 0]
            found.append(Found("no passage, the text alone", weights[-1]))
            lookups.append([Lookup(self.feature, "passages", tuple(sorted(found, key=lambda one: -one.weight)))])
        return lookups

    def _found(self, row: int, weight: float) -> Found:
        text = self.said(self.passage_ids[row][self.passage_mask[row]])
        name = f"passage {row}" if self.known is None else self.known.names[row]
        return Found(text if len(text) <= SHOWN else f"{text[:SHOWN]} …", weight, name)

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        """Percent of the hidden words that are recovered, with passages and by the text alone, and how much is left to the text alone."""
        counts = [[row["right"], row["right_alone"], row["words"]] for row in rows if row["words"]]
        if not counts:
            return {"words": 0.0}

        def percent(column: int, table: npt.NDArray[np.float64]) -> float:
            return float(100 * table[:, column].sum() / table[:, 2].sum())

        nothing = [100 * row["nothing_read"] for row in rows if row["words"]]
        return {
            "accuracy": bootstrap_interval(counts, lambda table: percent(0, table)),
            "accuracy/alone": bootstrap_interval(counts, lambda table: percent(1, table)),
            "nothing_read": bootstrap_interval(nothing),
            "words": float(sum(count for *_, count in counts)),
        }
