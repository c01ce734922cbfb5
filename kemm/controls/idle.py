"""Sources that nothing trains on any more, since a control took away the objectives that did."""

from argparse import ArgumentError
from typing import Any

from kemm.batch import Batch
from kemm.checkpoint import build, learner_from_config
from kemm.controls.tree import Tree, copied, kind
from kemm.data import Mixture
from kemm.data.prepare import Preparation
from kemm.data.source import EVALUATION
from kemm.learner import Learner


def idle_sources(tree: Tree) -> list[str]:
    """The sources of a mixture whose batches no objective wants; a step on one of them would end a run.

    What a batch holds is known to its source alone, so sources and objectives are built, and a sample of each is looked at.

    Args:
        tree: The config. Its steps of `prepare` are run.
    """
    tree = copied(tree)  # jsonargparse changes what it is given
    data = tree.get("data")
    if not isinstance(data, dict) or not issubclass(kind(data), Mixture):
        return []
    try:
        for step in build(_Steps, {"steps": tree.get("prepare") or []}).steps:
            step()
        learner, mixture = learner_from_config(tree), build(Mixture, data["init_args"])
    except (ArgumentError, TypeError, ValueError, OSError):
        return []  # the run itself says best what is wrong with its config
    return [name for name, source in mixture.sources.items() if not _is_wanted(learner, source.batch([0], EVALUATION))]


def drop_sources(tree: Tree, names: list[str]) -> None:
    """Takes sources out of what a mixture trains on, in place."""
    given = tree["data"]["init_args"]
    given["sources"] = {name: spec for name, spec in given["sources"].items() if name not in names}
    elsewhere = {*(given.get("validation") or {}), *(given.get("test") or {})}
    for shares in ("weights", "batch_sizes"):
        if given.get(shares):
            given[shares] = {name: value for name, value in given[shares].items() if name not in names or name in elsewhere}


def _is_wanted(learner: Learner, batch: Batch) -> bool:
    objectives: list[Any] = list(learner.objectives.values())
    return any(objective.wants(batch) for objective in objectives)


class _Steps:
    """What a config lists under `prepare`."""

    def __init__(self, steps: list[Preparation]) -> None:
        self.steps = steps
