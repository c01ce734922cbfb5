"""What the documents show is what runs: the README's example, its commands and cases; the parts and files of the pages in docs."""

import importlib.util
import re
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor

import kemm.encoders
import kemm.fusion
import kemm.objectives
import kemm.tasks
from kemm.batch import Batch, Stream
from kemm.borders import check_reach
from kemm.checkpoint import build, learner_from_config, network_from_config, read_config
from kemm.cli import COMMANDS, TOOLS, config_path
from kemm.data import Mixture, Source, train_tokenizer
from kemm.data.source import EVALUATION
from kemm.model import FusionModel
from kemm.tasks import Task
from tests.parity.cases import collect

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "data/atlas/README.md"]
README = (ROOT / "README.md").read_text(encoding="utf-8")
YOURS = "configs/yours.yaml"


class Block(NamedTuple):
    """A fenced block of a page: its language, its name, its text."""

    language: str
    name: str
    text: str


def blocks(page: str, language: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)[ ]?(\S*)\n(.*?)^```$", text, re.M | re.S)
    return [Block(*block) for block in found if block[0] == language]


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Classes beside the example's config are found, as the command line finds them."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "gated", raising=False)


def network() -> FusionModel:
    torch.manual_seed(0)
    return network_from_config(ROOT / "examples/gated.yaml")


def batch(length: int = 5, images: bool = True) -> Batch:
    random = torch.Generator().manual_seed(0)
    mask = torch.arange(length) < torch.tensor([5, 3])[:, None]
    ids = torch.randint(5, 6000, (2, 5), generator=random)
    ids = torch.nn.functional.pad(ids, (0, length - 5)) * mask
    given: Batch = {"id": torch.tensor([3, 4]), "text": {"ids": ids, "mask": mask}}
    if images:
        given["image"] = {"pixels": torch.rand(2, 3, 32, 32, generator=random)}
    return given


# ---- the README


def test_the_example_is_the_file() -> None:
    text = (ROOT / "examples/gated.py").read_text(encoding="utf-8")
    assert blocks("README.md", "python")[0].text == text
    assert len(text.splitlines()) <= 30
    shown = yaml.safe_load(blocks("README.md", "yaml")[0].text)["fusions"]
    assert shown == read_config(ROOT / "examples/gated.yaml")["network"]["fusions"][: len(shown)]


def test_the_gate_is_its_formula() -> None:
    gate: Any = network().fusions[0].double()
    assert type(gate).__name__ == "GatedVision"
    text = Stream(torch.randn(2, 5, 64).double(), torch.ones(2, 5, dtype=torch.bool))
    image = Stream(torch.randn(2, 6, 64).double(), torch.ones(2, 6, dtype=torch.bool))
    x = gate({"text": text, "image": image}, {}, network())["text"].x
    for b in range(2):
        mean = sum((image.x[b, place] for place in range(6)), torch.zeros(64).double()) / 6
        seen = gate.project.weight @ mean + gate.project.bias
        for t in range(5):
            own = text.x[b, t]
            opened = 1 / (1 + torch.exp(-(gate.gate.weight @ torch.cat([own, seen]) + gate.gate.bias)))
            assert torch.allclose(x[b, t], own + opened * seen, atol=1e-12)


def test_the_example_runs_from_its_config() -> None:
    model = network().eval()
    with torch.no_grad():
        told, padded, blind = (model(given)["text"].x for given in (batch(), batch(8), batch(images=False)))
    real = batch()["text"]["mask"]
    assert torch.allclose(told[real], padded[:, :5][real], atol=1e-5)
    assert not torch.allclose(told[real], blind[real], atol=1e-2)


def test_the_example_learns() -> None:
    model = network()
    states = model(batch())["text"].x
    (states * torch.randn_like(states)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.fusions[0].parameters())


def test_the_use_without_a_trainer_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {"batch": batch()}
    exec(compile(blocks("README.md", "python")[1].text, "README.md", "exec"), names)
    assert {"text.0", "text.1"} <= names["record"].keys()
    assert any(value.dim() == 4 for value in names["record"].values()), "no attention (B, H, L, M) was recorded"
    assert "text" in names["streams"]


def commands() -> Iterator[tuple[Path, list[str]]]:
    for page in PAGES:
        for line in re.findall(r"(?:^ *|`)python train\.py([^`#\n]*)", page.read_text(encoding="utf-8"), re.M):
            yield page, line.split()


def test_commands_name_what_is_there() -> None:
    found = list(commands())
    assert len([page for page, _ in found if page.name == "README.md"]) >= 6
    for page, words in found:
        if words and not words[0].startswith("-"):
            assert words[0] in {*COMMANDS, *TOOLS}, f"{page}: {words}"
        config = config_path(words)
        assert config is None or str(config) == YOURS or (ROOT / config).is_file(), f"{page}: {config}"


def test_made_commands_are_there() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert set(re.findall(r"make (train|test|setup|lint)\b", README)) <= set(targets)
    assert "make train" in README and "make test" in README


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


METRICS = {"retrieval_metrics", "zero_shot_classification"}
"""Cases of tensors that the tests of metrics read."""


def rows() -> list[list[str]]:
    """The table of systems: name, encoders, fusions, objectives, cases."""
    table = README.split("\n| system |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def test_the_table_names_classes_and_cases_that_are_there() -> None:
    public = {name for package in (kemm.encoders, kemm.fusion, kemm.objectives, kemm.tasks) for name in package.__all__}
    tested, others = collect()
    left = {case.path.stem for case in others} - METRICS
    passing = {path.stem for path in (ROOT / "tests/golden").rglob("*.json")} - left
    assert {case.path.stem for case in tested} <= passing
    assert len(rows()) >= 10
    shown = set()
    for system, *parts, cases in rows():
        for name in re.findall(r"`(\w+)`", " ".join(parts)):
            assert name in public, f"{system}: there is no {name}"
        for pattern in re.findall(r"`([\w*]+)`", cases):
            matched = {name for name in passing if fnmatch(name, pattern)}
            assert matched, f"{system}: no case {pattern}"
            shown |= matched
    assert passing - shown == set(), "the README's table leaves cases out"


# ---- extending


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The page's parts as mine.py in a folder of their own, which is where the test runs."""
    path = tmp_path / "mine.py"
    path.write_text("\n\n".join(block.text for block in blocks("docs/extending.md", "python")), encoding="utf-8")
    spec = importlib.util.spec_from_file_location("mine", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mine", module)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    texts = ["a fine book", "a dull book", "fine and good, all of it", "bad"]
    train_tokenizer(texts, tmp_path / "tokenizer.json", 100)
    lines = [f'{{"text": "{text}", "good": {good}}}\n' for text, good in zip(texts, (1, 0, 1, 0), strict=True)]
    (tmp_path / "reviews.jsonl").write_text("".join(lines), encoding="utf-8")
    return tmp_path


def extended() -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(blocks("docs/extending.md", "yaml")[0].text)
    return config


def test_parts_of_ones_own_learn_and_answer(mine: Path) -> None:
    learner = learner_from_config(extended())
    source: Source = build(Mixture, extended()["data"]["init_args"]).sources["reviews"]
    check_reach(learner, "reviews", source.reaches)
    given = source.batch([0, 1, 2, 3], 0)
    optimizer = torch.optim.Adam(learner.parameters(), 0.05)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss, result = learner(given)
        loss.backward()
        optimizer.step()
        losses.append(float(result["verdict"]["loss"][0].detach()))
    assert set(result) == {"verdict", "count"}
    assert all(parameter.grad is not None for parameter in learner.parameters())
    assert losses[-1] < 0.2 * losses[0]
    task = learner.objectives["verdict"]
    assert isinstance(task, Task)
    scores = task.evaluate(task.predict(learner.network(given), given, learner.network))
    assert getattr(scores["accuracy"], "estimate", None) == 100


def test_padding_does_not_change_the_parts(mine: Path) -> None:
    learner = learner_from_config(extended()).eval()
    source: Source = build(Mixture, extended()["data"]["init_args"]).sources["reviews"]
    given = source.batch([0, 2], EVALUATION)
    longer: dict[str, Tensor] = {name: torch.nn.functional.pad(value, (0, 3)) for name, value in given["text"].items()}
    with torch.no_grad():
        one, two = learner(given)[0], learner({**given, "text": longer})[0]
    assert torch.allclose(one, two, atol=1e-6)


def test_a_bad_review_is_named_or_counted(mine: Path) -> None:
    with (mine / "reviews.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"text": " ", "good": 1}\n')
    with pytest.raises(ValueError, match=r"reviews\.jsonl:5"):
        build(Mixture, extended()["data"]["init_args"])
    arguments = {"path": "reviews.jsonl", "tokenizer": "tokenizer.json", "on_bad": "skip"}
    assert build(sys.modules["mine"].Reviews, arguments).skipped == {"empty": 1}


# ---- data


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The page's files, a picture and a tokenizer."""
    for block in [*blocks("docs/data.md", "json"), *blocks("docs/data.md", "text")]:
        path = tmp_path / block.name
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (48, 32), "red").save(tmp_path / "pictures" / "42.png")
    train_tokenizer(["which city is the capital of germany? berlin grew on the river spree."], tmp_path / "tokenizer.json", 100)
    monkeypatch.chdir(tmp_path)
    return tmp_path


ENTRIES = {
    "questions": {"text", "answer", "annotation", "image", "candidate"},
    "captions": {"text", "image", "group"},
    "texts": {"text", "candidate", "mention", "entity", "passage"},
    "typing": {"text", "places", "entity", "types"},
    "relations": {"text", "places", "entity", "label"},
    "triples": {"triple"},
}


@pytest.mark.parametrize("name", ENTRIES)
def test_the_formats_are_read(name: str, files: Path) -> None:
    spec = {block.name: yaml.safe_load(block.text) for block in blocks("docs/data.md", "yaml") if block.name}[name]
    source: Source = build(Mixture, {"sources": {"it": spec}}).sources["it"]
    read = source.batch(range(len(source)), EVALUATION)
    assert read.keys() == ENTRIES[name] | {"id"}
    if name == "questions":
        assert read["answer"]["scores"].tolist() == [[1.0, 0.0, 0.0]]
        assert read["candidate"]["gold"].tolist() == [[1]]
        assert read["image"]["pixels"].shape == (1, 3, 32, 32)
    if name == "texts":
        assert read["candidate"]["ids"][0].tolist() == [[2, 3]]


def test_every_source_has_its_entries_in_the_table() -> None:
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    for name, entries in ENTRIES.items():
        spec = {block.name: yaml.safe_load(block.text) for block in blocks("docs/data.md", "yaml") if block.name}[name]
        row = next(line for line in text.splitlines() if line.startswith(f"| `{spec['class_path'].rpartition('.')[2]}`"))
        assert set(re.findall(r"`(\w+)`", row.split("|")[3])) == entries


def test_configs_of_the_pages_parse() -> None:
    for page in PAGES:
        for block in blocks(str(page.relative_to(ROOT)), "yaml"):
            assert isinstance(yaml.safe_load(block.text), dict), f"{page}: {block.text[:60]}"
