"""The report: well-formed, whole in one file, safe against what data may hold; which samples are shown; curves."""

import math
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from kemm.batch import Stream
from kemm.files import write_json
from kemm.metrics import Interval
from kemm.report import Album, Curve, Example, Run, page, pictures, read_curves, scores_as_json, scores_table, take
from kemm.report.curves import INK, draw, smooth
from kemm.report.examples import png
from kemm.report.mistakes import confusions
from kemm.tasks import Found, Lookup, looked_up
from tests import small_world

HOSTILE = '<script>alert("x")</script>&\' " \ud800 \x00'
VOID = {"meta", "img", "br", "path", "use", "link", "rect", "line", "circle"}


class Strict(HTMLParser):
    """Checks that elements close in order, and keeps what would load something or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "action", "data") or "url(" in (value or ""):
                self.loads.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def row(number: int, kind: str = "one_hop", accuracy: float = 1.0, likelihood: float = 0.5, **more: Any) -> dict[str, Any]:
    said = {"question": f"What is {number}?", "answer": f"a{number}", "truth": [f"t{number}", "other"], "way": "found"}
    return {"id": number, "kind": kind, "accuracy": accuracy, "likelihood": likelihood, **said, **more}


def run(text: str = "plain") -> Run:
    album = Album(3, 2)
    picture = png(torch.zeros(3, 4, 4, dtype=torch.uint8))
    facts = Lookup("found", "facts", (Found(f"{text} — r → {text}", 0.75, text), Found("none of the facts", 0.25)))
    wrong = row(1, kind=text, accuracy=0.0, question=text, answer=text, truth=[text], way=text, others=[text])
    album.add([Example(row(0), picture, (facts,)), Example(wrong, b"", (facts,))])
    return Run(
        name=text,
        facts={text: text, "seed": "3"},
        scores={"val": {"vqa": {"accuracy": Interval(92.25, 91.0, 93.5), f"accuracy/{text}": 12.0}}},
        rows={"val": {"vqa": [row(0), wrong]}},
        albums={("val", "vqa"): album},
        curves=[Curve("loss", text, (1, 2, 3), (3.0, 2.0, 1.0)), Curve("vqa accuracy", "val", (1, 2), (5.0, 50.0))],
        config=f"x: {text}\n",
    )


def parsed(text: str) -> Strict:
    strict = Strict()
    strict.feed(text)
    strict.close()
    assert strict.open == []
    return strict


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    strict = parsed(page(run()))
    assert strict.loads
    assert all(re.match(r"data:image/png;base64,|#|url\(#", value) for value in strict.loads)
    assert "http" not in page(run())
    assert len(strict.ids) == len(set(strict.ids))
    assert strict.tags["svg"] == 2
    assert strict.tags["script"] == strict.tags["link"] == strict.tags["iframe"] == 0
    assert not re.search(r"url\((?!#)|@import", page(run()))


def test_the_page_says_it_all() -> None:
    text = parsed(page(run())).text
    for expected in ("92.2 [91.0, 93.5]", "12.0", "What is 0?", "a0 ✓", "plain ✗ true: plain", "50 % sure", "75 %", "plain — r → plain"):
        assert expected in text, expected
    assert "Scores" in text and "Training" in text and "Examples" in text and "Mistakes" in text and "x: plain" in text


def test_hostile_texts_are_shown_as_they_are() -> None:
    text = page(run(HOSTILE))
    strict = parsed(text)
    assert strict.tags["script"] == 0
    assert '<script>alert("x")</script>&' in strict.text
    assert text.encode("utf-8")


def test_an_empty_run_has_a_page() -> None:
    strict = parsed(page(Run("nothing")))
    assert "nothing" in strict.text
    assert strict.tags["section"] == 0


def test_links_lead_somewhere() -> None:
    strict = parsed(page(run()))
    anchors = [value[1:] for value in strict.loads if value.startswith("#")]
    assert {"scores", "training", "examples", "mistakes", "config"} <= set(anchors) <= set(strict.ids)


def test_the_album_keeps_some_of_each_kind_and_the_surest_mistakes() -> None:
    album = Album(first=6, worst=2)
    rows = [row(i, kind="a", accuracy=0.0, likelihood=i / 20) for i in range(10)] + [row(10 + i, kind="b") for i in range(10)]
    for start in range(0, 20, 5):
        part = rows[start : start + 5]
        album.add([Example(part[place]) for place in album.choose(part)])
    assert [example.row["id"] for example in album.examples] == [0, 1, 2, 3, 10, 11]
    assert [example.row["id"] for example in album.mistakes] == [9, 8]


def test_the_album_is_the_same_over_several_ranks() -> None:
    rows = [row(i, kind="ab"[i % 2], accuracy=float(i % 3 == 0), likelihood=(i * 7 % 20) / 20) for i in range(20)]
    whole, parts = Album(5, 3), [Album(5, 3), Album(5, 3)]
    whole.add([Example(rows[place]) for place in whole.choose(rows)])
    for rank, part in enumerate(parts):
        mine = rows[rank::2]
        part.add([Example(mine[place]) for place in part.choose(mine)])
    merged = Album(5, 3)
    merged.merge(parts)
    assert [e.row["id"] for e in merged.examples] == [e.row["id"] for e in whole.examples]
    assert [e.row["id"] for e in merged.mistakes] == [e.row["id"] for e in whole.mistakes]


def test_rows_that_cannot_be_shown_are_passed_over() -> None:
    assert Album(5, 5).choose([{"id": 1, "entity": 3}]) == []
    assert Album(5, 5).choose([]) == []


def test_taking_samples_out_of_a_batch() -> None:
    stream = Stream(torch.arange(12).view(4, 3, 1), torch.ones(4, 3, dtype=torch.bool), None, 2)
    batch = {
        "id": torch.arange(4),
        "text": {"ids": torch.arange(8).view(4, 2)},
        "annotation": list("abcd"),
        "step": torch.zeros(1),
        "s": stream,
    }
    part = take(batch, [2, 0], 4)
    assert part["id"].tolist() == [2, 0]
    assert part["text"]["ids"].tolist() == [[4, 5], [0, 1]]
    assert part["annotation"] == ["c", "a"]
    assert part["step"].tolist() == [0]
    assert (part["s"].x[0, :, 0].tolist(), part["s"].positions, part["s"].height) == ([6, 7, 8], None, 2)


def test_pictures_are_small_png_files(tmp_path: Path) -> None:
    red = torch.zeros(3, 300, 200, dtype=torch.uint8)
    red[0] = 255
    floats = red.float() / 255 * 4.4 - 2.1  # normalised by some mean and deviation
    for pixels in (red, floats):
        (tmp_path / "x.png").write_bytes(pictures({"id": torch.zeros(1), "image": {"pixels": pixels[None]}})[0])
        with Image.open(tmp_path / "x.png") as opened:
            assert opened.size == (85, 128)
            assert opened.getpixel((40, 60)) == (255, 0, 0)
    assert pictures({"text": {"ids": torch.zeros(2, 2)}}) == []


def test_confusions_are_counted_per_kind() -> None:
    rows = [row(i, kind="hard", accuracy=0.0, answer="Chad", truth=["Romania"]) for i in range(3)]
    rows += [row(9, kind="hard", way="generated"), row(5, kind="easy"), row(6, kind="easy", accuracy=0.6)]
    text = parsed(confusions(rows)).text
    assert text.index("hard") < text.index("easy")
    assert "Romania → Chad (3)" in text
    assert "25.0" in text and "80.0" in text  # accuracies of both kinds
    assert "0.0 of 3" in text and "100.0 of 1" in text  # of each way
    assert text.count("→") == 2  # of the heading, and one confusion


def write_csv(folder: Path, version: int, header: str, *lines: str) -> None:
    path = folder / f"version_{version}" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join([header, *lines]) + "\n")


def test_curves_of_a_resumed_run_are_joined(tmp_path: Path) -> None:
    header = "epoch,step,train/loss,train/vqa/loss,train/vqa/accuracy,val/vqa/accuracy,val/vqa/accuracy/kind/x"
    write_csv(tmp_path, 2, header, "0,20,1.0,1.0,0.5,,", "0,30,0.5,0.5,0.6,,", "0,30,,,,70.0,60.0")
    write_csv(tmp_path, 1, "epoch,step,val/vqa/accuracy", "0,0,99.0")  # a test
    write_csv(tmp_path, 0, header, "0,10,3.0,3.0,0.1,,", "0,19,,,,20.0,10.0", "0,20,9.0,9.0,0.1,,")
    curves = read_curves(tmp_path)
    assert curves == [
        Curve("loss", "vqa", (10, 20, 30), (3.0, 1.0, 0.5)),
        Curve("vqa accuracy", "val", (19, 30), (20.0, 70.0)),
    ]


def test_a_second_run_from_the_start_replaces_the_first(tmp_path: Path) -> None:
    for version, value in enumerate(("1.0", "2.0")):
        write_csv(tmp_path, version, "epoch,step,train/loss,train/x/loss", *(f"0,{step},{value},{value}" for step in (0, 5)[: 2 - version]))
    assert read_curves(tmp_path) == [Curve("loss", "x", (0,), (2.0,))]
    assert read_curves(tmp_path / "none") == []


def test_curves_are_drawn_in_the_colour_of_the_text() -> None:
    noisy = Curve("loss", "a", tuple(range(100)), tuple(100 * 0.9**i for i in range(100)))
    svg = draw([noisy, Curve("loss", "<b>", (1, 50), (2.0, math.nan))], "loss")
    strict = parsed(svg)
    assert strict.tags["svg"] == 1
    assert "currentColor" in svg and INK not in svg
    assert "<b>" in strict.text
    assert draw([noisy], "loss") == draw([noisy], "loss")


def test_smoothing_takes_the_mean_of_the_last_values() -> None:
    values = [float(i * i) for i in range(20)]
    for place, value in enumerate(smooth(values)):
        part = values[max(0, place - 8) : place + 1]
        assert value == pytest.approx(sum(part) / len(part))


def test_scores_as_text_and_json() -> None:
    scores = {"a": {"vqa": {"accuracy": Interval(50.0, 40.0, 60.0), "accuracy/kind/x": 1.0}}, "b": {"links": {"mrr": 0.25}}}
    assert scores_as_json(scores)["a"]["vqa"]["accuracy"] == {"estimate": 50.0, "low": 40.0, "high": 60.0}
    assert scores_as_json(scores)["b"] == {"links": {"mrr": {"estimate": 0.25}}}
    assert scores_table(scores).splitlines() == ["                 a      b", "vqa accuracy  50.0", "links mrr           0.250"]


def test_numbers_that_are_none_become_null(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"a": [math.nan, 1.5, (math.inf,)], "b": HOSTILE})
    assert (tmp_path / "x.json").read_text().startswith('{\n "a": [\n  null,\n  1.5,\n  [\n   null')


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    small_world.write(folder)
    return folder


def test_what_was_looked_up_is_what_the_streams_say(world: Path) -> None:
    module = small_world.module(world).eval()
    network, task = module.learner.network, module.learner.objectives["vqa"]
    batch = small_world.mixture(world).sources["train"].batch(range(8), 0)
    with torch.no_grad():
        streams = network(batch)
    told = task.explain(streams, batch, network)
    graph = task.answers.graph
    names = {row: entity.name for row, entity in enumerate(graph.entities, 1)}
    relations = [relation.name for relation in graph.with_inverses().relations]
    facts = next(fusion for fusion in network.fusions if getattr(fusion, "name", "") == "found").facts
    for sample, lookups in enumerate(told):
        by = {(lookup.step, lookup.kind): lookup.found for lookup in lookups}
        assert list(by) == [
            ("candidate 1", "mention"),
            ("shown", "entities"),
            ("mentioned", "entities"),
            ("found", "relations"),
            ("found", "facts"),
        ]
        shown = streams["shown"]
        best = int(shown.x[sample, :, 0].argmax())
        assert by["shown", "entities"][0].text == names[int(shown.positions[sample, best])]
        assert by["shown", "entities"][0].note == "country"
        linked = streams["candidate_linking"].x[sample, 0, :, 0].softmax(-1)
        assert {(found.text, round(found.weight, 4)) for found in by["candidate 1", "mention"]} == {
            (names[int(row)], round(float(weight), 4)) for row, weight in zip(batch["candidate"]["ids"][sample, 0], linked, strict=True)
        }
        asked = streams["found_relations"].x[sample, :, 0]
        assert by["found", "relations"][0].text == relations[int(asked.argmax())]
        weights, rows = streams["found_facts"].x[sample, :, 0], streams["found_facts"].positions[sample]
        expected = {"none of the facts": 1 - float(weights.sum())}
        for weight, (head, relation, tail) in zip(weights.tolist(), facts[rows].tolist(), strict=True):
            expected[f"{names[head]} — {relations[relation - 1]} → {names[tail]}"] = weight
        heaviest = sorted(expected, key=lambda text: -expected[text])[:4]
        assert [found.text for found in by["found", "facts"]] == [text for text in heaviest if expected[text] >= 0.01]
        assert all(found.weight == pytest.approx(expected[found.text], abs=1e-6) for found in by["found", "facts"])


def test_padding_mentions_and_rows_are_not_told(world: Path) -> None:
    graph = small_world.module(world).learner.objectives["vqa"].answers.graph
    scores = torch.full((1, 2, 3, 1), -1e4)
    scores[0, 0, :2, 0] = torch.tensor([1.0, 2.0])
    mask = torch.tensor([[[True, True, False], [False, False, False]]])
    batch = {"candidate": {"ids": torch.tensor([[[1, 2, 0], [0, 0, 0]]])}}
    entities = Stream(torch.tensor([[[0.5], [0.3], [0.2]]]), torch.tensor([[True, True, False]]), torch.tensor([[3, 3, 4]]))
    streams = {"candidate_linking": Stream(scores, mask), "set": entities}
    (told,) = looked_up(streams, batch, small_world.module(world).learner.network, graph)
    assert [lookup.step for lookup in told] == ["candidate 1", "set"]
    assert [found.weight for found in told[0].found] == pytest.approx([0.7311, 0.2689], abs=1e-4)
    assert told[1].found == (Found(graph.entities[2].name, pytest.approx(0.8), "country"),)
