"""Taking parts out of a config's model, with all that needs what they made."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, get_args, get_origin

from kemm.config_classes import parameters
from kemm.controls.tree import Tree, arguments, kind, takes
from kemm.encoders import Encoder
from kemm.fusion import AttentionalPool, FactAttention, Fusion, KnowledgeAttention, MemoryAttention, MentionEntities
from kemm.objectives import EntityLinking, Objective

MAKES: Mapping[type, Sequence[str]] = {
    FactAttention: ("{name}", "{name}_facts", "{name}_relations"),
    AttentionalPool: ("{feature}", "{tokens}"),
    KnowledgeAttention: ("{entity}_linking",),
    MemoryAttention: ("{mention}_linking",),
    Fusion: ("{name}",),
}
"""Class -> the streams that it adds, named by its arguments; the first class that fits counts."""
READS: Mapping[type, Sequence[str]] = {MentionEntities: ("{entity}_linking",), EntityLinking: ("{entity}_linking",)}
"""Class -> the streams that it reads under names that its arguments do not say in full."""
NOT_STREAMS = frozenset({"name", "into", "kind", "graph", "path", "factory", "view", "after", "input", "labels", "entry"})
"""Arguments whose texts name something else than a stream that is read."""


def without(tree: Tree, unwanted: Callable[[type], bool], inputs: Collection[str] = ()) -> None:
    """Takes fusions, objectives and inputs out of a tree, in place, and what cannot do without them.

    A stream that is gone is taken out of lists that name it (`points`, `subjects`); a fusion or an objective that names it elsewhere, or
    that is left with an empty list where its class has no such default, goes too, with the streams that it made.

    Args:
        tree: The config.
        unwanted: Tells the fusions and objectives that are taken out.
        inputs: Inputs whose encoders are taken out.
    """
    model, network = tree["model"], tree["model"]["network"]
    points, objectives = list(enumerate(network.get("fusions") or [])), dict(model.get("objectives") or {})
    gone = set(inputs)
    for encoder in [name for name in network["encoders"] if name in gone]:
        del network["encoders"][encoder]
    network["share"] = {name: encoder for name, encoder in (network.get("share") or {}).items() if name not in gone}
    judge = unwanted
    while True:
        kept = [(place, point) for place, point in points if _stays(point["fusion"], Fusion, judge, gone)]
        names = {name for name, spec in objectives.items() if _stays(spec, Objective, judge, gone)}
        lost = {name for place, point in points if (place, point) not in kept for name in made(point["fusion"])}
        lost -= {name for _, point in kept for name in made(point["fusion"])}
        finished = lost <= gone and len(kept) == len(points) and len(names) == len(objectives)
        points, objectives, gone = kept, {name: spec for name, spec in objectives.items() if name in names}, gone | lost
        judge = _nothing
        if finished:
            break
    for _, point in points:
        point["at"] = {name: height for name, height in point["at"].items() if name not in gone}
    follow = _Follow({place: new for new, (place, _) in enumerate(points)}, set(objectives), set(network["encoders"]))
    network["fusions"], model["objectives"] = [point for _, point in points], objectives
    for part in (network, model):
        for name in [name for name, value in part.items() if name in ("share", "fusions") and not value]:
            del part[name]
    follow.references(model)


def made(spec: Any) -> set[str]:
    """The streams that a fusion adds."""
    return _named(MAKES, spec, Fusion)


def _named(table: Mapping[type, Sequence[str]], spec: Any, base: type) -> set[str]:
    of = kind(spec, base)
    given = arguments(spec, of)
    templates = next((templates for known, templates in table.items() if issubclass(of, known)), ())
    return {template.format_map(given) for template in templates if re.findall(r"{(\w+)}", template)[0] in given}


def _nothing(of: type) -> bool:
    return False


def _stays(spec: Any, base: type, unwanted: Callable[[type], bool], gone: set[str]) -> bool:
    """Whether a spec can do without the streams that are gone; its lists are cut where that is enough."""
    of = kind(spec, base)
    if unwanted(of) or _named(READS, spec, base) & gone:
        return False
    for name, value in arguments(spec, of).items():
        if name in NOT_STREAMS or not _names(value, gone):
            continue
        # Of parallel lists, and of pairs, none can be cut.
        if not isinstance(value, list | tuple) or takes(of, "dims") or not takes(of, name) or _is_fixed(parameters(of)[0][name].hint):
            return False
        rest = [item for item in value if not _names(item, gone)]
        if not rest and not _may_be_empty(of, name):
            return False
        spec["init_args"][name] = rest
    return True


def _names(value: Any, gone: set[str]) -> bool:
    if isinstance(value, str):
        return value in gone
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return any(_names(item, gone) for item in inner)


def _is_fixed(hint: Any) -> bool:
    return get_origin(hint) is tuple and Ellipsis not in get_args(hint)


def _may_be_empty(of: type, name: str) -> bool:
    default = arguments({"init_args": {}}, of).get(name, "required")
    return default is not None and len(default) == 0


class _Follow:
    """Keeps the names of parameters right that a model mentions (`rates`, `freeze`, `pretrained`), when parts of it are gone.

    Args:
        places: Old -> new place of each fusion that is left.
        objectives: Those that are left.
        encoders: Those that are left.
    """

    def __init__(self, places: Mapping[int, int], objectives: Collection[str], encoders: Collection[str]) -> None:
        self.places, self.objectives, self.encoders = places, objectives, encoders

    def references(self, model: Tree) -> None:
        """Renames or drops what the model mentions, in place."""
        if model.get("weights"):
            model["weights"] = {name: weight for name, weight in model["weights"].items() if name in self.objectives}
        if model.get("rates"):
            model["rates"] = {new: rate for name, rate in model["rates"].items() if (new := self.name(name)) is not None}
        if model.get("freeze"):
            model["freeze"] = [new for name in model["freeze"] if (new := self.name(name)) is not None]
        if model.get("pretrained"):
            found = [(self.name(load.get("into", "")), load) for load in model["pretrained"]]
            model["pretrained"] = [load | ({"into": into} if into else {}) for into, load in found if into is not None]

    def name(self, name: str) -> str | None:
        """The new name of a parameter (or of its beginning); None if it is gone."""
        match = re.match(r"(network\.fusions|network\.encoders|objectives)\.([^.]+)(.*)", name)
        if not match:
            return name
        part, which, rest = match.groups()
        if part == "network.fusions" and which.isdigit():
            return f"{part}.{self.places[int(which)]}{rest}" if int(which) in self.places else None
        return name if which in (self.encoders if part == "network.encoders" else self.objectives) else None


def graph_inputs(network: Tree) -> set[str]:
    """The inputs whose encoder is a table of a graph's entities or relations."""
    tables = {name for name, spec in network["encoders"].items() if takes(kind(spec, Encoder), "num_entities")}
    return tables | {name for name, encoder in (network.get("share") or {}).items() if encoder in tables}
