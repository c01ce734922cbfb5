"""The strict reader: everything that YAML readers let pass in silence is one message with its place."""

import time
from pathlib import Path

import pytest

from kemm import config

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9))

WRONG = {
    "duplicate key": (b"model:\n  dim: 1\n  dim: 2\n", "3:3: the key 'dim' is repeated, expected it once (first at line 2)"),
    "duplicate key in a flow": (b"model: {dim: 1, dim: 2}\n", "1:17: the key 'dim' is repeated"),
    "tab": (b"model:\n\tdim: 1\n", "2:1: the line is indented by a tab, expected spaces"),
    "not UTF-8": (b"model:\n  name: caf\xe9\n", "2:12: the byte 0xe9 is not UTF-8, expected UTF-8 text"),
    "UTF-16": ("model: 1\n".encode("utf-16"), "1:1: the byte 0xff is not UTF-8"),
    "NUL": (b"model: a\0b\n", "1:9: the character U+0000 is not allowed"),
    "escaped NUL": (b'model: "a\\0b"\n', "1:8: the text holds a NUL character"),
    "unclosed list": (b"model: [1, 2\ndata: 3\n", "2:5: at 'data: 3': expected ',' or ']'"),
    "wrong indentation": (b"model:\n    a: 1\n  b: 2\n", "3:3: at 'b: 2': expected key"),
    "unknown alias": (b"model: *d\n", "1:8: at 'model: *d': found undefined alias"),
    "own alias": (b"model: &a [*a]\n", "1:8: the anchor contains its own alias"),
    "alias bomb": (BOMB.encode(), ": the aliases expand to"),
    "too deep": (b"model: " + b"[" * 5000, "1:71: values are nested deeper than 64"),
    "too many": (b"model: [" + b"1," * 200_000 + b"]", ": there are more than 50,000 values"),
    "too large": (b"#" * (config.MAX_BYTES + 1), ": the file is larger than 1048576 bytes"),
    "tag": (b"model: !!python/object/apply:os.system [ls]\n", "1:8: the tag 'tag:yaml.org,2002:python/object/apply:os.system' is not"),
    "two documents": (b"model: 1\n---\ndata: 2\n", "2:1: at '---': found another document, expected a single document in the stream"),
    "list as a key": (b"? [a, b]\n: 1\n", "1:3: a list of 2 is used as a key, expected a name"),
    "wrong merge": (b"model: {<<: 3}\n", "1:13: '<<' is given int '3', expected a mapping"),
    "empty": (b"# nothing\n", "1:1: the file is empty, expected the keys model, data and trainer"),
    "list": (b"- model\n", "1:1: a list of 1, expected the keys model, data and trainer"),
    "scalar": (b"model\n", "1:1: str 'model', expected the keys model, data and trainer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_refuses(name: str, tmp_path: Path) -> None:
    content, message = WRONG[name]
    path = tmp_path / "x.yaml"
    path.write_bytes(content)
    start = time.perf_counter()
    with pytest.raises(config.ConfigError) as caught:
        config.read(path)
    assert time.perf_counter() - start < 3
    lines = str(caught.value).split("\n")
    assert lines[0].startswith(f"{path}:")
    assert message in lines[0]


def test_lists_all_repeated_keys(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: {x: 1, x: 2}\nb: {y: 1, y: 2}\n")
    with pytest.raises(config.ConfigError) as caught:
        config.read(path)
    assert [line.split(":")[1] for line in str(caught.value).split("\n")] == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "message"), [("none.yaml", "no such file"), (".", "this is not a file"), ("a\0b", "expected a YAML config")]
)
def test_refuses_what_is_no_file(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match=message):
        config.read(tmp_path / name)


def test_reads_anchors_merges_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbfbase: &b {dim: 1, depth: 2}\nmodel: {<<: *b, depth: 3}\nlist: [&x 1, *x]\n")
    root = config.read(path)
    model = {key.value: value for key, value in config.pairs(root)}["model"]
    assert {key.value: value.value for key, value in config.pairs(model)} == {"dim": "1", "depth": "3"}
