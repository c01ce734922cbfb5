"""Cases of the scorers of vision and language: VQA accuracy, image-text retrieval, zero-shot classification."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kemm.metrics import Recall, VQAReport, ZeroShotAccuracy, average_precisions, class_vectors, recall_at, vqa
from kemm.metrics.rankings import Ties
from tests.parity.cases import Answer, Case

TOP = (1, 5, 10)
BOUNDS: dict[str, Ties] = {"best": "optimistic", "worst": "pessimistic"}


def retrieval(case: Case) -> Answer:
    outputs: dict[str, float | Tensor] = {}
    for name, counts in case.info["captions_per_image"].items():
        scores = case.inputs.get(f"{name}.scores_t2i")
        if scores is None:
            scores = case.inputs[f"{name}.text_embeddings"] @ case.inputs[f"{name}.image_embeddings"].T
        image = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        positives = image[:, None] == torch.arange(len(counts))  # (captions, images)
        ways = {"txt": (scores.T, positives.T), "img": (scores, positives)}
        for way, (of, right) in ways.items():
            recall = measured(of, right)
            outputs |= {f"{name}.albef_itm_eval.{way}_r{k}": 100 * recall[k] for k in TOP}
            outputs |= {f"{name}.uniter_itm_eval.{way}_r{k}": recall[k] for k in TOP}
            asked = {"txt": "text", "img": "image"}[way]
            outputs |= {f"{name}.clip_benchmark.{asked}_retrieval_recall@{k}": recall[k] for k in TOP}
            for bound, ties in BOUNDS.items():
                outputs |= {f"{name}.tie_bounds.{way}_r{k}_{bound}": 100 * value for k, value in measured(of, right, ties).items()}
        outputs |= {f"{name}.clip_benchmark.true_recall_text@{k}": recall_at(scores.T, positives.T, k) for k in TOP}
        for kind in ("albef_itm_eval", "uniter_itm_eval"):
            means = {way: sum(float(outputs[f"{name}.{kind}.{way}_r{k}"]) for k in TOP) / len(TOP) for way in ways}
            outputs |= {f"{name}.{kind}.{way}_r_mean": mean for way, mean in means.items()}
            outputs[f"{name}.{kind}.r_mean"] = sum(means.values()) / len(means)
    return Answer({name: torch.as_tensor(value, dtype=torch.float64) for name, value in outputs.items()})


def measured(scores: Tensor, positives: Tensor, ties: Ties = "realistic") -> dict[int, float]:
    """The recall at each k, batch by batch."""
    metric = Recall(TOP, ties)
    for rows in torch.arange(len(scores)).split(7):
        metric.update(scores[rows], positives[rows])
    found = metric.compute()
    return {k: float(found[f"recall@{k}"]) for k in TOP}


def zero_shot(case: Case) -> Answer:
    inputs = case.inputs
    classes = class_vectors(inputs["text_features"])
    logits = 100 * F.normalize(inputs["image_features"], dim=-1) @ classes.T
    metric = ZeroShotAccuracy(len(classes))
    for rows in torch.arange(len(logits)).split(7):
        metric.update(logits[rows], inputs["labels"][rows])
    scores = metric.compute()
    named = {"acc1": "acc@1", "acc5": "acc@5", "mean_per_class_recall": "mean_class_recall"}
    outputs = {f"metrics.{name}": scores[own] for name, own in named.items()}
    classifiers = dict.fromkeys(("classifier", "open_clip_classifier", "open_clip_classifier_legacy"), classes.T)
    precisions = average_precisions(logits, inputs["multilabel"])
    return Answer(outputs | classifiers | {"logits": logits, "average_precision_per_class": precisions})


def vqa_normalisation(case: Case) -> Iterator[tuple[str, Any, Any]]:
    for i, given in enumerate(case.info["rows"]):
        expected = given | given.get("python3", {})
        raw = given["raw"]
        own = {
            "prepared": vqa.tidy(raw),
            "punctuation": vqa.strip_punctuation(given["prepared"]),
            "normalised": vqa.normalise_answer(raw),
            "softscore_preprocess": vqa.target_answer(raw),
        }
        expected["softscore_preprocess"] = given.get("python3_softscore_preprocess", expected["softscore_preprocess"])
        yield f"rows[{i}]", own, {name: expected[name] for name in own}


def vqa_accuracy(case: Case) -> Iterator[tuple[str, Any, Any]]:
    info = case.info
    annotations, predictions = info["annotations"], {row["question_id"]: row["answer"] for row in info["predictions"]}
    reports = {digits: vqa.vqa_report(annotations, predictions, digits) for digits in (2, 6)}
    yield "accuracy_n2", named(reports[2]), info.get("python3_accuracy_n2", info["accuracy_n2"])
    yield "accuracy_n6", named(reports[6]), info["accuracy_n6"]
    for digits, report in reports.items():
        questions = {str(question): value for question, value in report.question.items()}
        yield f"per_question_n{digits}", questions, info.get(f"python3_per_question_n{digits}", info[f"per_question_n{digits}"])
    subset = set(info["subset"]["question_ids"])
    part = vqa.vqa_report([annotation for annotation in annotations if annotation["question_id"] in subset], predictions)
    yield "subset", named(part), info["subset"]["accuracy"]
    softscore = info["softscore"]
    yield "get_score", [vqa.SOFT_SCORES[min(i, 4)] for i in range(len(softscore["get_score"]))], softscore["get_score"]
    given = {row["question_id"]: [answer["answer"] for answer in row["answers"]] for row in annotations}
    for key, expected in softscore.items():
        if key.startswith("min_occurrence_"):
            vocabulary = vqa.answer_vocabulary(annotations, int(key.removeprefix("min_occurrence_")))
            yield f"{key}.answers", vocabulary, expected["answers"]
            for row in expected["targets"]:
                targets = vqa.soft_targets(given[row["question_id"]], vocabulary, form=str)
                yield f"{key}.targets[{row['question_id']}]", sorted(targets.items()), sorted(row["scores"].items())


def named(report: VQAReport) -> dict[str, Any]:
    return {"overall": report.overall, "perQuestionType": report.question_type, "perAnswerType": report.answer_type}


ADAPTERS = {"retrieval_metrics": retrieval, "zero_shot_classification": zero_shot}
COMPARISONS = {"vqa_accuracy": vqa_accuracy, "vqa_normalisation": vqa_normalisation}
