"""What a converter gathers while it reads the keys: the config of a learner, and the table of its parameters."""

from collections.abc import Iterable, Mapping
from typing import Any

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

    def convert(self, state: Mapping[str, Tensor], ignored: Iterable[str] = (), tied: Mapping[str, str] | None = None) -> Converted:
        """The checkpoint as the planned learner's; see `translate`."""
        result, report = translate(state, self.table, ignored, tied)
        network = {"encoders": self.encoders, "fusions": self.fusions}
        return Converted(result, {"network": network, "objectives": self.objectives} | self.options, report)


def instance(kind: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An object of a class, as a config writes it."""
    return {"class_path": kind, "init_args": dict(arguments or {})}
