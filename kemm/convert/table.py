"""What converters share: a table from the keys of a published checkpoint to the names of a learner, and a report of what was done."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

State = dict[str, Tensor]


class Target(NamedTuple):
    """Where a tensor goes, if not as it is to one name.

    Attributes:
        names: The names of its parts.
        change: The parts of a tensor; linear, so that gradients are changed by it as weights are.
    """

    names: tuple[str, ...]
    change: Callable[[Tensor], Sequence[Tensor]]


Table = dict[str, str | Target]
"""Key of the checkpoint -> name in the learner, or what else becomes of it."""


def split(*names: str) -> Target:
    """Equal parts along the first dimension (query, key and value in one matrix)."""
    return Target(names, lambda t: t.chunk(len(names)))


def transposed(name: str) -> Target:
    """The transposed matrix."""
    return Target((name,), lambda t: (t.T,))


def reshaped(name: str, *shape: int) -> Target:
    """The same numbers in another shape."""
    return Target((name,), lambda t: (t.reshape(shape),))


def modules(names: Mapping[str, str], old: str = "", new: str = "", parts: Sequence[str] = ("weight", "bias")) -> Table:
    """The table of modules' parameters.

    Args:
        names: Module of the checkpoint -> module of the learner.
        old: What precedes the former, with its dot.
        new: What precedes the latter, with its dot.
        parts: The parameters of each module.
    """
    return {f"{old}{source}.{part}": f"{new}{target}.{part}" for source, target in names.items() for part in parts}


@dataclass
class Report:
    """What a converter did.

    Attributes:
        matched: Key -> the target that its tensor went to, changed or not.
        reshaped: The keys whose tensors were changed.
        ignored: The keys that were left out, since nothing reads them or since they are tied to others.
        system: The system that the checkpoint was recognised as.
        assumed: Argument of the converter -> its default, where neither the keys nor settings beside them told it.
    """

    matched: dict[str, Target] = field(default_factory=dict)
    reshaped: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    system: str = ""
    assumed: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{len(self.matched)} matched, {len(self.reshaped)} of them reshaped, {len(self.ignored)} ignored"


class Converted(NamedTuple):
    """A published checkpoint as kemm's.

    Attributes:
        state: Name in the learner (`network.…`, `objectives.…`) -> tensor.
        config: What builds that learner, as in a config file: `{"network": …, "objectives": …}`.
        report: What became of each key.
    """

    state: State
    config: dict[str, Any]
    report: Report


def translate(
    state: Mapping[str, Tensor], table: Mapping[str, str | Target], ignored: Iterable[str] = (), tied: Mapping[str, str] | None = None
) -> tuple[State, Report]:
    """The state dict that a table makes of another.

    Args:
        state: The checkpoint.
        table: What becomes of each of its tensors.
        ignored: Regular expressions of keys that may be there, and are left out.
        tied: Key -> the key that it repeats; it may be there, is left out, and must be equal.

    Raises:
        ValueError: A key is neither in the table nor ignored, or one of the table is not there; all such keys are named.
    """
    tied = tied or {}
    result: State = {}
    report = Report()
    unexpected = []
    for key, tensor in state.items():
        if key in table:
            goal = table[key]
            target = goal if isinstance(goal, Target) else Target((goal,), lambda t: (t,))
            report.matched[key] = target
            report.reshaped += [key] if isinstance(goal, Target) else []
            result.update(
                zip(target.names, (part.clone(memory_format=torch.contiguous_format) for part in target.change(tensor)), strict=True)
            )
        elif key in tied:
            if tied[key] in state and not torch.equal(tensor, state[tied[key]]):
                raise ValueError(f"{key!r} differs from {tied[key]!r}, and kemm has one tensor for both")
            report.ignored.append(key)
        elif any(re.fullmatch(pattern, key) for pattern in ignored):
            report.ignored.append(key)
        else:
            unexpected.append(key)
    missing = [key for key in table if key not in state]
    if unexpected or missing:
        raise ValueError(differences({"missing": missing, "unexpected": unexpected}, "the checkpoint is none of this converter's"))
    return result, report


def differences(kinds: Mapping[str, Sequence[str]], what: str) -> str:
    """One message that names the keys of each kind of difference, the first twelve of each."""
    parts = [f"{kind} ({len(keys)}): {', '.join(keys[:12])}{', …' if len(keys) > 12 else ''}" for kind, keys in kinds.items() if keys]
    return "\n  ".join([f"{what}:", *parts])


def count(state: Mapping[str, Tensor], pattern: str) -> int:
    """One more than the highest number that the group of a regular expression finds among the keys; 0 if there is none."""
    found = (re.match(pattern, key) for key in state)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def prefix_of(state: Mapping[str, Tensor], prefix: str) -> str:
    """The prefix if any key begins with it, else ""."""
    return prefix if any(key.startswith(prefix) for key in state) else ""


def strip(state: Mapping[str, Tensor], prefix: str) -> State:
    """The tensors without a prefix of their keys, where they have it."""
    return {key.removeprefix(prefix): tensor for key, tensor in state.items()}
