"""What a converter gathers while it reads the keys: the config of a learner, and the table of its parameters."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from kemm.convert.table import Converted, Table, translate


class Plan:
    """A learner in the making: each part that is added answers with what precedes the names of its parameters.

    Attributes:
        table: The table; converters add to it.
    """

    def __init__(self) -> None:
        self.encoders: dict[str, Any] = {}
        self.fusions: list[dict[str, Any]] = []
        self.objectives: dict[str, Any] = {}
        self.options: dict[str, Any] = {}
        self.table: Table = {}

    def encode(self, name: str, kind: str, arguments: Mapping[str, Any]) -> str:
        """Adds an encoder of a class of `kemm.encoders`."""
        self.encoders[name] = instance(f"kemm.encoders.{kind}", arguments)
        return f"network.encoders.{name}."

    def fuse(self, at: Mapping[str, int | str], kind: str, arguments: Mapping[str, Any]) -> str:
        """Adds a fusion of a class of `kemm.fusion`, to run after those that are there."""
        self.fusions.append({"at": dict(at), "fusion": instance(f"kemm.fusion.{kind}", arguments)})
        return f"network.fusions.{len(self.fusions) - 1}."

    def aim(self, name: str, kind: str, arguments: Mapping[str, Any]) -> str:
        """Adds an objective of a class of `kemm.objectives`."""
        self.objectives[name] = instance(f"kemm.objectives.{kind}", arguments)
        return f"objectives.{name}."

    def untie(self, name: str, state: Mapping[str, Tensor], key: str, words: str) -> None:
        """Gives an objective a decoder of its own, where the checkpoint's is not its word table.

        Args:
            name: The objective.
            state: The checkpoint.
            key: Its decoder, which may be absent.
            words: Its word table.
        """
        if key in state and not torch.equal(state[key], state[words]):
            self.objectives[name]["init_args"]["tied"] = False
            self.table[key] = f"objectives.{name}.decoder.weight"

    def convert(self, state: Mapping[str, Tensor], ignored: Iterable[str] = (), tied: Mapping[str, str] | None = None) -> Converted:
        """The checkpoint as the planned learner's; see `translate`."""
        result, report = translate(state, self.table, ignored, tied)
        network = {"encoders": self.encoders, "fusions": self.fusions}
        return Converted(result, {"network": network, "objectives": self.objectives} | self.options, report)


def instance(kind: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An object of a class, as a config writes it."""
    return {"class_path": kind, "init_args": dict(arguments or {})}


def norm_of(eps: float, **further: object) -> dict[str, Any]:
    """A layer norm with this epsilon."""
    return instance("torch.nn.LayerNorm", {"eps": eps, **further})


def activation_named(name: str) -> str:
    """The function that transformers calls by a name.

    Raises:
        ValueError: The name is none that is known here.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"the activation is {name!r}, expected one of {sorted(ACTIVATIONS)}")
    return ACTIVATIONS[name]


ACTIVATIONS = {
    "gelu": "torch.nn.functional.gelu",
    "gelu_python": "torch.nn.functional.gelu",
    "gelu_new": "kemm.nn.gelu_tanh",
    "gelu_fast": "kemm.nn.gelu_tanh",
    "gelu_pytorch_tanh": "kemm.nn.gelu_tanh",
    "quick_gelu": "kemm.nn.quick_gelu",
    "relu": "torch.nn.functional.relu",
    "silu": "torch.nn.functional.silu",
    "swish": "torch.nn.functional.silu",
}
"""Name in a config.json -> function."""
