"""Config errors: all of them at once, each with file, line, keys, what was given and expected, and a suggestion."""

from pathlib import Path

import pytest

from tests.cli.conftest import GOOD, Call

# What is replaced in the right config, by what, and a part of the message.
MISTAKES = {
    "trainer key": ("max_epochs", "max_epoch", "trainer.max_epoch: unknown key of Trainer (did you mean 'max_epochs'?)"),
    "top-level key": (
        "seed_everything",
        "seed",
        "seed: unknown key, expected one of seed_everything, trainer, model, data",
    ),
    "model key": ("  objectives", "  objective", "model.objective: unknown key of TrainingModule, expected one of network,"),
    "network key": ("    fusions", "    fusion", "model.network.fusion: unknown key of FusionModel"),
    "argument": (
        "depth: 3",
        "dept: 3",
        "model.network.encoders.text.init_args.dept: unknown key of TextEncoder, expected one of dim, depth, pool (did you mean 'depth'?)",
    ),
    "wrong int": ("depth: 3", "depth: three", "model.network.encoders.text.init_args.depth: str 'three', expected int"),
    "range": ("&d 8", "&d -8", "model.network.encoders.text.init_args.dim: int '-8', expected int restricted to be >0"),
    "literal": ("depth: 3", "pool: means", "text.init_args.pool: str 'means', expected one of first, mean (did you mean 'mean'?)"),
    "module": (
        "optim.AdamW",
        "optm.AdamW",
        "model.optimizer.class_path: 'torch.optm.AdamW': torch has no 'optm', expected",
    ),
    "class": (
        "standins.Rows",
        "standins.Row",
        "data.class_path: 'tests.cli.standins.Row': tests.cli.standins has no 'Row', expected a subclass of LightningDataModule "
        "(did you mean 'Rows'?)",
    ),
    "not a subclass": (
        "standins.TransE",
        "standins.Rows",
        "'tests.cli.standins.Rows' is a subclass of LightningDataModule, expected",
    ),
    "function as class": ("standins.Rows", "conftest.call", "'tests.cli.conftest.call' is a"),
    "short name": ("tests.cli.standins.Rows", "Rosw", "'Rosw' is no import path, expected module.Class, a subclass of"),
    "argument beside class_path": (
        "class_path: tests.cli.standins.Rows",
        "class_path: tests.cli.standins.Rows, rows: 3",
        "data: unknown key 'rows', expected class_path and init_args",
    ),
    "nested list": ("dims: [*d, *d]", "dims: [*d, x]", "model.network.fusions.0.fusion.init_args.dims.1: str 'x', expected int"),
    "mapping of ints": ("text: 2", "text: two", "model.network.fusions.1.at.text: str 'two', expected int"),
    "point key": ("- at: {text: 1}", "- att: {text: 1}", "model.network.fusions.0.att: unknown key of FusionPoint"),
    "list for a mapping": ("{text: 2, image: 1}", "[text]", "fusions.1.at: a list of 1, expected a mapping of names to int"),
    "null for a mapping": (
        "{max_epochs: 2",
        "{callbacks: {a: 1}, max_epochs: 2",
        "trainer.callbacks: unknown key 'a', expected class_path",
    ),
    "value of an optimiser": ("1e-3", "fast", "model.optimizer.init_args.lr: str 'fast', expected float"),
}


def _break(config: Path, name: str) -> int:
    before, after, _ = MISTAKES[name]
    config.write_text(GOOD.replace(before, after, 1))
    return GOOD[: GOOD.index(before)].count("\n") + 1


@pytest.mark.parametrize("name", MISTAKES)
def test_names_place_and_expectation(name: str, config: Path, call: Call) -> None:
    line = _break(config, name)
    status, errors = call("--config", config)
    assert status == 2
    place = f"error: {config}:{line}:"
    matching = [error for error in errors if error.startswith(place) and MISTAKES[name][2] in error]
    assert matching, errors
    column = int(matching[0].removeprefix(place).split(":")[0])
    assert config.read_text().splitlines()[line - 1][column - 1] != " "
    assert all(error.startswith("error: ") and "Traceback" not in error and "usage" not in error for error in errors)


def test_lists_every_mistake_at_once(config: Path, call: Call) -> None:
    text = GOOD
    names = ["trainer key", "argument", "class", "mapping of ints", "value of an optimiser", "nested list", "not a subclass"]
    for name in names:
        text = text.replace(MISTAKES[name][0], MISTAKES[name][1], 1)
    config.write_text(text)
    status, errors = call("--config", config)
    assert status == 2
    assert all(any(MISTAKES[name][2] in error for error in errors) for name in names), errors
    assert len(errors) == len(names)


def test_a_value_behind_an_alias_is_named_once(config: Path, call: Call) -> None:
    config.write_text(GOOD.replace("dims: [*d, *d]", "dimz: [*d, *d]"))
    _, errors = call("--config", config)
    assert len(errors) == 2  # the unknown key, and the one that is missing for it
    assert any("dims: missing from CoAttention, expected a list of int" in error for error in errors)


def test_missing_keys(config: Path, call: Call) -> None:
    config.write_text(GOOD.replace("dim: *d, scorer", "scorer").replace("data: {class_path: tests.cli.standins.Rows}\n", ""))
    _, errors = call("--config", config)
    assert any("model.objectives.links.init_args.dim: missing from LinkPrediction, expected int" in error for error in errors)
    assert any("data: missing, expected a class_path of LightningDataModule" in error for error in errors)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--trainer.max_epoch", "3"], "command line: trainer.max_epoch: unknown key of Trainer (did you mean 'max_epochs'?)"),
        (["--trainer.max_epochs=three"], "command line: trainer.max_epochs: str 'three', expected int or null"),
        (["--model.network.encoders.text.init_args.depht", "3"], "encoders.text.init_args.depht: unknown key of TextEncoder"),
        (["--model.network.encoders.text.depht", "3"], "encoders.text.init_args.depht: unknown key of TextEncoder"),
        (["--data", "tests.cli.standins.Rowz"], "command line: data.class_path: 'tests.cli.standins.Rowz'"),
        (["--modle.network.packing", "false"], "command line: modle: unknown key"),
        (["stray"], "unrecognized arguments: stray"),
    ],
)
def test_mistakes_on_the_command_line(option: list[str], message: str, config: Path, call: Call) -> None:
    status, errors = call("--config", config, *option)
    assert status == 2
    assert any(message in error for error in errors), errors


def test_messages_without_a_config(call: Call, config: Path) -> None:
    assert call("fit") == (2, ["error: fit has no --config, expected --config FILE"])
    assert call("--config") == (2, ["error: --config has no value, expected a YAML file"])
    assert call("--config", "none.yaml") == (2, ["error: none.yaml: no such file, expected a YAML config"])
    assert call("tset")[1][0].endswith("(did you mean 'test'?)")
    assert call("--config", config, "--config", config)[1][0].startswith("error: --config is given 2 times, expected one file")


def test_errors_of_construction_are_one_line(config: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    option = "--model.network.encoders.text.init_args.dim=7"
    assert call("--config", config, option) == (1, ["error: dim is 7, expected an even number"])
    monkeypatch.setenv("KEMM_TRACEBACK", "1")
    with pytest.raises(ValueError, match="dim is 7"):
        call("--config", config, option)


def test_a_broken_file_of_the_user(config: Path, call: Call) -> None:
    config.with_name("gated_broken.py").write_text("class Gated(\n")
    config.write_text(GOOD.replace("tests.cli.standins.Rows", "gated_broken.Gated"))
    status, errors = call("--config", config)
    assert status == 2
    assert f"error: {config}:14:20: data.class_path: importing gated_broken failed: SyntaxError" in errors[0]
