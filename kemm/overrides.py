"""Dotted options of the command line (`--trainer.max_steps 5`), put into a config's tree so that their mistakes are found there."""

from collections.abc import Iterable, Sequence

import yaml

from kemm.config import pairs

COMMAND_LINE = -1
SPEC_KEYS = ("class_path", "init_args", "dict_kwargs")

# Such a line number stands for the command line in the place of a node.
_MARK = yaml.Mark("command line", 0, COMMAND_LINE, COMMAND_LINE, "", 0)


def overrides(options: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the (dotted key, text) pairs of a command line, without the config itself and jsonargparse's own options."""
    found: list[tuple[str, str]] = []
    rest = list(options)
    while rest:
        option = rest.pop(0)
        name, equals, text = option.removeprefix("--").partition("=")
        if not option.startswith("--") or name == "print_config" or name.endswith("help"):
            continue
        if not equals:
            text = rest.pop(0) if rest and not rest[0].startswith("--") else ""
        if name != "config" and not name.endswith("+"):
            found.append((name, text))
    return found


def with_overrides(root: yaml.MappingNode, overrides: Iterable[tuple[str, str]]) -> yaml.MappingNode:
    """Returns the tree with dotted options of the command line put in; their nodes have the command line as their place.

    Args:
        root: the config's tree, left as it is.
        overrides: (dotted key, YAML text) pairs.
    """
    for dotted, text in overrides:
        root = _put(root, dotted.split("."), text)
    return root


def _put(node: yaml.MappingNode, names: list[str], text: str) -> yaml.MappingNode:
    name, rest = names[0], names[1:]
    content = list(pairs(node))
    index = next((i for i, (key, _) in enumerate(content) if key.value == name), None)
    old = None if index is None else content[index][1]
    if index is None and name not in SPEC_KEYS and "class_path" in _names(node):
        return _put(node, ["init_args", *names], text)  # the command line may leave `init_args` out
    if rest:
        new: yaml.Node = _put(old if isinstance(old, yaml.MappingNode) else _empty(), rest, text)
    else:
        new = _option_node(text)
        if isinstance(old, yaml.MappingNode) and isinstance(new, yaml.ScalarNode) and "class_path" in _names(old):
            new = _put(old, ["class_path"], text)
    if index is None:
        content.append((_key(name), new))
    else:
        content[index] = (content[index][0] if rest else _key(name), new)
    return yaml.MappingNode(node.tag, content, node.start_mark, node.end_mark)


def _names(node: yaml.MappingNode) -> set[str]:
    return {str(key.value) for key, _ in pairs(node)}


def _empty() -> yaml.MappingNode:
    return yaml.MappingNode("tag:yaml.org,2002:map", [], _MARK, _MARK)


def _key(name: str) -> yaml.ScalarNode:
    return yaml.ScalarNode("tag:yaml.org,2002:str", name, _MARK, _MARK)


def _option_node(text: str) -> yaml.Node:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        node = None
    node = node or _key(text)
    node.start_mark = _MARK
    return node
