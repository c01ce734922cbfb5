"""The table of converters: what is renamed, split, left out, and what is an error."""

import pytest
import torch

from kemm.convert.table import count, differences, modules, prefix_of, reshaped, split, translate, transposed

STATE = {
    "a.weight": torch.arange(6.0).reshape(2, 3),
    "a.bias": torch.arange(2.0),
    "qkv": torch.arange(6.0),
    "conv": torch.arange(4.0).reshape(2, 2, 1),
    "head": torch.arange(2.0),
    "steps": torch.zeros(1),
}
TABLE = modules({"a": "b"}) | {"qkv": split("q", "k", "v"), "conv": reshaped("dense", 2, 2)}


def test_translate() -> None:
    result, report = translate(STATE, TABLE, ignored=["step.?"], tied={"head": "a.bias"})
    assert result.keys() == {"b.weight", "b.bias", "q", "k", "v", "dense"}
    assert result["k"].tolist() == [2, 3]
    assert result["dense"].tolist() == [[0, 1], [2, 3]]
    assert report.reshaped == ["qkv", "conv"]
    assert report.ignored == ["head", "steps"]
    assert report.matched["qkv"].names == ("q", "k", "v")
    assert "4 matched, 2 of them reshaped, 2 ignored" in str(report)
    result["b.weight"].zero_()
    assert STATE["a.weight"].any()


def test_transposed() -> None:
    result, _ = translate({"a": STATE["a.weight"]}, {"a": transposed("b")})
    assert torch.equal(result["b"], STATE["a.weight"].T)


def test_unexpected_and_missing_keys_are_named() -> None:
    with pytest.raises(ValueError, match=r"missing \(1\): gone\n  unexpected \(2\): head, steps"):
        translate(STATE, TABLE | {"gone": "anywhere"})


def test_what_is_tied_must_be_equal() -> None:
    with pytest.raises(ValueError, match="'head' differs from 'qkv'"):
        translate(STATE, TABLE, ignored=["steps"], tied={"head": "qkv"})


def test_the_message_stays_short() -> None:
    message = differences({"missing": [f"key{i}" for i in range(50)], "unexpected": []}, "no")
    assert "missing (50)" in message
    assert "key11, …" in message
    assert "key12" not in message
    assert "unexpected" not in message


def test_count_and_prefix() -> None:
    state = {"x.layer.0.w": torch.zeros(1), "x.layer.11.w": torch.zeros(1)}
    assert count(state, r"x\.layer\.(\d+)\.") == 12
    assert count(state, r"y\.layer\.(\d+)\.") == 0
    assert prefix_of(state, "x.") == "x."
    assert prefix_of(state, "y.") == ""
