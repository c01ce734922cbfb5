"""Link prediction as a task: filtered ranks of held-out triples, realistic under ties."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.kg import KnownTriples, Scorer, read_graph
from kemm.metrics import ranking_scores, ranks
from kemm.objectives import LinkPrediction
from kemm.tasks.base import Row, Scores, Task

if TYPE_CHECKING:
    from kemm.model import FusionModel


class Links(LinkPrediction, Task):
    """Ranks tails and heads among all entities, other true answers of the graph left out (see `LinkPrediction`).

    Args:
        scorer: See `LinkPrediction`.
        graph: Folder of the whole graph, held-out triples included: what is true is filtered.
        scale: See `LinkPrediction`.
        triple: See `LinkPrediction`.
        entity: See `LinkPrediction`.
        relation: See `LinkPrediction`.
        view: See `Objective`.
    """

    def __init__(
        self,
        scorer: Scorer,
        graph: Path,
        scale: float = 1.0,
        triple: str = "triple",
        entity: str = "entity",
        relation: str = "relation",
        view: str = "main",
    ) -> None:
        super().__init__(scorer, scale, triple, entity, relation, view)
        known = read_graph(graph)[0].with_inverses()
        self.known = KnownTriples(known.triples, known.num_entities, known.num_relations)

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        scores, answer = self.scores(batch, network)
        subject, relation, _ = self.queries(batch)
        candidates = torch.ones_like(scores, dtype=torch.bool)
        row, entity = self.known.listed(subject - 1, relation - 1, True)
        inside = entity < scores.shape[1]
        candidates[row[inside], entity[inside]] = False
        candidates[torch.arange(len(answer)), answer] = True
        found = ranks(scores, answer, candidates).tolist()
        ids = batch["id"].tolist()
        return [{"id": sample, "tail_rank": found[i], "head_rank": found[i + len(ids)]} for i, sample in enumerate(ids)]

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        both = torch.tensor([[row["tail_rank"], row["head_rank"]] for row in rows], dtype=torch.float64).flatten()
        return {name: float(value) for name, value in ranking_scores(both).items()}
