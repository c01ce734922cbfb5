"""What must answer at once imports nothing heavy; tools and commands are found by name."""

import subprocess
import sys
from pathlib import Path

import pytest

import kemm
from kemm import cli

ROOT = Path(__file__).parents[2]
LIGHT = """
import sys
from kemm.cli import main
for arguments in {calls}:
    print("status", main(arguments))
print("heavy", sorted({{name.partition(".")[0] for name in sys.modules}} & {{
    "torch", "numpy", "pytorch_lightning", "jsonargparse", "timm", "faiss", "networkx", "PIL", "asyncio", "ssl"}}))
"""


def test_help_version_and_syntax_errors_import_nothing_heavy(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("model: [1, 2\n")
    calls = [["--help"], [], ["--version"], ["--config", str(wrong)], ["test", "--config", str(wrong)], ["fti"]]
    code = LIGHT.format(calls=calls)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert [line for line in done.stdout.splitlines() if line.startswith("status")] == [f"status {n}" for n in (0, 0, 0, 2, 2, 2)]
    assert done.stdout.splitlines()[-1] == "heavy []"
    assert f"kemm {kemm.__version__}" in done.stdout
    assert done.stderr.count(f"error: {wrong}:2:1:") == 2


def test_help_names_every_command_and_tool() -> None:
    assert all(f"\n  {name} " in cli.help_text() for name in [*cli.COMMANDS, *cli.TOOLS])


@pytest.mark.parametrize("name", cli.TOOLS)
def test_tools_exist(name: str) -> None:
    assert callable(cli.load(cli.TOOLS[name][0]))


def test_a_tool_gets_the_rest_of_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.TOOLS, "count", ("builtins:len", "counts"))
    assert cli.main(["count", "a", "b"]) == 2
