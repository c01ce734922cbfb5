"""Cases of the scorers that come with knowledge-enhanced language models."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch

from kemm.metrics import (
    LinkingF1,
    RelationF1,
    TypingF1,
    bare_answer,
    choose_spans,
    cloze_scores,
    directed_scores,
    matthews_correlation,
    predict_types,
    ranking_scores,
    ranks,
    record_scores,
    span_f1,
    spans_of_tags,
    squad_scores,
    tags_of_spans,
)
from kemm.metrics.directed import SEMEVAL
from tests.parity.cases import Case

Compared = Iterator[tuple[str, Any, Any]]
"""Name, kemm's value, expected value."""


def numbered(case: Case) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Name, inputs and expected values of each of a metric's cases."""
    for i, given in enumerate(case.info["cases"]):
        yield f"cases[{i}]", given, given["expected"]


def plain(metric: Any) -> dict[str, float]:
    return {name: float(value) for name, value in metric.compute().items()}


def triple(scores: dict[str, float], prefix: str = "") -> list[float]:
    return [scores[f"{prefix}{name}"] for name in ("precision", "recall", "f1")]


def entity_typing(case: Case) -> Compared:
    for name, given, expected in numbered(case):
        logits, gold = torch.tensor(given["logits"], dtype=torch.float64), torch.tensor(given["labels"])
        scores = {}
        for always in (False, True):
            metric = TypingF1(always=always)
            for rows in torch.arange(len(logits)).split(4):
                metric.update(logits[rows], gold[rows])
            scores[always] = plain(metric)
        for key, always in (("ernie_open_entity", False), ("ernie_figer", True)):
            own: dict[str, Any] = {
                "correct": round(scores[always]["accuracy"] * len(logits)),
                "accuracy": scores[always]["accuracy"],
                "predicted": [row.nonzero()[:, 0].tolist() for row in predict_types(logits, always)],
                "gold": [row.nonzero()[:, 0].tolist() for row in gold],
                "macro": triple(scores[always], "macro_"),
                "micro": triple(scores[always], "micro_"),
            }
            yield f"{name}.{key}", own, expected[key]
            if not always:
                yield f"{name}.kadapter_open_entity", own, expected["kadapter_open_entity"]
        plainly = scores[False]
        micro = triple(plainly, "micro_")
        yield f"{name}.knowbert_micro", micro, expected["knowbert_micro"]
        yield f"{name}.luke_micro", dict(zip(("precision", "recall", "f1"), micro, strict=True)), expected["luke_micro"]
        # CoLAKE rounds the accuracy.
        colake = dict(zip(("micro_p", "micro_r", "micro_f"), micro, strict=True)) | {"acc": round(plainly["accuracy"], 6)}
        yield f"{name}.colake_micro", colake, expected["colake_micro"]


def relation(case: Case) -> Compared:
    for name, given, expected in numbered(case):
        index = {label: i for i, label in enumerate(given["labels"])}
        predicted, gold = (torch.tensor([index[label] for label in given[key]], dtype=torch.long) for key in ("predicted", "gold"))
        official, zero = RelationF1(len(index)), RelationF1(len(index), empty_precision=0.0)
        for rows in torch.arange(len(gold)).split(11):
            official.update(predicted[rows], gold[rows])
            zero.update(predicted[rows], gold[rows])
        tacred, own = plain(official), plain(zero)
        for key in ("tacred_scorer", "ernie_score_py", "kadapter_micro_f1_tacred"):
            yield f"{name}.{key}", triple(tacred), expected[key]
        ernie = dict(zip(("micro_p", "micro_r", "micro_f1"), triple(own), strict=True)) | {"acc": own["accuracy"]}
        yield f"{name}.ernie_eval_result", ernie, expected["ernie_eval_result"]
        yield f"{name}.luke", own, expected["luke"]
        yield f"{name}.colake_micro", own | {"f_score": own["f1"]}, expected["colake_micro"]
        macro = dict(zip(("precision", "recall", "f_score"), triple(own, "macro_"), strict=True))
        yield f"{name}.colake_macro_sklearn", macro, expected["colake_macro_sklearn"]
        yield f"{name}.knowbert_microf1", triple(own), expected["knowbert_microf1"]
        occurring = {*given["predicted"], *given["gold"]} - {given["labels"][0]}
        yield f"{name}.luke_multiway", multiway(given["predicted"], given["gold"], occurring), expected["luke_multiway"]
        yield f"{name}.fewrel_accuracy", own["accuracy"], expected["fewrel_accuracy"]


def multiway(predicted: Sequence[str], gold: Sequence[str], relations: set[str]) -> dict[str, float]:
    scores = directed_scores(predicted, gold, sorted(relations))
    return {"macro_fscore": scores["macro_f1"], "micro_fscore": scores["micro_f1"]}


def semeval(case: Case) -> Compared:
    labels = case.info["semantics"]["labels"]
    for name, given, expected in numbered(case):
        predicted, gold = ([labels[i] for i in given[key]] for key in ("predicted", "gold"))
        everything = directed_scores(predicted, gold, [*SEMEVAL, "Other"], reversed_is_missed=False)
        yield f"{name}.kadapter", everything["macro_f1"], expected["kadapter_macro_f1_semeval"]
        occurring = {label.partition("(")[0] for label in (*predicted, *gold)} - {"Other"}
        yield f"{name}.luke", multiway(predicted, gold, occurring), expected["luke_multiway_ignoring_Other"]


def knowbert(case: Case) -> Compared:
    for name, given, expected in numbered(case):
        name = f"{name}.{given['kind']}"
        if given["kind"] == "F1Metric":
            metric = LinkingF1()
            for predicted, gold in zip(given["predicted"], given["gold"], strict=True):
                metric.update(*([[(tuple(mention), entity) for mention, entity in links]] for links in (predicted, gold)))
            yield name, list(plain(metric).values()), expected
        elif given["kind"] == "MeanReciprocalRank":
            marked = torch.tensor(given["mask"], dtype=torch.bool)
            places = ranks(torch.tensor(given["scores"], dtype=torch.float64), torch.tensor(given["labels"]), ties="pessimistic")
            # The original adds up in float32, with zeros for what is not marked.
            yield name, float((marked / places.float()).sum()) / max(int(marked.sum()), 1), expected
        elif given["kind"] == "RankingAndHits":
            yield name, hits(given), expected
        else:
            predicted, gold = (torch.tensor(given[key]) for key in ("predicted", "labels"))
            yield name, matthews_correlation(predicted, gold, given["n_classes"]), expected


def hits(given: dict[str, Any]) -> dict[str, float]:
    """The filtered ranking; the original's hits@k are hits@(k + 1)."""
    scores, target = torch.tensor(given["predicted"]), torch.tensor(given["entity2"])
    candidates = torch.ones_like(scores, dtype=torch.bool)
    for row, known in enumerate(given["all_entity2"]):
        candidates[row, known] = False
    found = ranking_scores(ranks(scores, target, candidates), [k + 1 for k in given["hits_to_collect"]])
    mean = {"mean_rank": found["mean_rank"], "mean_reciprocal_rank": found["mrr"]}
    return mean | {f"hits_{k}": found[f"hits@{k + 1}"] for k in given["hits_to_collect"]}


def lama(case: Case) -> Compared:
    for name, given, expected in numbered(case):
        at_mask = torch.tensor(given["log_probs"])[given["masked_indices"][0]]
        try:
            scores = cloze_scores(at_mask, given["label_index"], given["index_list"] or (), given["topk"], given["P_AT"])
        except ValueError as error:
            yield name, {"error": type(error).__name__}, expected
            continue
        own = {"MRR": scores.reciprocal_rank, "P_AT_X": float(scores.hit_at)}
        best = [[f"t{word}", word] for word in scores.best]
        result = own | {"topk": best, "P_AT_1": float(scores.hit), "PERPLEXITY": scores.log_likelihood}
        yield name, own | {"result": result}, expected


def luke_ner(case: Case) -> Compared:
    for name, given, expected in numbered(case):
        sentences = list(pairwise(given["sentence_boundaries"]))
        spans = [tuple(span) for span in given["spans"]]
        logits = torch.tensor(given["logits"], dtype=torch.float64)
        chosen = choose_spans(spans, logits, given["labels"])
        predicted = [[(first - a, end - a, label) for first, end, label in chosen if a <= first < b] for a, b in sentences]
        gold = [spans_of_tags(given["gold_iob1"][a:b]) for a, b in sentences]
        yield f"{name}.evaluate", span_f1(predicted, gold)._asdict(), expected["evaluate"]
        # The original's tags are IOB1, and keep a `B-` after a sentence that ends in an entity of the same type: the spans are compared.
        yield f"{name}.predicted", predicted, [spans_of_tags(tags) for tags in expected["predicted_iob1"]]
        length = max((end for _, end in spans), default=0)
        yield f"{name}.span_to_label_sequence", tags_of_spans(chosen, length), expected["span_to_label_sequence"]


def squad_record(case: Case) -> Compared:
    for name, given, expected in numbered(case):
        prediction, answers = given["prediction"], given["answers"]
        yield f"{name}.squad", squad_scores(prediction, answers), expected["squad"]
        yield f"{name}.normalized_prediction", bare_answer(prediction), expected["normalized_prediction"]
        if answers:
            scores = record_scores(prediction, answers)
            yield f"{name}.record", {"exact_match": 100 * scores["exact"], "f1": 100 * scores["f1"]}, expected["record"]


COMPARISONS = {
    "metric_entity_typing": entity_typing,
    "metric_knowbert": knowbert,
    "metric_lama_ranking": lama,
    "metric_luke_ner": luke_ner,
    "metric_relation": relation,
    "metric_semeval": semeval,
    "metric_squad_record": squad_record,
}
