"""Reading a config file strictly, before anything heavy is imported.

YAML readers let much pass in silence: a repeated key drops the first value, a few nested aliases expand to billions of nodes, tags call
constructors. Here each of these is one message with file, line and column. The result is a tree of PyYAML nodes: unlike plain dicts they
know the line of every key, which `kemm.config_errors` needs.
"""

from collections.abc import Iterator
from pathlib import Path

import yaml

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_NODES = 50_000

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")}


class ConfigError(Exception):
    """Mistakes in a config, one line each, ready to be shown.

    Args:
        lines: one message per mistake, each with its place.
    """

    def __init__(self, lines: list[str]) -> None:
        super().__init__("\n".join(lines))


def read(path: Path) -> yaml.MappingNode:
    """Reads and checks a config file.

    Args:
        path: a UTF-8 YAML file of at most 1 MiB that holds one mapping.

    Returns:
        The mapping's node. Aliased nodes are shared, not copied.

    Raises:
        ConfigError: the file cannot be read, or is not such a file; the message names line and column.
    """
    text = _text(path)
    try:
        _check_size(path, text)
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_syntax_message(path, text, error)]) from error
    except yaml.reader.ReaderError as error:
        line, column = _line_column(text, error.position)
        code = error.character if isinstance(error.character, int) else ord(error.character)
        raise ConfigError([f"{path}:{line}:{column}: the character U+{code:04X} is not allowed, expected printable text"]) from error
    if root is None:
        raise ConfigError([f"{path}:1:1: the file is empty, expected the keys model, data and trainer"])
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError([f"{place(path, root)}: {given(root)}, expected the keys model, data and trainer"])
    problems = list(_problems(path, root))
    if problems:
        raise ConfigError(problems)
    return root


def pairs(node: yaml.MappingNode) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Yields the (key, value) nodes of a mapping, with merged mappings (`<<: *base`) spread out; own keys win over merged ones."""
    own = [(key, value) for key, value in node.value if key.tag != _MERGE]
    seen = {key.value for key, _ in own}
    yield from own
    for key, value in node.value:
        if key.tag == _MERGE:
            for base in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                for inherited, inner in pairs(base):
                    if inherited.value not in seen:
                        seen.add(inherited.value)
                        yield inherited, inner


def place(path: Path | str, node: yaml.Node) -> str:
    """Returns `file:line:column` of a node."""
    return f"{path}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def given(node: yaml.Node) -> str:
    """Returns what a node holds, in words: a short quotation for a scalar, its kind and size otherwise."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag.endswith(":null"):
            return "null"
        text = node.value if len(node.value) <= 60 else node.value[:57] + "..."
        return f"{node.tag.rpartition(':')[2]} {text!r}"
    if isinstance(node, yaml.MappingNode):
        names = [str(key.value) for key, _ in node.value[:4]]
        return f"a mapping with the keys {', '.join(names)}{', ...' if len(node.value) > 4 else ''}" if names else "an empty mapping"
    return f"a list of {len(node.value)}"


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise ConfigError([f"{path}: {'this is not a file' if path.exists() else 'no such file'}, expected a YAML config"])
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigError([f"{path}: cannot be read ({error}), expected a YAML config"]) from error
    if len(data) > MAX_BYTES:
        raise ConfigError([f"{path}: the file is larger than {MAX_BYTES} bytes, expected a config of at most that size"])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = _line_column(data[: error.start].decode("utf-8", errors="replace"), None)
        raise ConfigError([f"{path}:{line}:{column}: the byte 0x{data[error.start]:02x} is not UTF-8, expected UTF-8 text"]) from error


def _check_size(path: Path, text: str) -> None:
    # Nodes are composed by recursion, events are not: so depth and number are known before the stack and the time are spent.
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_LOADER)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH or count > 2 * MAX_NODES:
            what = f"values are nested deeper than {MAX_DEPTH}" if depth > MAX_DEPTH else f"there are more than {MAX_NODES:,} values"
            where = f"{event.start_mark.line + 1}:{event.start_mark.column + 1}" if event.start_mark else "1:1"
            raise ConfigError([f"{path}:{where}: {what}, expected at most that"])


def _problems(path: Path, root: yaml.Node) -> Iterator[str]:
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def visit(node: yaml.Node) -> Iterator[str]:
        if id(node) in open_nodes:
            yield f"{place(path, node)}: the anchor contains its own alias, expected a value that ends"
            return
        if id(node) in sizes:
            return
        sizes[id(node)] = 1
        if node.tag not in _TAGS:
            yield f"{place(path, node)}: the tag {node.tag!r} is not allowed, expected plain YAML values"
        if isinstance(node, yaml.ScalarNode):
            if "\0" in node.value:
                yield f"{place(path, node)}: the text holds a NUL character, expected printable text"
            return
        open_nodes.add(id(node))
        children: list[yaml.Node] = list(node.value)
        if isinstance(node, yaml.MappingNode):
            yield from _key_problems(path, node)
            children = [child for pair in node.value for child in pair]
        for child in children:
            yield from visit(child)
        open_nodes.discard(id(node))
        # Aliases are counted once per use, which is what a reader would expand them to.
        sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)

    found = list(visit(root))
    yield from found
    if not found and sizes[id(root)] > MAX_NODES:
        yield f"{path}: the aliases expand to {sizes[id(root)]:,} values, expected at most {MAX_NODES:,}"


def _key_problems(path: Path, node: yaml.MappingNode) -> Iterator[str]:
    first: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            yield f"{place(path, key)}: {given(key)} is used as a key, expected a name"
        elif key.tag == _MERGE:
            bases = value.value if isinstance(value, yaml.SequenceNode) else [value]
            if not all(isinstance(base, yaml.MappingNode) for base in bases):
                yield f"{place(path, value)}: '<<' is given {given(value)}, expected a mapping or a list of mappings"
        elif key.value in first:
            line = first[key.value].start_mark.line + 1
            yield f"{place(path, key)}: the key {key.value!r} is repeated, expected it once (first at line {line})"
        else:
            first[key.value] = key


def _syntax_message(path: Path, text: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"{path}: {error.problem}, expected YAML"
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: mark.column + 1] and not line[: mark.column].strip():
        return f"{path}:{mark.line + 1}:{line.index(chr(9)) + 1}: the line is indented by a tab, expected spaces"
    problem, context = error.problem or "this cannot be read", error.context or ""
    if problem.startswith("but "):  # PyYAML's sentence runs from the context on
        message = f"{problem.removeprefix('but ')}, {context}"
    elif problem.startswith("did not find expected"):
        message = problem.removeprefix("did not find ")
    else:
        message = f"{problem}, expected YAML"
    begun = f" ({context} at line {error.context_mark.line + 1})" if context.startswith("while") and error.context_mark else ""
    shown = line.strip()[:60]
    return f"{path}:{mark.line + 1}:{mark.column + 1}: {f'at {shown!r}: ' if shown else ''}{message}{begun}"


def _line_column(text: str, position: int | None) -> tuple[int, int]:
    before = text if position is None else text[:position]
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
