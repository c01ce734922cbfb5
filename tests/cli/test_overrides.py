"""Dotted options put into a config's tree."""

import pytest
import yaml

from kemm.config import pairs
from kemm.overrides import overrides, with_overrides


def plain(node: yaml.Node) -> object:
    """Turns a tree of nodes into plain values."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: plain(value) for key, value in pairs(node)}
    return [plain(item) for item in node.value] if isinstance(node, yaml.SequenceNode) else node.value


def test_reads_both_spellings_and_leaves_other_options_out() -> None:
    options = ["--config", "x.yaml", "--a.b=1", "--a.c", "2", "--print_config", "--d", "--e", "[1, 2]", "--f.help=X"]
    assert overrides(options) == [("a.b", "1"), ("a.c", "2"), ("d", ""), ("e", "[1, 2]")]


@pytest.mark.parametrize(
    ("dotted", "text", "expected"),
    [
        ("a.x", "5", {"a": {"x": "5"}, "e": {"class_path": "m.C", "init_args": {"k": "1"}}}),
        ("b.c.d", "5", {"a": {"x": "1"}, "e": {"class_path": "m.C", "init_args": {"k": "1"}}, "b": {"c": {"d": "5"}}}),
        ("e.k", "5", {"a": {"x": "1"}, "e": {"class_path": "m.C", "init_args": {"k": "5"}}}),
        ("e", "m.D", {"a": {"x": "1"}, "e": {"class_path": "m.D", "init_args": {"k": "1"}}}),
        ("a", "{y: 2}", {"a": {"y": "2"}, "e": {"class_path": "m.C", "init_args": {"k": "1"}}}),
        ("a.x", "[1", {"a": {"x": "[1"}, "e": {"class_path": "m.C", "init_args": {"k": "1"}}}),
    ],
)
def test_puts_values_in(dotted: str, text: str, expected: object) -> None:
    root = yaml.compose("a: {x: 1}\ne: {class_path: m.C, init_args: {k: 1}}", Loader=yaml.SafeLoader)
    before = plain(root)
    assert plain(with_overrides(root, [(dotted, text)])) == expected
    assert plain(root) == before


def test_an_alias_is_changed_in_one_place_only() -> None:
    root = yaml.compose("a: &a {x: 1}\nb: *a", Loader=yaml.SafeLoader)
    assert plain(with_overrides(root, [("b.x", "2")])) == {"a": {"x": "1"}, "b": {"x": "2"}}
