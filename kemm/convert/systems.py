"""The systems that have a converter, and which of them a checkpoint is of."""

import importlib
import inspect
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence

from kemm.convert.signature import Signature
from kemm.convert.table import Converted

SYSTEMS = (
    "albef",
    "bert",
    "coca",
    "colake",
    "distilbert",
    "ernie",
    "gpt2",
    "kadapter",
    "kbert",
    "kepler",
    "knowbert",
    "luke",
    "modernbert",
    "roberta",
    "tucker",
    "vilbert",
    "visualbert",
)
"""The modules of this package that hold a converter of their name, and its `SIGNATURE`."""


def converter_of(system: str) -> Callable[..., Converted]:
    """The converter of a system.

    Raises:
        ValueError: There is none of this name.
    """
    if system not in SYSTEMS:
        raise ValueError(f"the system is {system!r}, expected one of {list(SYSTEMS)}")
    converter: Callable[..., Converted] = getattr(importlib.import_module(f"kemm.convert.{system}"), system)
    return converter


def arguments_of(system: str) -> dict[str, inspect.Parameter]:
    """The arguments of a system's converter, the checkpoint apart."""
    return dict(list(inspect.signature(converter_of(system)).parameters.items())[1:])


def signature_of(system: str) -> Signature:
    """How a system is recognised."""
    signature: Signature = importlib.import_module(f"kemm.convert.{system}").SIGNATURE
    return signature


def candidates(keys: Collection[str]) -> list[str]:
    """The systems that a checkpoint of these keys may be of."""
    return [system for system in SYSTEMS if signature_of(system).fits(keys)]


def recognise(keys: Collection[str], among: Sequence[str] = SYSTEMS) -> str:
    """The system that a checkpoint is of.

    Args:
        keys: Its keys.
        among: The systems that come into question, where something else than the keys tells.

    Raises:
        ValueError: The keys are of no such system, or of several; the message names the keys, or the systems.
    """
    possible = candidates(keys)
    fitting = [system for system in possible if system in among]
    if not possible:
        raise ValueError(f"no system is known by these keys ({len(keys)}): {shown(keys)}")
    if not fitting:
        raise ValueError(f"the settings are of {' or '.join(among)}, and the keys of {' or '.join(possible)}")
    if len(fitting) > 1:
        raise ValueError(f"the keys are those of {' and of '.join(fitting)}; name one of them as the system (--system {fitting[0]})")
    return fitting[0]


def shown(keys: Iterable[str], most: int = 12) -> str:
    """Keys in a line, those that differ in numbers together, and no more than so many."""
    counts = Counter(map(starred, keys))
    parts = [key if number == 1 else f"{key} ({number})" for key, number in counts.items()]
    return ", ".join(parts[:most]) + (", …" if len(parts) > most else "")


def starred(key: str) -> str:
    """A key with a star for each level that is a number."""
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", key)
