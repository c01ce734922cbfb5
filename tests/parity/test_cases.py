"""Every golden case that kemm has an adapter for, whole: outputs, losses, gradients; features, batches, scores."""

import pytest

from tests.parity.cases import Case, adapters, check, collect, comparisons
from tests.parity.values import differences

CASES = collect()[0]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case) -> None:
    if case.has_tensors:
        wrong = check(case, adapters()[case.kind](case))
    else:
        compared = list(comparisons()[case.kind](case))
        assert compared, f"{case.name}: nothing was compared"
        wrong = [line for name, own, expected in compared for line in differences(name, own, expected, case.tolerance)]
    assert not wrong, "\n".join([f"{len(wrong)} of {case.name} differ:", *wrong])


def test_cases_are_found() -> None:
    assert CASES


def test_differences_are_found() -> None:
    assert not differences("x", {"a": [1, 2.0, "b"], "more": 1}, {"a": [1, 2.0, "b"]}, 0.0)
    assert not differences("x", [0.0, {"error": "ValueError"}], {"error": "ZeroDivisionError"}, 0.0)
    wrong = [
        (1, 2),
        (1.0, 1.1),
        (True, 1.5),
        ("a", "b"),
        ([1], [1, 2]),
        ({}, {"a": 1}),
        ([{"a": "x"}], [{"a": "y"}]),
        (float("nan"), 1.0),
        ([0.0, float("nan")], {"error": "ZeroDivisionError"}),
    ]
    for own, expected in wrong:
        assert len(differences("x", own, expected, 1e-9)) == 1
