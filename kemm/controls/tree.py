"""A config as a tree of dicts and lists, and the classes that it names."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kemm import config
from kemm.config_classes import find_class, parameters

Tree = dict[str, Any]


class _Loader(yaml.SafeLoader):
    """Reads 1e-3 as a number, as jsonargparse does; YAML 1.1 wants a dot in it."""


_Loader.yaml_implicit_resolvers = {sign: list(known) for sign, known in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789"))


def read_tree(path: Path) -> Tree:
    """Reads a config strictly (see `kemm.config.read`); what anchors share becomes a copy of its own in each place.

    Args:
        path: The file.

    Raises:
        ConfigError: The file is none that can be run, or has no network.
    """
    config.read(path)
    tree = copied(yaml.load(path.read_text(encoding="utf-8-sig"), _Loader))
    network = tree.get("model", {}).get("network") if isinstance(tree.get("model"), dict) else None
    if not isinstance(network, dict) or not isinstance(network.get("encoders"), dict):
        raise config.ConfigError([f"{path}: model.network.encoders: missing, expected a mapping of names to encoders"])
    points = network.get("fusions") or []
    for part in (network["encoders"], tree["model"].get("objectives") or {}, *points):
        for name, spec in part.items():
            if isinstance(spec, str):  # a class without arguments may be its path alone
                part[name] = {"class_path": spec, "init_args": {}}
    return tree


def write_tree(tree: Tree) -> str:
    """The config as YAML."""
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=140)


def copied(value: Any) -> Any:
    """A copy in which nothing is shared, and each class has its `init_args`."""
    if isinstance(value, dict):
        new = {name: copied(inner) for name, inner in value.items()}
        if "class_path" in new:
            new["init_args"] = new.get("init_args") or {}
        return new
    return [copied(inner) for inner in value] if isinstance(value, list) else value


def specs(value: Any) -> Iterator[Tree]:
    """Every `{class_path, init_args}` inside a part of a tree."""
    if isinstance(value, dict):
        if "class_path" in value:
            yield value
        for inner in value.values():
            yield from specs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from specs(inner)


def kind(spec: Any, base: type = object) -> type:
    """The class that a spec, or a bare import path, names.

    Args:
        spec: Of the tree.
        base: What the class must be.

    Raises:
        ConfigError: There is no such class.
    """
    found = find_class(str(spec["class_path"] if isinstance(spec, dict) else spec), base)
    if isinstance(found, str):
        raise config.ConfigError([found])
    return found


def class_of(spec: Tree) -> type | None:
    """The class that a spec names, or nothing where it names a function."""
    found = find_class(str(spec["class_path"]), object)
    return None if isinstance(found, str) else found


def takes(of: type, name: str) -> bool:
    """Whether a class's constructor has a parameter of this name."""
    return name in parameters(of)[0]


def arguments(spec: Any, of: type) -> Tree:
    """What a constructor gets: defaults, and what the spec gives."""
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(of).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    return defaults | (spec["init_args"] if isinstance(spec, dict) else {})
