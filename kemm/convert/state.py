"""Checkpoints as files."""

import argparse
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from kemm.convert.signature import Settings
from kemm.convert.table import State


class Meter:
    """In the place of a running mean of fairseq, which nothing here reads."""


SAFE: list[Any] = [argparse.Namespace, *((Meter, f"fairseq.meters.{name}") for name in ("AverageMeter", "StopwatchMeter", "TimeMeter"))]
"""The classes that a pickle may hold beside tensors and plain values: what fairseq keeps of its command and its training."""


def read_state(path: Path | str) -> State:
    """The tensors of a checkpoint; see `read_file`."""
    return read_file(path)[0]


def read_file(path: Path | str) -> tuple[State, Settings]:
    """The tensors of a checkpoint: safetensors, or a pickle of tensors alone (a `state_dict` or `model` inside is opened); and the
    arguments of fairseq's command (`args`, `cfg`) where it keeps them.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, or holds something else than named tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    try:
        if path.suffix == ".safetensors":
            return load_file(path), {}
        with torch.serialization.safe_globals(SAFE):
            whole = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises five kinds here, depending on where the file is cut
        foreign = re.search(r"Unsupported (?:global|class|operand).*?([\w.]+\.\w+)", str(error))
        detail = f"it holds a {foreign[1]}" if foreign else str(error).strip().split("\n")[0] or type(error).__name__
        kind = "a safetensors file" if path.suffix == ".safetensors" else "a pickle of tensors alone"
        raise ValueError(f"{path}: cannot be read as a checkpoint ({detail}), expected {kind}") from None
    state, settings = whole, {}
    if isinstance(whole, dict):
        settings = {name: whole[name] for name in ("args", "cfg") if not isinstance(whole.get(name), Tensor | None)}
    for inner in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(inner), dict):
            state = state[inner]
    named = {key: value for key, value in state.items() if isinstance(value, Tensor)} if isinstance(state, dict) else {}
    if not named:
        raise ValueError(f"{path}: expected a dict of named tensors, found a {type(state).__name__} without any")
    return named, settings
