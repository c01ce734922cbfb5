"""Checkpoints as files."""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from kemm.convert.table import State


def read_state(path: Path | str) -> State:
    """The tensors of a checkpoint: safetensors, or a pickle of tensors alone (a `state_dict` or `model` inside is opened).

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
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # fairseq keeps the arguments of its command beside the tensors
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises five kinds here, depending on where the file is cut
        detail = str(error).strip().split("\n")[0] or type(error).__name__
        kind = "a safetensors file" if path.suffix == ".safetensors" else "a pickle of tensors alone"
        raise ValueError(f"{path}: cannot be read as a checkpoint ({detail}), expected {kind}") from None
    for inner in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(inner), dict):
            state = state[inner]
    named = {key: value for key, value in state.items() if isinstance(value, Tensor)} if isinstance(state, dict) else {}
    if not named:
        raise ValueError(f"{path}: expected a dict of named tensors, found a {type(state).__name__} without any")
    return named
