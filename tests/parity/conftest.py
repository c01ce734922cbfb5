"""Counts the golden cases after a run."""

from typing import Any

from tests.parity.cases import FOLDER, collect


def pytest_terminal_summary(terminalreporter: Any) -> None:
    tested, others = collect()
    kinds = sorted({case.kind for case in others})
    terminalreporter.write_line(f"golden cases in {FOLDER}: {len(tested)} compared, {len(others)} of kinds without an adapter {kinds}")
