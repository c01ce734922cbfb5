"""The F1 of relations with a direction (the systems' own scorers: tests/parity)."""

import pytest

from kemm.metrics import directed_scores
from kemm.metrics.directed import SEMEVAL

GOLD = ["Cause-Effect(e1,e2)", "Cause-Effect(e1,e2)", "Message-Topic(e2,e1)", "Other", "Other"]
PREDICTED = ["Cause-Effect(e1,e2)", "Cause-Effect(e2,e1)", "Other", "Message-Topic(e1,e2)", "Other"]


def test_official_scores() -> None:
    """Cause-Effect: one of two right in precision and in recall; Message-Topic: none; seven relations that do not occur."""
    scores = directed_scores(PREDICTED, GOLD)
    assert scores["macro_f1"] == pytest.approx(0.5 / 9)
    assert scores["micro_f1"] == pytest.approx(2 * 1 / (3 + 3))


def test_variants() -> None:
    lenient = directed_scores(PREDICTED, GOLD, ["Cause-Effect"], reversed_is_missed=False)
    assert lenient["macro_f1"] == pytest.approx(2 * 1 / (2 + 1))
    assert directed_scores(PREDICTED, GOLD, [*SEMEVAL, "Other"])["macro_f1"] == pytest.approx((0.5 + 0.5) / 10)
    assert directed_scores([], []) == {"macro_f1": 0.0, "micro_f1": 0.0}
    with pytest.raises(ValueError, match="zip"):
        directed_scores(PREDICTED, [])
