"""Every golden case that kemm has an adapter for, whole: outputs, losses, gradients."""

import pytest

from tests.parity.cases import Case, adapters, check, collect

CASES = collect()[0]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case: Case) -> None:
    wrong = check(case, adapters()[case.kind](case))
    assert not wrong, "\n".join([f"{len(wrong)} of {case.name} differ:", *wrong])


def test_cases_are_found() -> None:
    assert CASES
