"""The order of the package: imports go one way, and a network can be had without Lightning."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# A part may import its own modules and the parts on its level or below.
LEVELS = [
    {"batch", "nn", "config", "metrics", "files", "rows"},
    {"encoders", "fusion", "kg", "memory"},
    {"model"},
    {"objectives"},
    {"tasks"},
    {"learner"},
    {"checkpoint"},
    {"borders", "training", "callbacks", "report"},
    {"overrides", "config_classes", "config_errors", "run_folder", "preemption", "run", "controls", "cli"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
# Data and converters stand beside the order.
ALONE = {"data": {"batch", "kg", "config", "files", "rows"}, "convert": set()}
LIGHTNING = {"training", "callbacks", "report", "data", "run", "run_folder", "preemption", "controls"}

FILES = sorted((ROOT / "kemm").rglob("*.py"))


def part(path: Path) -> str:
    """Returns the part of the package that a file belongs to: `encoders` of kemm/encoders/text.py, `batch` of kemm/batch.py."""
    return path.relative_to(ROOT / "kemm").parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """Yields the full names of the modules that a file imports at run time, those inside functions too."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are written in full"
            yield from (f"{node.module}.{name.name}" for name in node.names)
        else:
            yield from imports(node)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    name = part(path)
    if name == "__init__":
        assert list(imports(ast.parse(path.read_text()))) == []
        return
    used = {full.split(".")[1] for full in imports(ast.parse(path.read_text())) if full.startswith("kemm.")} - {name}
    used -= {"__version__"}
    if name in ALONE:
        assert used <= ALONE[name]
    else:
        assert name in LEVEL, f"kemm/{name} has no place in the order"
        assert {other: LEVEL.get(other, -1) <= LEVEL[name] for other in used - set(ALONE)} == dict.fromkeys(used - set(ALONE), True)
        assert not used & {"data"} or LEVEL[name] >= LEVEL["training"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_lightning_is_imported_where_it_is_needed_only(path: Path) -> None:
    used = {full.split(".")[0] for full in imports(ast.parse(path.read_text()))}
    assert part(path) in LIGHTNING or not used & {"pytorch_lightning", "lightning", "lightning_fabric"}


def test_the_order_is_checked() -> None:
    tree = ast.parse("import kemm.model\nif TYPE_CHECKING:\n    import torch\ndef f():\n    from kemm.run import run")
    assert list(imports(tree)) == ["kemm.model", "kemm.run.run"]
