"""Classification over classes that do not occur, average precision against loops (the published numbers: tests/parity)."""

import torch

from kemm.metrics import average_precisions, classification_scores


def test_accuracy_counts_places() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(40, 9, generator=draw), torch.randint(0, 9, (40,), generator=draw)
    place = [1 + sum(bool(other > row[label]) for other in row) for row, label in zip(logits, labels, strict=True)]
    scores = classification_scores(logits, labels)
    assert scores["acc@1"] == sum(p == 1 for p in place) / 40
    assert scores["acc@5"] == sum(p <= 5 for p in place) / 40


def test_average_precision_equals_loops() -> None:
    draw = torch.Generator().manual_seed(1)
    scores, labels = torch.randn(12, 3, generator=draw), torch.rand(12, 3, generator=draw) < 0.4
    labels[:, 2] = False
    expected = []
    for column, shown in zip(scores.T.tolist(), labels.T.tolist(), strict=True):
        order = sorted(range(12), key=lambda i: -column[i])
        found = [sum(shown[j] for j in order[:k]) / k for k in range(1, 13) if shown[order[k - 1]]]
        expected.append(sum(found) / len(found) if found else 0.0)
    torch.testing.assert_close(average_precisions(scores, labels), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=0)


def test_classes_that_do_not_occur_have_no_recall() -> None:
    logits = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert classification_scores(logits, torch.tensor([0, 1, 1]), top=[2])["mean_class_recall"] == 0.75
