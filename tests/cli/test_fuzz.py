"""Two hundred configs, each with something broken in it: a message or a start, never a traceback."""

import random
from pathlib import Path

import pytest
from pytorch_lightning import Trainer

from tests.cli.conftest import GOOD, Call

VALUES = [
    "null",
    "[]",
    "{}",
    "-1",
    "1e400",
    ".nan",
    "yes",
    "''",
    '"\\0"',
    "*d",
    "&d 3",
    "os.system",
    "torch.nn",
    "!!set {a}",
    "{a: [b]}",
    "~",
]


def mutate(text: str, draw: random.Random) -> bytes:
    """Breaks a config in one to three ways, in its characters, its values or its lines."""
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(text))
        lines = text.splitlines()
        line = draw.randrange(len(lines))
        match draw.randrange(6):
            case 0:
                text = text[:at] + text[at + draw.randint(1, 4) :]
            case 1:
                text = text[:at] + draw.choice("\t\0:{}[]&*!|>'\"%@`#,-?\x07é\n ") + text[at:]
            case 2:
                words = [word for word in text.replace(",", " ").replace("}", " ").split() if len(word) > 1]
                text = text.replace(draw.choice(words), draw.choice(VALUES), 1)
            case 3:
                lines.insert(line, lines[draw.randrange(len(lines))])
                text = "\n".join(lines)
            case 4:
                del lines[line]
                text = "\n".join(lines)
            case _:
                other = draw.randrange(len(text))
                text = text[:at] + text[other : other + draw.randint(1, 30)] + text[at:]
        text = text or "x"
    data = bytearray(text.encode())
    if draw.random() < 0.1:
        data[draw.randrange(len(data))] = draw.randrange(256)
    return bytes(data)


@pytest.mark.timeout(120)
def test_broken_configs_give_messages(config: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "fit", lambda *arguments, **options: None)
    draw = random.Random(0)
    statuses = []
    for _ in range(200):
        data = mutate(GOOD, draw)
        config.write_bytes(data)
        status, errors = call("--config", config)
        statuses.append(status)
        assert (status == 0) == (not errors), (data, errors)
        assert all(error.startswith("error: ") and len(error) < 1000 for error in errors), (data, errors)
        assert len(errors) < 40, (data, errors)
    assert statuses.count(2) > 100
