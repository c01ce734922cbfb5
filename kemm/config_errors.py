"""Explaining why a config was refused: every mistake at once, each with its place, what was given and what was expected.

jsonargparse decides whether a config is accepted; it stops at the first mistake and does not know lines. This module runs only after it
refused one: it walks the YAML tree along the type hints of the classes that the config names, asks jsonargparse about one value at a time,
and writes one line for every unknown key, wrong value and class that cannot be had.
"""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from jsonargparse import ArgumentParser

from kemm.config import given, pairs
from kemm.config_classes import Parameter, a_class, find_class, near, parameters
from kemm.overrides import COMMAND_LINE, SPEC_KEYS

_LEAVES = (str, int, float, bool, bytes, complex, Path, type(None), dict, list, tuple, set, timedelta, Enum)


def mistakes(root: yaml.MappingNode, expected: Mapping[str, Parameter], path: Path) -> list[str]:
    """Lists every mistake of a config, in the order of the file.

    Args:
        root: the config as a tree of nodes.
        expected: the top-level keys; a class whose arguments are written without a `class_path` has the hint `Arguments`.
        path: the config's file, for the messages.

    Returns:
        One line per mistake: `file:line:column: keys: given, expected (did you mean ...?)`.
    """
    walk = _Walk(path)
    walk.keys(root, expected, False, ())
    return [line for _, line in sorted(walk.found.items(), key=lambda item: item[0])]


@dataclass(frozen=True)
class Arguments:
    """Stands as a type hint for the arguments of a class that are written without a `class_path`.

    Args:
        of: the class.
    """

    of: type


@dataclass
class _Walk:
    path: Path
    found: dict[tuple[int, int, str], str] = field(default_factory=dict)
    explained: int = 0

    def add(self, node: yaml.Node, keys: tuple[str, ...], message: str) -> None:
        line, column = node.start_mark.line, node.start_mark.column
        where = "command line" if line == COMMAND_LINE else f"{self.path}:{line + 1}:{column + 1}"
        self.explained += 1
        # A value behind an alias is wrong in one place of the file, however often it is used.
        self.found.setdefault((line, column, message), f"{where}: {'.'.join(keys) or 'top level'}: {message}")

    def value(self, node: yaml.Node, hint: Any, keys: tuple[str, ...]) -> None:
        """Checks one value, and looks inside it where it is refused."""
        if isinstance(hint, Arguments):
            if isinstance(node, yaml.MappingNode):
                self.keys(node, *parameters(hint.of), keys, hint.of.__name__)
            elif not _is_null(node):
                self.add(node, keys, f"{given(node)}, expected the arguments of {hint.of.__name__}")
            return
        if accepts(hint, node):
            return
        options = [option for option in _options(hint) if option is not type(None)]
        inner = [option for option in options if _fits_shape(option, node, len(options) == 1)]
        if len(inner) != 1:
            self.add(node, keys, f"{given(node)}, expected {describe(hint)}{_closest(node, _literals(options))}")
            return
        before = self.explained
        self.inside(node, inner[0], keys)
        if self.explained == before:
            self.add(node, keys, f"{given(node)}, expected {describe(hint)}")

    def inside(self, node: yaml.Node, hint: Any, keys: tuple[str, ...]) -> None:
        """Checks the parts of a value whose shape is right."""
        origin = get_origin(hint)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.value(item, get_args(hint)[0], (*keys, str(index)))
        elif origin is not None and inspect.isclass(origin) and issubclass(origin, Mapping) and isinstance(node, yaml.MappingNode):
            for key, item in pairs(node):
                if accepts(get_args(hint)[0], key):
                    self.value(item, get_args(hint)[1], (*keys, str(key.value)))
                else:
                    self.add(key, keys, f"{given(key)} as a key, expected {describe(get_args(hint)[0])}")
        elif origin is not None and _builds(hint) is not object:  # the caller gives the first arguments of what is built
            self.spec(node, _builds(hint), keys, skip=len(get_args(hint)[0]))
        elif origin is not None:
            self.spec(node, object, keys, skip=0)
        elif isinstance(node, yaml.MappingNode) and _is_arguments(node, hint):
            self.keys(node, *parameters(hint), keys, hint.__name__)
        else:
            self.spec(node, hint, keys, skip=0)

    def spec(self, node: yaml.Node, base: type, keys: tuple[str, ...], skip: int) -> None:
        """Checks a class named by its import path, and its arguments."""
        content = {key.value: value for key, value in pairs(node)} if isinstance(node, yaml.MappingNode) else {"class_path": node}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value not in SPEC_KEYS:
                hint = "" if "class_path" in content else f" (the keys of {base.__name__} stand under init_args)"
                self.add(key, keys, f"unknown key {key.value!r}, expected class_path and init_args{hint or _closest(key, SPEC_KEYS)}")
        named = content.get("class_path")
        if named is None:
            self.add(node, keys, f"{given(node)}, expected a class_path that names {a_class(base)}")
            return
        found = find_class(str(named.value) if isinstance(named, yaml.ScalarNode) else "", base)
        if isinstance(found, str):
            self.add(named, (*keys, "class_path") if named is not node else keys, found)
            return
        arguments = content.get("init_args")
        if arguments is None or _is_null(arguments):
            arguments = yaml.MappingNode("tag:yaml.org,2002:map", [], named.start_mark, named.end_mark)
        if not isinstance(arguments, yaml.MappingNode):
            self.add(arguments, (*keys, "init_args"), f"{given(arguments)}, expected the arguments of {found.__name__}")
            return
        names, is_open = parameters(found)
        self.keys(arguments, dict(list(names.items())[skip:]), is_open, (*keys, "init_args"), found.__name__)

    def keys(self, node: yaml.MappingNode, names: Mapping[str, Parameter], is_open: bool, keys: tuple[str, ...], owner: str = "") -> None:
        """Checks the keys of a mapping against a class's parameters, and each value against its hint."""
        present = set()
        for key, item in pairs(node):
            present.add(key.value)
            if key.value in names:
                self.value(item, names[key.value].hint, (*keys, key.value))
            elif not is_open:
                alike = _closest(key, names)
                listed = f", expected one of {', '.join(names) or '(none)'}" if not alike or len(names) <= 12 else ""
                self.add(key, (*keys, str(key.value)), f"unknown key{f' of {owner}' if owner else ''}{listed}{alike}")
        for name, parameter in names.items():
            if parameter.required and name not in present:
                self.add(node, (*keys, name), f"missing{f' from {owner}' if owner else ''}, expected {describe(parameter.hint)}")


def accepts(hint: Any, node: yaml.Node) -> bool:
    """Tells whether jsonargparse takes a value for a type hint."""
    if hint is Any:
        return True
    parser = ArgumentParser(exit_on_error=False)
    key = yaml.ScalarNode("tag:yaml.org,2002:str", "value")
    try:
        parser.add_argument("--value", type=hint)
    except ValueError:
        return True  # jsonargparse does not know such hints, and so does not check them
    try:
        parser.parse_string(yaml.serialize(yaml.MappingNode("tag:yaml.org,2002:map", [(key, node)]), Dumper=yaml.SafeDumper))
    except Exception:  # whatever a class's module raises on import is a refusal too
        return False
    return True


def describe(hint: Any) -> str:
    """Returns a type hint in words."""
    origin = get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(str(value) for value in get_args(hint))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(option) for option in get_args(hint)))
    if hint is Any:
        return "any value"
    if hint is type(None):
        return "null"
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return f"a mapping of names to {describe(get_args(hint)[1])}"
    if inspect.isclass(origin) and issubclass(origin, Iterable):
        return f"a list of {describe(get_args(hint)[0])}"
    if origin is not None:
        built = _builds(hint)
        return f"a class_path that builds {built.__name__}" if built is not object else "a class_path of a callable"
    if inspect.isclass(hint) and not issubclass(hint, _LEAVES):
        return f"the arguments of {hint.__name__}" if _is_closed(hint) else f"a class_path of {hint.__name__}"
    if inspect.isclass(hint) and issubclass(hint, Enum):
        return "one of " + ", ".join(hint.__members__)
    if inspect.isclass(hint) and hint.__module__ == "jsonargparse.typing":  # their docstrings say the range
        return (hint.__doc__ or hint.__name__).split("\n")[0]
    return str(getattr(hint, "__name__", hint))


def _options(hint: Any) -> Sequence[Any]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _literals(options: Iterable[Any]) -> list[str]:
    return [str(value) for option in options if get_origin(option) is Literal for value in get_args(option)]


def _fits_shape(hint: Any, node: yaml.Node, alone: bool) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    # A word without a dot names a class only where nothing but a class can stand.
    is_path = isinstance(node, yaml.ScalarNode) and node.tag.endswith(":str") and (alone or "." in node.value)
    is_spec = isinstance(node, yaml.MappingNode) or is_path
    if origin is Callable:
        return isinstance(arguments[0], list) and is_spec
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return isinstance(node, yaml.MappingNode)
    if inspect.isclass(origin) and issubclass(origin, Iterable):
        return isinstance(node, yaml.SequenceNode) and (len(arguments) == 1 or arguments[1] is ...)
    return inspect.isclass(hint) and not issubclass(hint, _LEAVES) and is_spec


def _is_closed(hint: Any) -> bool:
    # Such classes are written as their arguments alone, without a class_path.
    return inspect.isclass(hint) and (hasattr(hint, "__dataclass_fields__") or getattr(hint, "__final__", False))


def _is_arguments(node: yaml.MappingNode, hint: Any) -> bool:
    """Tells whether a mapping holds a class's arguments themselves: a concrete class may be written without a class_path."""
    names = {key.value for key, _ in pairs(node)}
    return not names & set(SPEC_KEYS) and (_is_closed(hint) or bool(names & parameters(hint)[0].keys()))


def _builds(hint: Any) -> type:
    """Returns the class that a callable makes; `object` where it makes a plain value, and so is itself what the class_path names."""
    result = get_args(hint)[-1]
    return result if inspect.isclass(result) and not issubclass(result, _LEAVES) else object


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


def _closest(node: yaml.Node, names: Iterable[str]) -> str:
    return near(str(node.value), names) if isinstance(node, yaml.ScalarNode) else ""
