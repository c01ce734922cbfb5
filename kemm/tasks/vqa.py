"""Visual question answering: a distribution over a closed list of answers, which may come from looking up.

The answer is generated (a softmax over the list), pointed at (an entity of a soft set that a fusion looked up), or checked (yes, as far
as one soft set is in another). Which of these it is, is latent, and summed out (the pointer of See et al., arXiv 1704.04368, equation 9;
REALM's marginal likelihood, arXiv 2002.08909, equation 1):

    p(a) = sum over ways w of p(w | question) p_w(a)        loss = - sum over answers a of target(a) log p(a)
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.fusion.facts import membership
from kemm.kg import Answers, Labels
from kemm.metrics import annotation_accuracy, bootstrap_interval
from kemm.nn import Draws
from kemm.objectives.base import Losses, Teacher, View, count_of, wide
from kemm.tasks.base import Row, Scores, Task
from kemm.tasks.explain import Lookup, looked_up

if TYPE_CHECKING:
    from kemm.model import FusionModel


NEVER = -1e4
"""The score of an answer that is not generated."""
QUICK = 10.0
"""Factor of single numbers (a check's slope and bias), which an optimiser's small steps would move too slowly."""


class VQA(Task):
    """Answers questions about images (VQA v2's format and metric).

    Reads `batch["answer"]["scores"]` (B, A), the soft scores of the list's answers.

    Args:
        dim: Width of the question.
        answers: File of the answers, see `Answers`.
        features: Streams whose first places, multiplied, generate an answer.
        question: Stream whose first place chooses the way.
        graph: Folder of the graph that the answers' entities are of.
        points: Soft sets whose entities are answers.
        checks: Lists of soft sets: yes, as far as any of the others has an entity in common with the first.
        named: Soft sets of what the question names, which is not its answer ("which organisation, besides the United Nations, ...").
        seen: Kinds of entities that are generated all the same: those that are seen in the picture (colours), not known of it.
        width: Width of the features; `dim` by default.
        hidden: Width of the generating layer.
        generating: Weight of a loss that teaches generating alone what is neither pointed at nor checked, whichever way is chosen: an
            early favourite (to point at any of a flag's colours is right one time in three) would starve it.
        blanked: Share of the words that training hides, so that no wording is learned by heart.
        blank_id: The id that they become ([MASK]).
        text: The input whose words are hidden.
        dropout: Rate before it.
        view: See `Objective`.
    """

    needs = ("answer.scores",)

    place: Tensor
    pointed: Tensor
    checked: Tensor

    def __init__(
        self,
        dim: int,
        answers: Path,
        features: Sequence[str] = ("pooled",),
        question: str = "pooled",
        graph: Path | None = None,
        points: Sequence[str] = (),
        checks: Sequence[Sequence[str]] = (),
        named: Sequence[str] = (),
        seen: Sequence[str] = (),
        width: int | None = None,
        hidden: int = 256,
        dropout: float = 0.0,
        generating: float = 0.0,
        blanked: float = 0.0,
        blank_id: int = 4,
        text: str = "text",
        view: str = "main",
    ) -> None:
        super().__init__(view)
        self.blanked, self.blank_id, self.text, self.named = blanked, blank_id, text, tuple(named)
        self.generating = generating
        self.answers = Answers(answers, graph)
        self.features, self.question = tuple(features), question
        self.points, self.checks = tuple(points), tuple(tuple(sets) for sets in checks)
        missing = [name for name in ("yes", "no") if name not in self.answers.index]
        if self.checks and missing:
            raise ValueError(f"{answers}: checks answer yes or no, and the list has no {missing[0]!r}")
        self.generate = nn.Sequential(nn.Linear(width or dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, len(self.answers)))
        self.choose = nn.Linear(dim, 1 + len(self.points) + len(self.checks))
        # Looking up generalises and generating memorises, so generating begins as the least likely way.
        with torch.no_grad():
            self.choose.bias.zero_()
            self.choose.bias[0] = -2.0 if self.points or self.checks else 0.0
        # A check begins with the right sign, and undecided where nothing was found: wrong more often than guessing, it would be given
        # up before it is informative.
        self.check_slope = nn.Parameter(torch.full((max(len(self.checks), 1),), 0.4))
        self.check_bias = nn.Parameter(torch.zeros(max(len(self.checks), 1)))
        place = torch.full((max(self.answers.entities, default=0) + 1,), -1)
        for row, answer in self.answers.entities.items():
            place[row] = answer
        self.register_buffer("place", place, persistent=False)
        # What can be pointed at is not generated: it would be learned by heart instead of looked up.
        pointed = torch.zeros(len(self.answers), dtype=torch.bool)
        if self.points and self.answers.graph is not None:
            kinds = {row: self.answers.graph.entities[row - 1].kind for row in self.answers.entities}
            pointed[[answer for row, answer in self.answers.entities.items() if kinds[row] not in seen]] = True
        self.register_buffer("pointed", pointed, persistent=False)
        checked = torch.zeros(len(self.answers), dtype=torch.bool)
        if self.checks:
            checked[[self.answers.index["yes"], self.answers.index["no"]]] = True
        self.register_buffer("checked", checked, persistent=False)
        if not self.checks:
            self.unused = ("check_slope", "check_bias")

    @property
    def lists(self) -> dict[str, Answers | Labels]:
        return {"answer.scores": self.answers}

    def corrupt(self, batch: Batch, before: dict[str, View], draws: Draws) -> Batch:
        if not self.blanked or not self.training:
            return batch
        text = batch[self.text]
        ids: Tensor = text["ids"]
        hidden = (draws.uniform("blank", ids.shape[1]) < self.blanked) & (ids > self.blank_id)
        return {**batch, self.text: {**text, "ids": ids.masked_fill(hidden, self.blank_id)}}

    def ways(self, streams: Streams, batch: Batch) -> tuple[list[str], Tensor, Tensor]:
        """The names of the ways that this batch has, p(way) (B, W), and p(answer | way) (B, W, A)."""
        question = streams[self.question].x[:, 0]
        feature = torch.stack([streams[name].x[:, 0] for name in self.features if name in streams]).prod(0)
        names, chosen, answers = ["generated"], [0], []
        opened = [torch.ones_like(question[:, 0], dtype=torch.bool)]  # whether each question has each way
        checked = torch.zeros_like(opened[0])
        for i, name in enumerate(self.points, 1):
            if name in streams:
                names.append(name)
                chosen.append(i)
                answers.append(self.point(streams, name))
                opened.append(opened[0])
        for i, (first, *others) in enumerate(self.checks):
            known = [name for name in others if name in streams]
            if first in streams and known:
                names.append(f"{' or '.join(known)} in {first}")
                chosen.append(1 + len(self.points) + i)
                answers.append(self.compare(streams, first, known, i))
                # A check of nothing says nothing. Where there is something, it alone says yes or no: of two that begin by guessing, the
                # first to learn a little would starve the other.
                opened.append(torch.stack([streams[name].x[..., 0].sum(-1) > 0 for name in known]).any(0))
                checked = checked | opened[-1]
        barred = self.pointed | (self.checked & checked[:, None])
        generated = wide(self.generate(feature)).masked_fill(barred, NEVER).softmax(-1)
        scores = wide(self.choose(question)[:, chosen]).masked_fill(~torch.stack(opened, 1), NEVER)
        return names, scores.softmax(-1), torch.stack([generated, *answers], 1)

    def point(self, streams: Streams, name: str) -> Tensor:
        """The weights of a soft set as a distribution over answers (B, A); what is no answer, or named by the question, gets none."""
        entities = streams[name]
        assert entities.positions is not None
        rows = entities.positions.clamp(max=len(self.place) - 1)
        place = torch.where(entities.positions < len(self.place), self.place[rows], -1)  # (B, K)
        weights = wide(entities.x[..., 0]) * (place >= 0)
        for other in self.named:
            if other in streams:
                weights = weights * (1 - membership(entities, streams[other]).clamp(max=1))
        answers = weights.new_zeros(len(weights), len(self.answers))
        return answers.scatter_add(1, place.clamp(min=0), weights)

    def compare(self, streams: Streams, first: str, others: Sequence[str], i: int) -> Tensor:
        """Yes, as far as one of the other sets is in the first, as a distribution over answers (B, A)."""
        one = streams[first]
        weights = wide(one.x[..., 0])
        # Among several true objects each weighs little: relative to the heaviest (or to none, if that is heavier) each is fully in.
        none = (1 - weights.sum(-1, keepdim=True)).clamp(min=0)
        relative = weights / torch.cat([weights, none], -1).max(-1, keepdim=True).values.clamp(min=1e-6)
        outside = torch.ones_like(weights[:, 0])
        for name in others:
            two = streams[name]
            outside = outside * (1 - (membership(two, one._replace(x=relative[..., None])) * two.x[..., 0]).sum(-1).clamp(max=1))
        inside = 1 - outside  # (B,)
        yes = torch.sigmoid(QUICK * (self.check_slope[i] * inside + self.check_bias[i]))
        answers = yes.new_zeros(len(yes), len(self.answers))
        answers[:, self.answers.index["yes"]] = yes
        answers[:, self.answers.index["no"]] = 1 - yes
        return answers

    def forward(self, streams: Streams, batch: Batch, network: "FusionModel", teacher: Teacher | None = None) -> Losses:
        scores: Tensor = batch["answer"]["scores"]
        _, chosen, answers = self.ways(streams, batch)
        likelihood = torch.einsum("bw,bwa->ba", chosen, answers)  # (B, A)
        total = scores.sum(-1, keepdim=True)
        target = scores / total.clamp(min=1e-6)
        losses = -(target * likelihood.clamp(min=1e-30).log()).sum(-1)
        if self.generating:
            generated = target.masked_fill(self.pointed | self.checked, 0.0) * answers[:, 0].clamp(min=1e-30).log()
            losses = losses - self.generating * generated.sum(-1)
        counted = total[:, 0] > 0  # a question whose answers are all outside the list teaches nothing
        hits = scores.gather(1, likelihood.argmax(-1, keepdim=True))[:, 0]
        return {"loss": (losses[counted].sum(), count_of(losses[counted])), "accuracy": (hits.sum(), count_of(hits))}

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        names, chosen, answers = self.ways(streams, batch)
        likelihood = torch.einsum("bw,bwa->ba", chosen, answers)
        best = likelihood.topk(min(3, len(self.answers)), -1)
        ways = (chosen[..., None] * answers).gather(2, best.indices[:, None, :1].expand(-1, len(names), 1))[..., 0].argmax(-1)
        rows: list[Row] = []
        for i, annotation in enumerate(batch["annotation"]):
            answer = self.answers.names[int(best.indices[i, 0])]
            rows.append(
                {
                    "id": annotation["question_id"],
                    "question_id": annotation["question_id"],
                    "answer": answer,
                    "accuracy": annotation_accuracy(answer, annotation),
                    "likelihood": round(float(best.values[i, 0]), 4),
                    "way": names[int(ways[i])],
                    "question": annotation.get("question", ""),
                    "truth": [name for name, _ in Counter(given["answer"] for given in annotation["answers"]).most_common(3)],
                    "kind": str(annotation.get("kind", annotation["answer_type"])),
                    "others": [self.answers.names[int(a)] for a in best.indices[i, 1:]],
                    "annotation": annotation,
                }
            )
        return rows

    def explain(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[list[Lookup]]:
        return [] if self.answers.graph is None else looked_up(streams, batch, network, self.answers.graph)

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        """Official accuracy in percent: overall, of the open questions, per answer type, and per `kind` where annotations have it; where
        they say whether a question is about what is `pictured` or names its subject, of the open questions also apart by that. Questions
        about one picture are resampled together."""
        groups: dict[str, list[tuple[float, Any]]] = {"accuracy": []}
        for place, row in enumerate(rows):
            annotation = row["annotation"]
            scored = (100 * row["accuracy"], annotation.get("image_id", f"row {place}"))
            groups["accuracy"].append(scored)
            if annotation["answer_type"] != "yes/no":
                groups.setdefault("accuracy/open", []).append(scored)
                if "pictured" in annotation:
                    needed = "pictured" if annotation["pictured"] else "named"
                    groups.setdefault(f"accuracy/open/{needed}", []).append(scored)
            for field in ("answer_type", "kind"):
                if field in annotation:
                    groups.setdefault(f"accuracy/{field}/{annotation[field]}", []).append(scored)
        listed = {name: tuple(zip(*scored, strict=True)) for name, scored in sorted(groups.items())}
        return {name: bootstrap_interval(accuracies, groups=images) for name, (accuracies, images) in listed.items()}

    def official(self, rows: Sequence[Row]) -> Any:
        return [{"question_id": row["question_id"], "answer": row["answer"]} for row in rows]
