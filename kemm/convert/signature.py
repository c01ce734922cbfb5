"""How a system is recognised by the keys of its checkpoints; each states its own beside its converter, as `SIGNATURE`."""

import re
from argparse import Namespace
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

Settings = Mapping[str, Any]
"""What a file of settings says that is published with the weights: a config.json, or the arguments of fairseq's command."""

Options = dict[str, Any]
"""Arguments of a converter."""


def nothing(settings: Settings) -> Options:
    """No settings are published with the weights, or none is needed."""
    return {}


class Signature(NamedTuple):
    """What tells the checkpoints of a system from all others, and what is known of them without asking.

    Attributes:
        needs: Regular expressions of whole keys; each is that of at least one key.
        lacks: Regular expressions of whole keys; no key is of one of them.
        told: The converter's arguments that published settings tell.
    """

    needs: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    told: Callable[[Settings], Options] = nothing

    def fits(self, keys: Collection[str]) -> bool:
        """Whether a checkpoint of these keys is one of this system."""

        def has(pattern: str) -> bool:
            return any(re.fullmatch(pattern, key) for key in keys)

        return all(map(has, self.needs)) and not any(map(has, self.lacks))


def places(options: Mapping[str, tuple[str, ...]]) -> Callable[[Settings], Options]:
    """What reads the converter's arguments from their places in the settings.

    Args:
        options: Argument -> its places, dots between the levels; the first that is there counts.
    """

    def told(settings: Settings) -> Options:
        return {name: found[0] for name, where in options.items() if (found := find(settings, where))}

    return told


def find(settings: Settings, where: tuple[str, ...]) -> tuple[Any, ...]:
    """The value at the first place that is there and not null, as a tuple of one; else none."""
    for place in where:
        value: Any = settings
        for name in place.split("."):
            value = vars(value) if isinstance(value, Namespace) else value
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            return (value,)
    return ()
