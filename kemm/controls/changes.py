"""How each control changes a config: functions from a tree to a tree, by the classes that it names, so that they serve any config."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from kemm.controls.streams import graph_inputs, without
from kemm.controls.tree import Tree, class_of, copied, kind, specs, takes
from kemm.data import Triples
from kemm.encoders import Encoder
from kemm.fusion import Remembers
from kemm.objectives import LinkPrediction

SPLITS = ("sources", "validation", "test")
"""Where a mixture keeps its sources."""


class NothingToChangeError(ValueError):
    """A config lacks what a control would take away."""


class Control(NamedTuple):
    """A control: what it shows, what it looks for in a config, and the change in place, which tells whether there was any."""

    shows: str
    looks_for: str
    change: Callable[[Tree, int], bool]


def changed(tree: Tree, control: str, seed: int, path: Path) -> Tree:
    """A config under a control.

    Args:
        tree: The config, left as it is.
        control: A name of `CONTROLS`.
        seed: Of the run: of weights, order and corruption, and of the shuffled graph.
        path: The config's file, for messages.

    Raises:
        NothingToChangeError: The config has nothing that the control could change, or nothing is left to train.
    """
    new: Tree = copied(tree)
    if not CONTROLS[control].change(new, seed):
        raise NothingToChangeError(f"{path} has no {CONTROLS[control].looks_for}: the control {control} changes nothing")
    if not new["model"].get("objectives"):
        raise NothingToChangeError(f"{path}: the control {control} leaves no objective to train, since all of them need what it removes")
    new["seed_everything"] = seed
    new["model"]["seed"] = seed
    if isinstance(new.get("data"), dict) and "class_path" in new["data"] and takes(kind(new["data"]), "seed"):
        new["data"]["init_args"]["seed"] = seed
    return new


def _none(tree: Tree, seed: int) -> bool:
    return True


def _no_memory(tree: Tree, seed: int) -> bool:
    found = any(_is_memory(kind(spec)) for spec in _parts(tree))
    without(tree, _is_memory)
    return found


def _no_graph(tree: Tree, seed: int) -> bool:
    inputs = graph_inputs(tree["model"]["network"])
    found = bool(inputs) or any(_is_memory(kind(spec)) for spec in _parts(tree))
    without(tree, lambda of: _is_memory(of) or _predicts_links(of), inputs)
    _without_triples(tree)
    return found


def _random_vectors(tree: Tree, seed: int) -> bool:
    encoders = [spec for spec in tree["model"]["network"]["encoders"].values() if _is_table(kind(spec, Encoder))]
    for spec in encoders:
        spec["init_args"].pop("vectors", None)
        spec["init_args"].pop("mapped", None)
        spec["init_args"]["frozen"] = True
    without(tree, _predicts_links)
    _without_triples(tree)
    return bool(encoders)


def _shuffled_graph(tree: Tree, seed: int) -> bool:
    # What a model is asked stays true: only what it learns from, and looks up in, is shuffled.
    arguments = tree.get("data", {}).get("init_args", {})
    kept = {name: arguments.pop(name) for name in SPLITS[1:] if name in arguments}
    found = _set(tree, "shuffled", seed)
    arguments.update(kept)
    return found


def _no_image(tree: Tree, seed: int) -> bool:
    return _set(tree, "blank", True)


CONTROLS: Mapping[str, Control] = {
    "none": Control("the config as it is", "network", _none),
    "no-graph": Control("without facts and without the graph's vectors", "entity table and no memory", _no_graph),
    "shuffled-graph": Control("with facts whose objects are exchanged", "class with the parameter 'shuffled'", _shuffled_graph),
    "random-entity-vectors": Control("with entity vectors that say nothing", "trainable entity table", _random_vectors),
    "no-memory": Control("without looking anything up", "MemoryFusion or other memory", _no_memory),
    "no-image": Control("with a grey picture", "images with the parameter 'blank'", _no_image),
}


def _is_memory(of: type) -> bool:
    return issubclass(of, Remembers)


def _predicts_links(of: type) -> bool:
    return issubclass(of, LinkPrediction)


def _is_table(of: type) -> bool:
    return takes(of, "num_entities") and takes(of, "frozen")


def _parts(tree: Tree) -> Iterator[Tree]:
    """The fusions and objectives."""
    yield from (point["fusion"] for point in tree["model"]["network"].get("fusions") or [])
    yield from (tree["model"].get("objectives") or {}).values()


def _set(tree: Tree, parameter: str, value: int | bool) -> bool:
    """Sets a parameter of every class that has it, and tells whether there is one."""
    found = [spec for spec in specs(tree) if (of := class_of(spec)) is not None and takes(of, parameter)]
    for spec in found:
        spec["init_args"][parameter] = value
    return bool(found)


def _without_triples(tree: Tree) -> None:
    """Takes sources of triples out of a mixture: no objective is left that could use their batches."""
    given = tree.get("data", {}).get("init_args", {})
    for split in SPLITS:
        if given.get(split):
            given[split] = {name: spec for name, spec in given[split].items() if not issubclass(kind(spec), Triples)}
    left = {name for split in SPLITS for name in given.get(split) or {}}
    for shares in ("weights", "batch_sizes"):
        if given.get(shares):
            given[shares] = {name: value for name, value in given[shares].items() if name in left}
