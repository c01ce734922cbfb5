"""Questions about images in VQA v2's official format, as a source."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from kemm.batch import Batch
from kemm.data.candidates import LinkedMention, candidate_batch, read_mentions
from kemm.data.images import Images
from kemm.data.source import Reach, Source
from kemm.data.tokens import TextReader
from kemm.kg import Answers, Labels
from kemm.rows import Gate, OnBad, RowError, list_of, number_of, read_list, text_of


class Questions(Source):
    """Questions with ten answers each.

    Args:
        questions: Official questions file.
        annotations: Official annotations file.
        answers: List of answers: JSON, a list of {"answer": ...}; the batch holds the soft scores of these.
        tokenizer: A tokenizer file.
        images: Where the pictures come from; None where nothing is shown.
        mentions: Mentions with candidates, JSON lines by question; None for none.
        graph: Folder of the graph that the candidates are of.
        max_length: Longer questions are cut, in tokens.
        only: Field of the annotations -> values; questions of other values are left out.
        on_bad: What happens to a bad question, annotation or line of mentions, or to a question whose picture is bad: an error that names
            it, or it is skipped and counted; see `Images.check`.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: An entry is bad, or no question is left.
    """

    def __init__(
        self,
        questions: Path,
        annotations: Path,
        answers: Path,
        tokenizer: Path,
        images: Images | None = None,
        mentions: Path | None = None,
        graph: Path | None = None,
        max_length: int = 32,
        only: Mapping[str, Sequence[str]] | None = None,
        on_bad: OnBad = "error",
    ) -> None:
        self.reader, self.images, self.graph = TextReader(tokenizer, max_length), images, graph
        self.gate = Gate(on_bad)
        listed = Answers(answers, graph)
        self.listed, self.answers = listed, listed.index
        self.known = listed.graph.entity_index if listed.graph else {}
        annotated = self._annotations(annotations)
        self.rows: list[tuple[str, dict[str, Any]]] = []
        texts: dict[int, str] = {}
        for where, question in read_list(questions, "VQA questions", "questions"):
            with self.gate.row(where):
                name, image, text = number_of(question, "question_id"), number_of(question, "image_id"), text_of(question, "question")
                if name in texts:
                    raise RowError("duplicate", f"question {name} is already in the list, expected each question_id once")
                if name not in annotated:
                    raise RowError("unanswered", f"question {name} has no annotation in {annotations}")
                annotation = annotated[name]
                if not annotation or not all(annotation.get(field) in values for field, values in (only or {}).items()):
                    continue
                if image != annotation["image_id"]:
                    raise RowError("image", f"question {name} is about image {image}, and its annotation about {annotation['image_id']}")
                if images is not None:
                    images.check(image, decode=on_bad == "skip")
                texts[name] = text
                self.rows.append((text, annotation))
        if not self.rows:
            raise ValueError(f"{questions}: expected questions, and none is left; skipped: {self.skipped}")
        self.mentions: dict[int, list[LinkedMention]] = read_mentions(mentions, self.known, texts, self.gate) if mentions else {}

    def _annotations(self, path: Path) -> dict[int, dict[str, Any]]:
        """Question id -> its annotation; an empty one where that was skipped, so that its question is not counted too."""
        found: dict[int, dict[str, Any]] = {}
        for where, annotation in read_list(path, "VQA annotations", "annotations"):
            with self.gate.row(where):
                name = number_of(annotation, "question_id")
                if name in found:
                    raise RowError("duplicate", f"question {name} is annotated already, expected each question_id once")
                found[name] = {}
                found[name] = _check(annotation, name)
        return found

    @property
    def skipped(self) -> dict[str, int]:
        return dict(self.gate.skipped)

    @property
    def reaches(self) -> dict[str, Reach]:
        entities = {"candidate.ids": Reach(len(self.known) + 1, str(self.graph))} if self.known else {}
        return {**self.reader.reaches, **entities}

    @property
    def lists(self) -> dict[str, Answers | Labels]:
        return {"answer.scores": self.listed}

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, rows: Sequence[int], epoch: int) -> Batch:
        chosen = [self.rows[row] for row in rows]
        tokens = self.reader([question for question, _ in chosen])
        annotations = [annotation for _, annotation in chosen]
        batch: Batch = {
            "id": torch.tensor([annotation["question_id"] for annotation in annotations]),
            "text": {"ids": tokens.ids, "mask": tokens.mask},
            "answer": {"scores": self._scores(annotations)},
            "annotation": [{**annotation, "question": question} for question, annotation in chosen],
        }
        if self.images is not None:
            batch["image"] = self._image(self.images, annotations, epoch)
        if self.known:
            listed = [self.mentions.get(annotation["question_id"], []) for annotation in annotations]
            batch["candidate"] = candidate_batch(tokens, listed, self.known)
        return batch

    def _image(self, images: Images, annotations: Sequence[dict[str, Any]], epoch: int) -> dict[str, torch.Tensor]:
        ids = [annotation["image_id"] for annotation in annotations]
        image = {"pixels": images.batch(ids, epoch)}
        labels = [images.label(image_id) for image_id in ids]
        if any(labels) and self.known:
            image["entity"] = torch.tensor([self.known[label] + 1 if label in self.known else 0 for label in labels])
        return image

    def _scores(self, annotations: Sequence[dict[str, Any]]) -> torch.Tensor:
        """Soft scores (B, A): 0.3 for each annotator up to 1, the expectation of the official accuracy."""
        scores = torch.zeros(len(annotations), len(self.answers))
        for row, annotation in enumerate(annotations):
            for answer, count in Counter(given["answer"] for given in annotation["answers"]).items():
                if answer in self.answers:
                    scores[row, self.answers[answer]] = min(1.0, 0.3 * count)
        return scores


def _check(annotation: dict[str, Any], name: int) -> dict[str, Any]:
    """An annotation that has all that is read of it."""
    number_of(annotation, "image_id")
    text_of(annotation, "answer_type")
    answers = list_of(annotation, "answers")
    if len(answers) != 10:
        raise RowError("answers", f"question {name} has {len(answers)} answers, expected ten")
    for place, answer in enumerate(answers):
        if not isinstance(answer, dict) or not isinstance(answer.get("answer"), str):
            raise RowError("answers", f"question {name}: answers[{place}] is {answer!r:.80}, expected an object with a text 'answer'")
    return annotation
