"""FewRel's file as episodes: what is drawn, what is marked, what is refused."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kemm.data import Episodes, train_tokenizer
from kemm.data.source import EVALUATION

RELATIONS = {f"P{number}": 6 + number for number in range(8)}


def example(relation: str, number: int) -> dict[str, Any]:
    tokens = ["Once", relation, f"head{number}", "town", "lies", "at", f"tail{number}", " ", "."]
    return {"tokens": tokens, "h": [f"head{number} town", "Q1", [[2, 3], [0]]], "t": [f"tail{number}", "Q2", [[6]]]}


def write(folder: Path) -> dict[str, Path]:
    content = {name: [example(name, number) for number in range(count)] for name, count in RELATIONS.items()}
    (folder / "fewrel.json").write_text(json.dumps(content))
    texts = [" ".join(row["tokens"]) for rows in content.values() for row in rows]
    train_tokenizer([*texts, "# $"], folder / "tokenizer.json", 300)
    return {"path": folder / "fewrel.json", "tokenizer": folder / "tokenizer.json"}


def test_an_episode_is_as_the_protocol_says(tmp_path: Path) -> None:
    source = Episodes(**write(tmp_path), ways=3, shots=2, queries=2, none_rate=1.5, episodes=50)  # type: ignore[arg-type]
    used: Counter[str] = Counter()
    for row in range(50):
        episode = source.episode(row, 0)
        ways = [way for _, way in episode]
        assert ways == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2, 3, 3, 3]
        told = [re.findall(r"P\d", sample.text)[0] for sample, _ in episode]
        names = [told[way * 2] for way in range(3)]
        assert len(set(names)) == 3
        assert all(name == names[way] if way < 3 else name not in names for name, way in zip(told, ways, strict=True))
        assert len({sample.text for sample, way in episode if way < 3}) == 12, "a query is none of the examples"
        used.update(names)
    assert set(used) == set(RELATIONS)
    assert source.episode(3, 0) == source.episode(3, 0) != source.episode(3, 1)
    assert source.episode(3, EVALUATION) != source.episode(4, EVALUATION)


def test_the_batch(tmp_path: Path) -> None:
    source = Episodes(**write(tmp_path), ways=2, shots=1, queries=1, none_rate=1.0, episodes=9)  # type: ignore[arg-type]
    batch = source.batch([4, 7], EVALUATION)
    assert batch["id"].tolist() == [20, 21, 22, 23, 24, 35, 36, 37, 38, 39]
    assert batch["episode"].tolist() == [0] * 5 + [1] * 5
    assert batch["way"].tolist() == [0, 1, 0, 1, 2] * 2
    assert batch["query"].tolist() == [False, False, True, True, True] * 2
    for row, (sample, _) in enumerate([*source.episode(4, EVALUATION), *source.episode(7, EVALUATION)]):
        number = re.findall(r"head(\d+)", sample.text)[0]
        relation = re.findall(r"P\d", sample.text)[0]
        assert sample.text.split() == ["Once", relation, "#", f"head{number}", "town", "#", "lies", "at", "$", f"tail{number}", "$", "."]
        marks = [source.reader.tokenizer.id_to_token(int(batch["text"]["ids"][row, place])) for place in batch["places"][row]]
        assert marks == ["#", "$"]


def test_what_is_cut_off_is_read_at_the_first_token(tmp_path: Path) -> None:
    source = Episodes(**write(tmp_path), ways=2, max_length=5)  # type: ignore[arg-type]
    assert (source.batch([0], 0)["places"][:, 1] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": [1, 2]}, "'tokens' is .*expected a list of words"),
        ({"tokens": []}, "'tokens' is .*expected a list of words"),
        ({"h": ["x", "Q1", [[2, 9]]]}, "'h' is .*with tokens below 9"),
        ({"t": ["x", "Q1", []]}, "'t' is .*with tokens below 9"),
        ({"t": ["x", "Q1"]}, "'t' is .*with tokens below 9"),
    ],
)
def test_bad_examples(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    files = write(tmp_path)
    content = json.loads(files["path"].read_text())
    content["P3"][2] |= change
    files["path"].write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"P3\[2\].*{message}"):
        Episodes(**files)  # type: ignore[arg-type]
    assert sum(Episodes(**files, on_bad="skip").skipped.values()) == 1  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["[]", "{", '{"P1": 3}'])
def test_other_files(tmp_path: Path, content: str) -> None:
    files = write(tmp_path)
    files["path"].write_text(content)
    with pytest.raises(ValueError, match="expected FewRel's JSON"):
        Episodes(**files)  # type: ignore[arg-type]


def test_too_few_relations_and_options_out_of_range(tmp_path: Path) -> None:
    files = write(tmp_path)
    with pytest.raises(ValueError, match=r"expected 8 relations and another with 2 examples or more, and there are 8"):
        Episodes(**files, ways=8, none_rate=1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected 5 relations with 12 examples or more, and there are 2"):
        Episodes(**files, shots=10, queries=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        Episodes(**files, shots=0)  # type: ignore[arg-type]
