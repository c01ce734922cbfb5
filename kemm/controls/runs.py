"""`kemm controls`: runs a config under each control with several seeds, and writes one table and one plot."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import kemm
from kemm.config import ConfigError
from kemm.controls.changes import CONTROLS, NothingToChangeError, changed
from kemm.controls.idle import drop_sources, idle_sources
from kemm.controls.plot import draw
from kemm.controls.table import as_csv, as_html, as_markdown, collect
from kemm.controls.tree import Tree, class_of, read_tree, specs, write_tree
from kemm.files import write_bytes, write_text

METRICS, CONFIG, LOG = "metrics.json", "control.yaml", "log.txt"
"""Files of a run's folder: its scores, its config, what it said."""
_COMMAND = "import sys; from kemm.cli import main; sys.exit(main())"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError([message])


def main(options: Sequence[str]) -> int:
    """Runs what is not there yet, and writes `controls.md`, `.csv`, `.html`, `.png` and `.svg` into `runs/<config>/controls/`.

    Args:
        options: The command line behind `controls`.

    Returns:
        The exit status: 0; 1 if a run failed; 2 for a wrong command line or config, or a control that would change nothing.
    """
    try:
        given, overrides = _parse(options)
        # As for the other commands, the user's own classes lie beside the config or where the command is called.
        for folder in (str(Path.cwd()), str(given.config.resolve().parent)):
            if folder not in sys.path:
                sys.path.append(folder)
        trees = _trees(given, overrides)
    except (ConfigError, NothingToChangeError) as error:
        for line in str(error).split("\n"):
            sys.stderr.write(f"error: {line}\n")
        return 2
    folder = Path("runs") / given.config.stem / "controls"
    failed = [name for name, tree in trees.items() if not _run(folder / name[0] / f"seed{name[1]}", tree, name, given.config, overrides)]
    results = collect({name: folder / name[0] / f"seed{name[1]}" / METRICS for name in trees if name not in failed})
    if results:
        pictures = draw(results)
        write_text(folder / "controls.md", as_markdown(results))
        write_text(folder / "controls.csv", as_csv(results))
        write_text(folder / "controls.html", as_html(results, str(given.config), pictures.inline))
        write_bytes(folder / "controls.png", pictures.png)
        write_text(folder / "controls.svg", pictures.svg)
        _say(f"table: {folder / 'controls.md'}, plot: {folder / 'controls.png'}")
    return 1 if failed else 0


def _parse(options: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = _Parser(prog="kemm controls", allow_abbrev=False, description="Run a config under controls, over several seeds.")
    listed = "; ".join(f"{name}: {control.shows}" for name, control in CONTROLS.items())
    parser.add_argument("--config", type=Path, required=True, help="the config of the whole experiment")
    parser.add_argument("--controls", type=_names, help=f"names with commas between; all that change the config by default ({listed})")
    parser.add_argument("--seeds", type=_seeds, default=[0, 1, 2], help="numbers with commas between (default: 0,1,2)")
    given, rest = parser.parse_known_args(list(options))
    for option in rest:
        if option.startswith("-") and (not option.startswith("--") or "." not in option):
            known = "--config, --controls, --seeds, or --dotted.key value of the config"
            raise ConfigError([f"unknown option {option!r}, expected {known}"])
    if any(option.split("=")[0] == "--trainer.default_root_dir" for option in rest):
        raise ConfigError(["--trainer.default_root_dir: each run has a folder of its own, runs/<config>/controls/<control>/seed<k>"])
    return given, rest


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in CONTROLS]
    if unknown:
        raise ConfigError([f"--controls: unknown control {unknown[0]!r}, expected some of {', '.join(CONTROLS)}"])
    return names


def _seeds(text: str) -> list[int]:
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError([f"--seeds: {text!r}, expected numbers with commas between, such as 0,1,2"]) from None
    if min(seeds) < 0:
        raise ConfigError([f"--seeds: {min(seeds)}, expected numbers from 0 on"])
    return seeds


def _trees(given: argparse.Namespace, overrides: Sequence[str]) -> dict[tuple[str, int], Tree]:
    """The config of each run; a control that was not asked for by name is passed over where it would change nothing."""
    tree = read_tree(given.config)
    trees: dict[tuple[str, int], Tree] = {}
    for control in given.controls or CONTROLS:
        try:
            for seed in given.seeds:
                trees[control, seed] = changed(tree, control, seed, given.config)
        except NothingToChangeError as error:
            if given.controls:
                raise
            _say(f"passed over: {error}")
    for control in dict.fromkeys(control for control, _ in trees):
        mine = [trees[control, seed] for seed in given.seeds]
        if len(mine[0]["model"]["objectives"]) < len(tree["model"].get("objectives") or {}):
            idle = idle_sources(mine[0])
            for each in mine if idle else []:
                drop_sources(each, idle)
    return trees


def _run(folder: Path, tree: Tree, name: tuple[str, int], path: Path, overrides: Sequence[str]) -> bool:
    """Fits and tests, unless the same run is there already; tells whether it has scores now."""
    control, seed = name
    tree.setdefault("trainer", {})["default_root_dir"] = str(folder)
    head = f"# {path} under the control {control} ({CONTROLS[control].shows}), seed {seed}\n"
    text = head + (f"# with {' '.join(overrides)}\n" if overrides else "") + write_tree(tree)
    config, metrics = folder / CONFIG, folder / METRICS
    if metrics.exists() and config.exists() and config.read_text(encoding="utf-8") == text:
        _say(f"{control}, seed {seed}: is there already")
        return True
    metrics.unlink(missing_ok=True)  # of another config
    write_text(config, text)
    begun = time.monotonic()
    _say(f"{control}, seed {seed}: fit, then test, into {folder}")
    for command in (["fit"], ["test", "--ckpt_path", _checkpoint(tree)]):
        if _call([*command, "--config", str(config), *overrides], folder / LOG, path, "w" if command == ["fit"] else "a"):
            lines = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
            _say(f"{control}, seed {seed}: {command[0]} failed, see {folder / LOG}: {lines[-1] if lines else 'it said nothing'}")
            return False
    _say(f"{control}, seed {seed}: done in {time.monotonic() - begun:.0f} s")
    return metrics.exists()


def _call(arguments: Sequence[str], log: Path, path: Path, mode: str) -> int:
    """Runs the command line in a process of its own, and gives its exit status."""
    own = [str(Path(kemm.__file__).parents[1]), str(path.resolve().parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(part for part in own if part)}
    with log.open(mode, encoding="utf-8") as file:
        return subprocess.run(
            [sys.executable, "-c", _COMMAND, *arguments], stdout=file, stderr=file, env=environment, check=False
        ).returncode


def _checkpoint(tree: dict[str, Any]) -> str:
    """`best` where the config says by which score, `last` otherwise."""
    listed = [spec for spec in specs(tree.get("trainer", {}).get("callbacks")) if spec["init_args"].get("monitor")]
    return "best" if any((of := class_of(spec)) is not None and of.__name__ == "ModelCheckpoint" for spec in listed) else "last"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
