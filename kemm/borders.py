"""The border between data and learner: what a source holds must fit what reads it, which is found out before the first step."""

from collections.abc import Mapping
from itertools import zip_longest

from kemm.data.source import Reach
from kemm.kg import Answers, Labels
from kemm.learner import Learner
from kemm.objectives import Objective


def check_reach(learner: Learner, who: str, reaches: Mapping[str, Reach]) -> None:
    """Refuses a source whose ids go beyond a table or a vocabulary.

    Args:
        learner: What is to read the source.
        who: What the message calls the source.
        reaches: See `Source.reaches`.

    Raises:
        ValueError: They do.
    """
    network = learner.network
    limits = [
        (f"{name}.{entry}", limit, f"network.encoders.{encoder}")
        for name, encoder in network.inputs.items()
        for entry, limit in network.encoder(name).limits.items()
    ]
    for name, objective in learner.objectives.items():
        assert isinstance(objective, Objective)
        limits += [(entry, limit, f"objectives.{name}") for entry, limit in objective.limits(network).items()]
    for entry, limit, reader in limits:
        if entry in reaches and reaches[entry].size > limit:
            size, of = reaches[entry]
            raise ValueError(f"{who}: {entry} reaches {size} ({of}), but model.{reader} ends at {limit}")


def check_lists(learner: Learner, who: str, lists: Mapping[str, Answers | Labels]) -> None:
    """Refuses a source that counts in another closed list than the objective that reads it.

    Args:
        learner: What is to read the source.
        who: What the message calls the source.
        lists: See `Source.lists`.

    Raises:
        ValueError: It does.
    """
    for name, objective in learner.objectives.items():
        assert isinstance(objective, Objective)
        for entry, own in objective.lists.items():
            given = lists.get(entry, own)
            if given.names == own.names:
                continue
            pairs = enumerate(zip_longest(given.names, own.names), start=1)
            number, (theirs, ours) = next(pair for pair in pairs if pair[1][0] != pair[1][1])
            raise ValueError(
                f"{who}: {entry} counts in the {len(given)} entries of {given.path}, but model.objectives.{name} in the {len(own)} of "
                f"{own.path}, expected the same: entry {number} is {theirs!r} there and {ours!r} here"
            )
