"""Image-text retrieval's rows and recalls against a loop."""

from typing import Any

import pytest
import torch
from torch import nn

from kemm.batch import Stream
from kemm.tasks import Retrieval


def rows(count: int, groups: list[int], seed: int = 0) -> list[dict[str, Any]]:
    torch.manual_seed(seed)
    one, two = torch.randn(count, 4), torch.randn(count, 4)
    mask = torch.ones(count, 1, dtype=torch.bool)
    streams = {"image_feature": Stream(one[:, None], mask), "text_feature": Stream(two[:, None], mask)}
    batch = {"id": torch.arange(count) + 5, "group": torch.tensor(groups)}
    return Retrieval().predict(streams, batch, nn.Module())  # type: ignore[arg-type]


def test_rows_carry_both_features() -> None:
    found = rows(3, [1, 1, 2])
    assert [row["id"] for row in found] == [5, 6, 7] and [row["group"] for row in found] == [1, 1, 2]
    assert found[0]["one"].shape == (4,) and found[0]["one"].dtype == torch.float32
    assert Retrieval().official(found) == [{"id": row["id"], "group": row["group"]} for row in found]


@pytest.mark.parametrize("groups", [list(range(20)), [i // 3 for i in range(20)]])
def test_recall_is_whether_a_match_is_among_the_first(groups: list[int]) -> None:
    found = rows(20, groups)
    scores: Any = Retrieval().evaluate(found)
    for direction, asks, answers in (("image_to_text", "one", "two"), ("text_to_image", "two", "one")):
        for k in (1, 5, 10):
            hits = 0
            for row in found:
                order = sorted(found, key=lambda other: -float(row[asks] @ other[answers]))
                hits += any(other["group"] == row["group"] for other in order[:k])
            assert scores[f"{direction}/R@{k}"] == pytest.approx(100 * hits / 20)
    assert set(scores) == {f"{d}/R@{k}" for d in ("image_to_text", "text_to_image") for k in (1, 5, 10)}
