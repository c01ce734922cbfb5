"""Networks and learners from configs, and weights from files: all that is needed to use a model without Lightning."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
import yaml
from jsonargparse import ArgumentParser
from torch import Tensor, nn

from kemm.convert.loading import load
from kemm.convert.published import is_published, read_tensors
from kemm.convert.state import read_state
from kemm.convert.table import Converted, State, differences
from kemm.learner import Learner
from kemm.model import FusionModel

Built = TypeVar("Built")


def read_config(config: Path | str | Mapping[str, Any]) -> dict[str, Any]:
    """The model's part of a config, `{"network": …, "objectives": …}`.

    Args:
        config: A YAML file, or what it says; the model may stand under `model`, as in an experiment's file, or by itself.
    """
    if isinstance(config, Path | str):
        with open(config, encoding="utf-8") as file:
            config = yaml.safe_load(file)
    if not isinstance(config, Mapping):
        raise ValueError(f"a config is a mapping with 'network', and this is a {type(config).__name__}")
    model = config.get("model", config)
    if "network" not in model:
        raise ValueError(f"a config needs 'network', this one has {sorted(model)}")
    return dict(model)


def network_from_config(config: Path | str | Mapping[str, Any]) -> FusionModel:
    """The network that a config describes, with new weights.

    Args:
        config: See `read_config`.
    """
    return build(FusionModel, read_config(config)["network"])


def learner_from_config(config: Path | str | Mapping[str, Any]) -> Learner:
    """The learner that a config describes, with new weights; what is not the learner's (optimiser, schedule) is passed over.

    Args:
        config: See `read_config`.
    """
    own = {"network", "objectives", "weights", "momentum", "chunks", "seed"}
    return build(Learner, {"objectives": {}} | {name: value for name, value in read_config(config).items() if name in own})


def build(kind: type[Built], arguments: Mapping[str, Any]) -> Built:
    """An object from its constructor's arguments as a config gives them, `class_path` and `init_args` where a class is chosen.

    Args:
        kind: The class.
        arguments: Its arguments.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, "it", fail_untyped=False)
    return parser.instantiate(parser.parse_object({"it": dict(arguments)})).it


def load_state(module: nn.Module, state: Mapping[str, Tensor], into: str = "", source: str = "the checkpoint") -> None:
    """Puts tensors into a module: all that it has under a name, and nothing else.

    Args:
        module: A learner, usually.
        state: Name -> tensor.
        into: The beginning of the names that are filled, such as `network.encoders.text`; tensors of other names are left aside.
        source: What the message of an error calls the state.

    Raises:
        ValueError: Names are missing, unexpected, or of another shape; each is named.
    """

    def inside(name: str) -> bool:
        return not into or name == into or name.startswith(f"{into}.")

    own = {name: tensor for name, tensor in module.state_dict().items() if inside(name) and name != "step"}
    given = {name: tensor for name, tensor in state.items() if inside(name) and name != "step"}
    if into and not own:
        raise ValueError(f"there is nothing under {into!r} to load into")
    both = own.keys() & given.keys()
    shapes = [
        f"{name} {tuple(given[name].shape)} for {tuple(own[name].shape)}"
        for name in own
        if name in both and given[name].shape != own[name].shape
    ]
    kinds = {
        "missing": [name for name in own if name not in given],
        "unexpected": [name for name in given if name not in own],
        "of another shape": shapes,
    }
    if any(kinds.values()):
        raise ValueError(differences(kinds, f"{source} is of another architecture{f' than {into}' if into else ''}"))
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(given[name])


class Pretrained:
    """Weights of a file as the beginning of a learner, or of a part of it.

    Args:
        into: The part: the beginning of its names, such as `network` or `network.encoders.text`; "" for everything.
        path: A file; or a folder as published (config.json, weights), an archive of one, or `hub:google-bert/bert-base-uncased`.
        convert: A converter of `kemm.convert`, for a published checkpoint; None for a file with kemm's own names, and where a
            config.json tells.
    """

    def __init__(self, into: str, path: Path, convert: Callable[[State], Converted] | None = None) -> None:
        self.into, self.path, self.convert = into, path, convert

    def load(self, learner: nn.Module) -> None:
        """Loads the weights; a teacher that the checkpoint does not hold begins as the student.

        Args:
            learner: The learner that they are for.

        Raises:
            ValueError: The checkpoint is of another architecture; its names and the learner's are compared in the message.
        """
        state = self._read()
        taught = [name for name in learner.state_dict() if name.startswith("teacher.")]
        if not any(name.startswith("teacher.") for name in state):
            students = {name: name.removeprefix("teacher.") for name in taught}
            state |= {name: state[student] for name, student in students.items() if student in state}
        load_state(learner, state, self.into, str(self.path))
        if self.into and any(name.startswith(f"teacher.{self.into}.") for name in taught):
            load_state(learner, state, f"teacher.{self.into}", str(self.path))

    def _read(self) -> State:
        """The tensors by kemm's names."""
        try:
            if self.convert is not None:
                return self.convert(read_tensors(self.path)).state
            if is_published(self.path):
                return load(self.path).state
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error
        return {name.removeprefix("learner."): tensor for name, tensor in read_state(self.path).items()}
