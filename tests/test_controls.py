"""Controls: what each changes in a config, what is run, and the table of it all."""

import csv
import io
import json
import math
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from kemm.config import ConfigError
from kemm.controls import CONTROLS, NothingToChangeError, as_csv, as_html, as_markdown, changed, collect, main, read_tree, write_tree
from kemm.controls.idle import drop_sources, idle_sources
from kemm.controls.plot import draw, panels
from kemm.controls.runs import _checkpoint
from kemm.controls.table import Metric
from tests import small_world

ATLAS = """\
seed_everything: 7
trainer: {max_steps: 2}
model:
  network:
    encoders:
      text: {class_path: kemm.encoders.TextEncoder, init_args: {vocab_size: 100, dim: &d 16, depth: 2, heads: 2}}
      image: {class_path: kemm.encoders.ConvEncoder, init_args: {widths: [8, *d]}}
      entity: {class_path: kemm.encoders.EntityEncoder, init_args: {num_entities: 9, dim: &e 8, vectors: x.safetensors}}
      relation: {class_path: kemm.encoders.EntityEncoder, init_args: {num_entities: 5, dim: *e}}
    share: {candidate: entity}
    fusions:
      - at: {text: 1, candidate: 0}
        fusion:
          class_path: kemm.fusion.KnowledgeAttention
          init_args: {dim: *d, entity_dim: *e, entity: candidate}
      - {at: {image: 0}, fusion: {class_path: kemm.fusion.Feature, init_args: {stream: image, name: image_feature, dim: *d}}}
      - at: {image: 0}
        fusion:
          class_path: kemm.fusion.FeatureEntities
          init_args: {feature: image_feature, name: shown, dim: *d, entity_dim: *e, graph: g, kind: country}
      - {at: {text: 2}, fusion: {class_path: kemm.fusion.MentionEntities, init_args: {name: mentioned, dim: *d}}}
      - at: {text: 2, candidate: 0}
        fusion:
          class_path: kemm.fusion.FactAttention
          init_args: {name: first, subjects: [shown, mentioned], question: pooled, dim: *d, entity_dim: *e, graph: g}
      - at: {text: 2}
        fusion:
          class_path: kemm.fusion.FactAttention
          init_args: {name: second, subjects: [first], question: pooled, dim: *d, entity_dim: *e, graph: g}
      - {at: {text: 2}, fusion: {class_path: kemm.fusion.Intersection, init_args: {one: first, two: second, name: both}}}
      - {at: {text: top}, fusion: {class_path: kemm.fusion.Feature, init_args: {stream: text, name: pooled, dim: *d}}}
      - {at: {text: top}, fusion: {class_path: kemm.fusion.Feature, init_args: {stream: both, name: late, dim: 1}}}
  objectives:
    vqa:
      class_path: kemm.tasks.VQA
      init_args: {dim: *d, answers: a.json, graph: g, points: [shown, first, both], checks: [[first, mentioned], [shown, mentioned]]}
    recognition: {class_path: kemm.objectives.Recognition, init_args: {stream: shown}}
    linking: {class_path: kemm.tasks.Linking, init_args: {entity: candidate}}
    links: {class_path: kemm.tasks.Links, init_args: {scorer: {class_path: kemm.kg.TransE}, graph: g}}
    contrastive: {class_path: kemm.tasks.Retrieval, init_args: {features: [image_feature, pooled]}}
    relation_labels: {class_path: kemm.objectives.PlaceClassification, init_args: {dim: *d, classes: 3}}
    matched: {class_path: kemm.tasks.Retrieval, init_args: {features: [late, pooled]}}
  weights: {links: 0.5, vqa: 2.0, matched: 0.1}
  rates: {network.fusions.4: 0.1, network.fusions.7.project: 0.2, network.encoders.entity: 3, network.encoders.text: 4, objectives.links: 5}
  freeze: [network.fusions.0.linker, network.fusions.1, objectives.vqa]
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1e-3}}
data:
  class_path: kemm.data.Mixture
  init_args:
    weights: {questions: 3, triples: 1}
    batch_sizes: {triples: 512}
    sources:
      questions:
        class_path: kemm.data.Questions
        init_args:
          questions: q
          annotations: a
          answers: a.json
          tokenizer: t
          images: &flags {class_path: kemm.data.DrawnFlags, init_args: {specification: f}}
      triples: {class_path: kemm.data.Triples, init_args: {graph: g}}
    test:
      questions: {class_path: kemm.data.Questions, init_args: {questions: q, annotations: a, answers: a.json, tokenizer: t, images: *flags}}
      triples: {class_path: kemm.data.Triples, init_args: {graph: g, path: held.tsv}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(ATLAS)
    return file


def under(path: Path, control: str, seed: int = 1) -> dict[str, Any]:
    return changed(read_tree(path), control, seed, path)


def names(tree: dict[str, Any]) -> list[str]:
    """The fusions by their class and the stream that they make."""
    fusions = [point["fusion"] for point in tree["model"]["network"].get("fusions", [])]
    return [f"{f['class_path'].rpartition('.')[2]} {f['init_args'].get('name', '')}".strip() for f in fusions]


def test_reading_keeps_every_value_and_shares_none(path: Path) -> None:
    tree = read_tree(path)
    assert tree["model"]["optimizer"]["init_args"]["lr"] == 1e-3
    given = tree["data"]["init_args"]
    flags = [given[split]["questions"]["init_args"]["images"] for split in ("sources", "test")]
    assert flags[0] == flags[1] and flags[0] is not flags[1]
    assert yaml.safe_load(write_tree(tree)) == tree


def test_a_config_without_a_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("model: {network: 3}\n")
    with pytest.raises(ConfigError, match=r"x\.yaml: model\.network\.encoders: missing, expected a mapping of names to encoders"):
        read_tree(tmp_path / "x.yaml")


def test_none_changes_the_seeds_alone(path: Path) -> None:
    tree = read_tree(path)
    new = under(path, "none", 5)
    assert (new.pop("seed_everything"), new["model"].pop("seed"), new["data"]["init_args"].pop("seed")) == (5, 5, 5)
    del tree["seed_everything"]
    assert new == tree


def test_no_memory_takes_what_needs_it_along(path: Path) -> None:
    tree = under(path, "no-memory")
    assert names(tree) == [
        "KnowledgeAttention",
        "Feature image_feature",
        "FeatureEntities shown",
        "MentionEntities mentioned",
        "Feature pooled",
    ]
    model = tree["model"]
    assert list(model["objectives"]) == ["vqa", "recognition", "linking", "links", "contrastive", "relation_labels"]
    vqa = model["objectives"]["vqa"]["init_args"]
    assert (vqa["points"], vqa["checks"]) == (["shown"], [["shown", "mentioned"]])
    assert model["weights"] == {"links": 0.5, "vqa": 2.0}
    assert model["rates"] == {
        "network.fusions.4.project": 0.2,
        "network.encoders.entity": 3,
        "network.encoders.text": 4,
        "objectives.links": 5,
    }
    assert model["freeze"] == ["network.fusions.0.linker", "network.fusions.1", "objectives.vqa"]
    assert list(tree["data"]["init_args"]["sources"]) == ["questions", "triples"]


def test_no_graph_leaves_neither_facts_nor_vectors(path: Path) -> None:
    tree = under(path, "no-graph")
    model, given = tree["model"], tree["data"]["init_args"]
    assert list(model["network"]["encoders"]) == ["text", "image"]
    assert "share" not in model["network"]
    assert names(tree) == ["Feature image_feature", "Feature pooled"]
    assert list(model["objectives"]) == ["vqa", "contrastive", "relation_labels"]  # the label "relation" is not the input of that name
    vqa = model["objectives"]["vqa"]["init_args"]
    assert (vqa["points"], vqa["checks"]) == ([], [])
    assert model["weights"] == {"vqa": 2.0}
    assert model["rates"] == {"network.fusions.1.project": 0.2, "network.encoders.text": 4}
    assert model["freeze"] == ["network.fusions.0", "objectives.vqa"]
    assert [list(given[split]) for split in ("sources", "test")] == [["questions"], ["questions"]]
    assert (given["weights"], given["batch_sizes"]) == ({"questions": 3}, {})


def test_random_vectors_are_frozen_and_predict_no_links(path: Path) -> None:
    tree = under(path, "random-entity-vectors")
    encoders = tree["model"]["network"]["encoders"]
    assert encoders["entity"]["init_args"] == {"num_entities": 9, "dim": 8, "frozen": True}
    assert encoders["relation"]["init_args"]["frozen"] is True
    assert "frozen" not in encoders["text"]["init_args"]
    assert names(tree) == names(read_tree(path))
    assert set(read_tree(path)["model"]["objectives"]) - set(tree["model"]["objectives"]) == {"links"}
    assert list(tree["data"]["init_args"]["sources"]) == ["questions"]


def test_the_graph_is_shuffled_wherever_it_is_learned_and_looked_up(path: Path) -> None:
    tree = under(path, "shuffled-graph", 4)
    fusions = [point["fusion"] for point in tree["model"]["network"]["fusions"]]
    assert [f["init_args"].get("shuffled") for f in fusions] == [None, None, None, None, 4, 4, None, None, None]
    given = tree["data"]["init_args"]
    assert given["sources"]["triples"]["init_args"]["shuffled"] == 4
    assert "shuffled" not in given["test"]["triples"]["init_args"]  # what is asked stays true


def test_images_are_blank_in_every_split(path: Path) -> None:
    given = under(path, "no-image")["data"]["init_args"]
    assert all(given[split]["questions"]["init_args"]["images"]["init_args"]["blank"] is True for split in ("sources", "test"))


def test_a_bare_class_path_is_a_class_too(path: Path) -> None:
    text = ATLAS.replace("linking: {class_path: kemm.tasks.Linking, init_args: {entity: candidate}}", "linking: kemm.tasks.Linking")
    path.write_text(text)
    assert "linking" not in under(path, "no-graph")["model"]["objectives"]


@pytest.mark.parametrize("control", [name for name in CONTROLS if name not in ("none", "no-image")])
def test_a_control_says_what_it_does_not_find(path: Path, control: str) -> None:
    tree = read_tree(path)
    tree["model"]["network"] = {"encoders": {"text": tree["model"]["network"]["encoders"]["text"]}}
    tree["model"]["objectives"] = {"words": {"class_path": "kemm.objectives.MaskedLM", "init_args": {"dim": 16, "vocab_size": 100}}}
    del tree["data"]["init_args"]["sources"]["triples"], tree["model"]["weights"], tree["model"]["rates"], tree["model"]["freeze"]
    with pytest.raises(NothingToChangeError, match=rf"small\.yaml has no .*: the control {control} changes nothing"):
        changed(tree, control, 0, path)


def test_a_control_must_leave_something_to_train(path: Path) -> None:
    tree = read_tree(path)
    tree["model"]["objectives"] = {"links": tree["model"]["objectives"]["links"]}
    with pytest.raises(NothingToChangeError, match="the control no-graph leaves no objective to train"):
        changed(tree, "no-graph", 0, path)


def test_an_unknown_class_is_named(path: Path) -> None:
    path.write_text(ATLAS.replace("kemm.fusion.Intersection", "kemm.fusion.Intersektion"))
    with pytest.raises(ConfigError, match="did you mean 'Intersection'"):
        under(path, "no-memory")


def test_the_best_checkpoint_is_tested_where_one_is_chosen() -> None:
    writer = {"class_path": "pytorch_lightning.callbacks.ModelCheckpoint", "init_args": {}}
    other = {"class_path": "pytorch_lightning.callbacks.EarlyStopping", "init_args": {"monitor": "x"}}
    assert _checkpoint({"trainer": {"callbacks": [writer, other]}}) == "last"
    assert _checkpoint({"trainer": {"callbacks": [{**writer, "init_args": {"monitor": "x"}}]}}) == "best"
    assert _checkpoint({}) == "last"


# ---- runs


def world_config(folder: Path) -> str:
    """A config that really runs: the small world's questions and triples."""
    small_world.write(folder)
    return f"""\
trainer: {{max_steps: 2, accelerator: cpu, num_sanity_val_steps: 0, use_distributed_sampler: false, enable_model_summary: false}}
model:
  network:
    encoders:
      text: {{class_path: kemm.encoders.TextEncoder, init_args: {{vocab_size: 100, dim: 16, depth: 1, heads: 2, max_length: 64}}}}
      entity: {{class_path: kemm.encoders.EntityEncoder, init_args: {{num_entities: 9, dim: 8}}}}
      relation: {{class_path: kemm.encoders.EntityEncoder, init_args: {{num_entities: 5, dim: 8}}}}
    fusions:
      - {{at: {{text: top}}, fusion: {{class_path: kemm.fusion.Feature, init_args: {{stream: text, name: pooled, dim: 16}}}}}}
  objectives:
    vqa: {{class_path: kemm.tasks.VQA, init_args: {{dim: 16, answers: {folder}/answers.json, hidden: 8}}}}
    links: {{class_path: kemm.tasks.Links, init_args: {{scorer: {{class_path: kemm.kg.DistMult}}, graph: {folder}/graph}}}}
data:
  class_path: kemm.data.Mixture
  init_args:
    batch_size: 4
    sources:
      questions: &questions
        class_path: kemm.data.Questions
        init_args:
          questions: {folder}/questions.json
          annotations: {folder}/annotations.json
          answers: {folder}/answers.json
          tokenizer: {folder}/tokenizer.json
          images: {{class_path: kemm.data.DrawnFlags, init_args: {{specification: {folder}/flags.yaml, size: 16, height: 16}}}}
          max_length: 64
      edges: {{class_path: kemm.data.Triples, init_args: {{graph: {folder}/graph}}}}
    test: {{seen: *questions}}
"""


def test_sources_that_nothing_wants_are_found(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(world_config(tmp_path))
    tree = read_tree(tmp_path / "x.yaml")
    assert idle_sources(tree) == []
    del tree["model"]["objectives"]["links"]
    tree["data"]["init_args"] |= {"weights": {"edges": 1, "questions": 1}, "batch_sizes": {"edges": 2, "seen": 2}}
    assert idle_sources(tree) == ["edges"]
    drop_sources(tree, ["edges"])
    given = tree["data"]["init_args"]
    assert (list(given["sources"]), given["weights"], given["batch_sizes"]) == (["questions"], {"questions": 1}, {"seen": 2})
    assert idle_sources(tree) == []


def test_a_config_that_cannot_be_built_is_left_to_the_run(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(world_config(tmp_path).replace("answers.json, hidden", "gone.json, hidden"))
    assert idle_sources(read_tree(tmp_path / "x.yaml")) == []


@pytest.mark.timeout(300)
def test_a_control_is_fitted_and_tested_by_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(world_config(tmp_path))
    options = ["--config", "small.yaml", "--controls", "no-graph", "--seeds", "3", "--trainer.max_steps", "1"]
    assert main(options) == 0, (tmp_path / "runs/small/controls/no-graph/seed3/log.txt").read_text()
    folder = Path("runs/small/controls")
    run = folder / "no-graph" / "seed3"
    assert {path.name for path in run.iterdir()} >= {"control.yaml", "config.yaml", "last.ckpt", "metrics.json", "report.html", "log.txt"}
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert (written["seed_everything"], written["trainer"]["max_steps"]) == (3, 1)
    assert list(written["model"]["network"]["encoders"]) == ["text"]
    assert "# with --trainer.max_steps 1\n" in (run / "control.yaml").read_text()
    assert {path.name for path in folder.glob("controls.*")} == {f"controls.{end}" for end in ("md", "csv", "html", "png", "svg")}
    made = (run / "metrics.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main(options) == 0
    assert (run / "metrics.json").stat().st_mtime_ns == made
    assert "no-graph, seed 3: is there already" in capsys.readouterr().out


@pytest.fixture
def called(path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Command lines that would have been run; a test writes scores that tell the control and the seed."""
    calls: list[list[str]] = []

    def call(arguments: list[str], log: Path, config: Path, mode: str) -> int:
        calls.append(arguments)
        log.write_text("said\nwrong\n")
        control, seed = log.parent.parent.name, int(log.parent.name.removeprefix("seed"))
        if arguments[0] == "test":
            value = list(CONTROLS).index(control) + seed
            scores = {"seen": {"vqa": {"accuracy": {"estimate": value, "low": 0.0, "high": 100.0}}}}
            (log.parent / "metrics.json").write_text(json.dumps({"splits": scores}))
        return int(control == "no-image" and seed == 1 and arguments[0] == "fit")

    monkeypatch.setattr("kemm.controls.runs._call", call)
    monkeypatch.setattr("kemm.controls.runs.idle_sources", lambda tree: [])
    monkeypatch.chdir(path.parent)
    return calls


def test_every_control_is_run_with_every_seed(called: list[list[str]], path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", "small.yaml", "--seeds", "0,1", "--trainer.max_steps=9"]) == 1
    folder = Path("runs/small/controls")
    runs = [Path(line[line.index("--config") + 1]) for line in called if line[0] == "fit"]
    assert runs == [folder / control / f"seed{seed}" / "control.yaml" for control in CONTROLS for seed in (0, 1)]
    assert all(line[-1] == "--trainer.max_steps=9" for line in called)
    assert called[1][:3] == ["test", "--ckpt_path", "last"]
    out = capsys.readouterr().out
    assert "no-image, seed 1: fit failed, see runs/small/controls/no-image/seed1/log.txt: wrong" in out
    rows = list(csv.DictReader((folder / "controls.csv").open()))
    assert [(row["control"], row["mean"], row["runs"]) for row in rows][:2] == [("none", "0.5", "2"), ("no-graph", "1.5", "2")]
    assert (rows[-1]["control"], rows[-1]["runs"], rows[-1]["deviation"]) == ("no-image", "1", "")


def test_scores_of_another_config_are_not_taken(called: list[list[str]]) -> None:
    options = ["--config", "small.yaml", "--controls", "none", "--seeds", "0"]
    assert main(options) == 0
    assert main(options) == 0
    assert len(called) == 2
    assert main([*options, "--trainer.max_steps", "3"]) == 0
    assert len(called) == 4


def test_controls_that_change_nothing(called: list[list[str]], path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(ATLAS.replace("kemm.data.DrawnFlags, init_args: {specification: f}", "kemm.data.ImageFiles, init_args: {folder: f}"))
    assert main(["--config", "small.yaml", "--controls", "no-image"]) == 2
    message = "small.yaml has no images with the parameter 'blank': the control no-image changes nothing"
    assert capsys.readouterr().err == f"error: {message}\n"
    assert called == []
    assert main(["--config", "small.yaml", "--seeds", "0"]) == 0
    assert f"passed over: {message}" in capsys.readouterr().out
    assert len(called) == 2 * (len(CONTROLS) - 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "the following arguments are required: --config"),
        (["--config", "none.yaml"], "none.yaml: no such file, expected a YAML config"),
        (["--config", "small.yaml", "--controls", "no-grph"], "--controls: unknown control 'no-grph', expected some of none, no-graph"),
        (["--config", "small.yaml", "--seeds", "1,x"], "--seeds: '1,x', expected numbers with commas between, such as 0,1,2"),
        (["--config", "small.yaml", "--seeds", "-1"], "--seeds: -1, expected numbers from 0 on"),
        (["--config", "small.yaml", "--sed", "1"], "unknown option '--sed'"),
        (["--config", "small.yaml", "--trainer.default_root_dir", "x"], "--trainer.default_root_dir: each run has a folder of its own"),
    ],
)
def test_wrong_command_lines(
    options: list[str], message: str, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(path.parent)
    assert main(options) == 2
    errors = capsys.readouterr().err
    assert errors.startswith(f"error: {message}")
    assert len(errors.splitlines()) == 1


# ---- tables


@pytest.fixture
def files(tmp_path: Path) -> dict[tuple[str, int], Path]:
    """Three runs of two controls."""
    scores = {("none", 0): 90.0, ("none", 1): 94.0, ("no|graph", 0): 20.0}
    for (control, seed), value in scores.items():
        splits = {"seen": {"vqa": {"accuracy": {"estimate": value}, "questions": {"estimate": 5.0}, "loss": {"estimate": None}}}}
        path = tmp_path / control / str(seed)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"splits": splits}))
    return {key: tmp_path / key[0] / str(key[1]) for key in scores}


def test_means_and_deviations(files: dict[tuple[str, int], Path]) -> None:
    results = collect(files)
    accuracy = results[Metric("seen", "vqa", "accuracy")]
    assert (accuracy["none"].mean, accuracy["none"].runs) == (92.0, 2)
    assert accuracy["none"].deviation == pytest.approx(math.sqrt(8))
    assert list(results) == [Metric("seen", "vqa", "accuracy"), Metric("seen", "vqa", "questions")]
    lines = as_markdown(results).splitlines()
    assert lines[:3] == [
        "| split | task | metric | none | no\\|graph |",
        "| --- | --- | --- | ---: | ---: |",
        "| seen | vqa | accuracy | 92.0 ± 2.8 | 20.0 |",
    ]
    assert lines[-1] == "Mean ± standard deviation (n - 1) over 1 to 2 seeds."
    rows = list(csv.reader(io.StringIO(as_csv(results))))
    assert rows[1] == ["seen", "vqa", "accuracy", "none", "92", "2.82843", "2"]
    assert rows[2] == ["seen", "vqa", "accuracy", "no|graph", "20", "", "1"]


def test_the_plot_shows_what_differs(files: dict[tuple[str, int], Path], tmp_path: Path) -> None:
    results = collect(files)
    assert list(panels(results)) == ["vqa accuracy"]
    pictures = draw(results)
    (tmp_path / "x.png").write_bytes(pictures.png)
    with Image.open(tmp_path / "x.png") as opened:
        assert opened.width > 500 and opened.format == "PNG"
    assert "no|graph" in pictures.svg and pictures.svg.startswith("<?xml")
    assert "currentColor" in pictures.inline and "http" not in pictures.inline


def test_the_page_of_controls_is_well_formed(files: dict[tuple[str, int], Path]) -> None:
    texts: list[str] = []

    class Texts(HTMLParser):
        def handle_data(self, data: str) -> None:
            texts.append(data)

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "link")

    results = collect(files)
    page = as_html(results, "<b>x</b>.yaml", draw(results).inline)
    Texts().feed(page)
    assert "<b>x</b>.yaml: controls" in texts and "92.0 ± 2.8" in texts
    assert "http" not in page


def test_scores_that_are_none_are_named(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"splits": [1]}')
    with pytest.raises(ValueError, match=r"m\.json: expected scores as `test` writes them"):
        collect({("none", 0): tmp_path / "m.json"})
    shutil.rmtree(tmp_path)
    with pytest.raises(ValueError, match=r"m\.json: expected scores"):
        collect({("none", 0): tmp_path / "m.json"})
