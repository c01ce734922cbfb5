"""The torchmetrics classes: several ranks with unequal shares give one process's numbers; VQA accuracy is exact in any order."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing

import kemm.metrics
from kemm.metrics import meters, vqa_report

GOLDEN = Path(__file__).parents[1] / "golden" / "multimodal"


def vqa_case() -> tuple[list[dict[str, Any]], list[str]]:
    case = json.loads((GOLDEN / "vqa_accuracy.json").read_text(encoding="utf-8"))
    answers = {row["question_id"]: row["answer"] for row in case["predictions"]}
    return case["annotations"], [answers[annotation["question_id"]] for annotation in case["annotations"]]


def test_vqa_accuracy_is_the_report_s_in_any_order() -> None:
    annotations, predictions = vqa_case()
    types = sorted({annotation["question_type"] for annotation in annotations})
    given = {annotation["question_id"]: answer for annotation, answer in zip(annotations, predictions, strict=True)}
    report = vqa_report(annotations, given)
    seen = set()
    for seed in range(3):
        metric = meters.VQAAccuracy(question_types=types)
        for rows in torch.randperm(len(annotations), generator=torch.Generator().manual_seed(seed)).split(7):
            metric.update([predictions[i] for i in rows], [annotations[i] for i in rows])
        scores = {name: float(value) for name, value in metric.compute().items()}
        seen.add(tuple(scores.values()))
        assert round(scores.pop("accuracy"), 2) == report.overall
        rounded = {f"question_type/{name}": value for name, value in report.question_type.items()}
        rounded |= {f"answer_type/{name}": value for name, value in report.answer_type.items()}
        assert {name: round(value, 2) for name, value in scores.items()} == rounded
    assert len(seen) == 1


def test_vqa_types_that_did_not_occur_have_no_accuracy_and_unknown_ones_are_errors() -> None:
    answers = [{"answer": "cat", "answer_id": i} for i in range(10)]
    metric = meters.VQAAccuracy()
    metric.update(["cat"], [{"answers": answers, "answer_type": "other"}])
    assert {name: float(value) for name, value in metric.compute().items()} == {"accuracy": 100.0, "answer_type/other": 100.0}
    with pytest.raises(ValueError, match="answer_type 'colour' is not among those reported"):
        metric.update(["cat"], [{"answers": answers, "answer_type": "colour"}])


def build() -> dict[str, meters.Metric]:
    return {
        "vqa": meters.VQAAccuracy(),
        "typing": meters.TypingF1(),
        "relation": meters.RelationF1(4),
        "linking": meters.LinkingF1(),
        "mentions": meters.LinkingAccuracy(),
        "ranking": meters.RankingMetrics(),
        "recall": meters.Recall(),
        "zero_shot": meters.ZeroShotAccuracy(5, top=[1, 2]),
    }


def update(metrics: dict[str, meters.Metric], rows: range) -> None:
    annotations, predictions = vqa_case()
    draw = torch.Generator().manual_seed(0)
    logits, gold = torch.randn(80, 5, generator=draw), torch.rand(80, 5, generator=draw) < 0.4
    gold[:, 0] |= ~gold.any(1)
    label, guess = torch.randint(4, (2, 80), generator=draw)
    candidates = torch.randint(1, 4, (80, 2), generator=draw)
    for i in rows:
        metrics["vqa"].update([predictions[i]], [annotations[i]])
        metrics["typing"].update(logits[i : i + 1], gold[i : i + 1])
        metrics["relation"].update(guess[i : i + 1], label[i : i + 1])
        metrics["linking"].update([[((0, 1), int(guess[i]))]], [[((0, 1), int(label[i]))]])
        metrics["mentions"].update(guess[i : i + 1], label[i : i + 1], candidates[i : i + 1])
        metrics["ranking"].update(1 + guess[i : i + 1])
        metrics["recall"].update(logits[i : i + 1], gold[i : i + 1])
        metrics["zero_shot"].update(logits[i : i + 1], label[i : i + 1])


def scores(metrics: dict[str, meters.Metric]) -> dict[str, dict[str, float]]:
    return {name: {key: float(value) for key, value in metric.compute().items()} for name, metric in metrics.items()}


def one_rank(rank: int, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    metrics = build()
    update(metrics, range(57) if rank == 0 else range(57, 80))
    (Path(folder) / f"{rank}.json").write_text(json.dumps(scores(metrics)))
    dist.destroy_process_group()


def test_two_ranks_with_unequal_shares_equal_one_process(tmp_path: Path) -> None:
    metrics = build()
    update(metrics, range(80))
    expected = scores(metrics)
    assert expected.keys() == build().keys()
    multiprocessing.spawn(one_rank, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        for name, values in expected.items():
            assert found[name] == pytest.approx(values, rel=1e-15), name


def test_every_metric_class_is_exported_and_tested() -> None:
    classes = {name for name, value in vars(meters).items() if isinstance(value, type) and issubclass(value, meters._Meter)} - {"_Meter"}
    assert classes == set(kemm.metrics._METERS) == {type(metric).__name__ for metric in build().values()}
    assert all(getattr(kemm.metrics, name) is getattr(meters, name) for name in classes)
    with pytest.raises(AttributeError, match="'Precision'"):
        kemm.metrics.Precision  # noqa: B018


def test_plain_functions_come_without_torchmetrics() -> None:
    code = "import sys, kemm.metrics, kemm.metrics.vqa; sys.exit('torchmetrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
