"""The graph of the Atlas is sound, made from its tables, and differs from the outside database only where the README says why."""

import importlib.util
import json
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
ATLAS = ROOT / "data" / "atlas"
OUTSIDE = ROOT.parent / "shared" / "data" / "countries" / "countries.json"
FILES = ("entities.jsonl", "relations.jsonl", "triples.tsv")


def load(name: str) -> ModuleType:
    """A program of data/atlas as a module."""
    spec = importlib.util.spec_from_file_location(f"atlas_{name}", ATLAS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The three files, to be damaged."""
    for name in FILES:
        shutil.copy(ATLAS / name, tmp_path / name)
    return tmp_path


@pytest.fixture(scope="module")
def by_alias() -> dict[str, set[str]]:
    """Ids by alias."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in (ATLAS / "entities.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for alias in row["aliases"]:
            found[alias].add(row["id"])
    return found


def test_graph_is_sound() -> None:
    assert load("check_graph").check(ATLAS) == []


def test_files_are_made_from_the_tables(tmp_path: Path) -> None:
    shutil.copytree(ATLAS / "graph", tmp_path / "graph")
    load("prepare_graph").main(tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (ATLAS / name).read_bytes(), f"{name} is stale: run data/atlas/prepare_graph.py"
    assert not list(tmp_path.glob("*.part"))


def test_table_with_a_short_row_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ATLAS / "graph", tmp_path / "graph")
    with (tmp_path / "graph" / "currencies.tsv").open("a", encoding="utf-8") as file:
        file.write("currency:doubloon\tdoubloon\n")
    last = len((tmp_path / "graph" / "currencies.tsv").read_text(encoding="utf-8").splitlines())
    with pytest.raises(ValueError, match=rf"currencies\.tsv:{last}: 2 cells, but the header has 3"):
        load("prepare_graph").main(tmp_path)
    assert not list(tmp_path.glob("*.jsonl"))


def append(folder: Path, line: str) -> str:
    """Add a triple; returns where it stands."""
    path = folder / "triples.tsv"
    text = path.read_text(encoding="utf-8") + line + "\n"
    path.write_text(text, encoding="utf-8")
    return f"triples.tsv:{len(text.splitlines())}"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("country:france\tcapital\tcity:atlantis", "unknown tail 'city:atlantis' of capital"),
        ("country:atlantis\tcurrency\tcurrency:euro", "unknown head 'country:atlantis' of currency"),
        ("country:france\tspeaks\tlanguage:french", "unknown relation 'speaks'"),
        ("country:france\tcurrency\tlanguage:french", "the tail of currency is language:french, expected a currency"),
        ("country:france\tcurrency\tcurrency:euro", "the triple is already in line"),
        ("country:france\tcontinent\tcontinent:asia", "continent has one tail per head, but country:france has continent:asia here"),
        ("country:france\tborders\tcountry:japan", "borders is symmetric, but country:japan borders country:france is missing"),
        ("country:france\tborders\tcountry:france", "is both head and tail"),
        ("country:france\tcapital\tcity:rome", "city:rome is the capital of country:france, but is not located in it"),
        ("country:france\tcapital", "expected head, relation, tail separated by tabs, got 2 cells"),
    ],
)
def test_bad_triple_is_found_with_its_line(copy: Path, line: str, message: str) -> None:
    where = append(copy, line)
    problems = load("check_graph").check(copy)
    assert any(problem.startswith(where) and message in problem for problem in problems), problems


@pytest.mark.parametrize("relation", ["capital", "continent", "subregion", "official_language", "currency", "borders", "located_in"])
def test_missing_facts_are_found(copy: Path, relation: str) -> None:
    path = copy / "triples.tsv"
    lines = path.read_text(encoding="utf-8").splitlines()
    if relation in ("borders", "located_in"):  # one direction of a border; the country of a capital
        lines.remove("country:france\tborders\tcountry:spain" if relation == "borders" else "city:paris\tlocated_in\tcountry:france")
    else:
        lines = [line for line in lines if not line.startswith(f"country:france\t{relation}\t")]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    problems = load("check_graph").check(copy)
    assert any("country:france" in problem for problem in problems)


def rename(row: dict[str, object]) -> None:
    row["kind"] = "river"


def blank(row: dict[str, object]) -> None:
    row["aliases"] = ["Burundi", ""]


def none(row: dict[str, object]) -> None:
    row["aliases"] = []


def drop(row: dict[str, object]) -> None:
    del row["name"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (rename, "an id is kind:slug"),
        (blank, "an alias is empty"),
        (none, "empty or of a wrong type: aliases"),
        (drop, "expected the keys"),
    ],
)
def test_bad_entity_is_found_with_its_line(copy: Path, damage: Callable[[dict[str, object]], None], message: str) -> None:
    path = copy / "entities.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    at = next(i for i, line in enumerate(lines) if '"country:burundi"' in line)
    row = json.loads(lines[at])
    damage(row)
    lines[at] = json.dumps(row, ensure_ascii=False)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    problems = load("check_graph").check(copy)
    assert any(problem.startswith(f"entities.jsonl:{at + 1}") and message in problem for problem in problems), problems[:5]


@pytest.mark.parametrize(
    ("form", "ids"),
    [
        ("Georgia", "country:georgia state:georgia"),
        ("Niger", "country:niger river:niger"),
        ("Congo", "country:congo country:dr-congo river:congo"),
        ("Guinea", "country:guinea country:guinea-bissau country:equatorial-guinea region:guinea island:new-guinea"),
        ("Dominican", "country:dominica country:dominican-republic"),
        ("Dominica", "country:dominica island:dominica"),
        ("Korea", "country:north-korea country:south-korea region:korea"),
        ("Ireland", "country:ireland island:ireland state:northern-ireland"),
        ("Luxembourg", "country:luxembourg city:luxembourg"),
        ("Mexico", "country:mexico city:mexico-city state:new-mexico"),
        ("Panama", "country:panama city:panama-city"),
        ("Kuwait", "country:kuwait city:kuwait-city"),
        ("Singapore", "country:singapore city:singapore"),
        ("Guatemala", "country:guatemala city:guatemala-city"),
        ("Djibouti", "country:djibouti city:djibouti"),
        ("San Marino", "country:san-marino city:san-marino"),
        ("Monaco", "country:monaco city:monaco"),
        ("Samoa", "country:samoa island:samoa"),
        ("Victoria", "lake:victoria state:victoria city:victoria"),
        ("French", "country:france language:french"),
        ("dollar", "currency:us-dollar currency:namibian-dollar"),
        ("dollars", "currency:us-dollar currency:canadian-dollar"),
        ("franc", "currency:swiss-franc currency:rwandan-franc currency:west-african-cfa-franc"),
        ("crown", "currency:czech-koruna currency:danish-krone currency:norwegian-krone currency:swedish-krona currency:icelandic-krona"),
        ("peso", "currency:mexican-peso currency:philippine-peso currency:cuban-peso"),
        ("dinar", "currency:serbian-dinar currency:iraqi-dinar"),
        ("pound", "currency:pound-sterling currency:egyptian-pound"),
        ("rupee", "currency:indian-rupee currency:nepalese-rupee"),
        ("shilling", "currency:kenyan-shilling currency:ugandan-shilling"),
    ],
)
def test_alias_is_shared(by_alias: dict[str, set[str]], form: str, ids: str) -> None:
    assert set(ids.split()) <= by_alias[form]


def test_every_country_and_currency_has_a_second_form() -> None:
    for line in (ATLAS / "entities.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert row["kind"] not in ("country", "currency") or len(row["aliases"]) >= 2, row["id"]


def explained() -> list[tuple[str, ...]]:
    """Rows of the table of differences: field, country, only here, only there, why."""
    texts = [path.read_text(encoding="utf-8") for path in (ATLAS / "README.md", ATLAS / "README-graph.md") if path.exists()]
    table = "\n".join(texts).partition("| field | country | only here | only there | why |\n")[2].splitlines()[1:]
    found = []
    for line in table:
        if not line.startswith("|"):
            break
        found.append(tuple(cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")))
    return found


def test_each_difference_has_a_reason() -> None:
    rows = explained()
    assert rows
    assert all(len(row) == 5 and len(row[4]) > 10 for row in rows)


@pytest.mark.skipif(not OUTSIDE.exists(), reason="the outside database is not beside the repository")
def test_differences_from_the_outside_database_are_the_explained_ones() -> None:
    differences = {tuple(difference) for difference in load("compare").compare(ATLAS, OUTSIDE)}
    assert differences == {row[:4] for row in explained()}
