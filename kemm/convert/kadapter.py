"""K-Adapter (arXiv 2002.01808; microsoft/K-Adapter): RoBERTa and its adapters, with the heads that trained them (fac-adapter.py,
lin-adapter.py) or with that of entity typing (examples/run_finetune_openentity_adapter.py)."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from kemm.convert import bert
from kemm.convert.plan import Plan, norm_of
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, count, modules

NORM = norm_of(1e-5)
"""The norm of RoBERTa."""

LINGUISTIC = {f"self.{name}": f"attention.attention.{name}" for name in ("query", "key", "value")} | {
    "output.dense": "attention.attention.output",
    "output.LayerNorm": "attention.norm",
}
"""The modules of the attention below the linguistic adapter's head and of `SelfAttention`."""


SIGNATURE = Signature(needs=(r"(adapter\.)?((fac|lin)_adapter\.)?adapter\.\d+\.down_project\.weight",))


def kadapter(
    state: Mapping[str, Tensor],
    layers: Sequence[int] = (0, 11, 22),
    heads: int = 16,
    adapter_heads: int = 12,
    skip: int = 0,
    padding_id: int | None = 0,
) -> Converted:
    """Converts RoBERTa (`roberta.`) with one adapter and the head that trained it (`adapter.`): the factual one's relations, or the
    linguistic one's heads of words; or with both adapters and the head of entity typing.

    Args:
        state: The checkpoint.
        layers: The heights of the adapters, 0 for the embedding.
        heads: Heads of RoBERTa, which no key tells.
        adapter_heads: Heads of the adapters.
        skip: The original's `adapter_skip_layers`: what follows adapter number c (from 1) reads its output plus that of adapter
            number c / skip (from 0), where c is a multiple of it; 0 for none.
        padding_id: The word without gradient through its embedding; 0 in the original, whose [PAD] is 1.
    """
    depth = count(state, r"roberta\.encoder\.layer\.(\d+)\.")
    text = bert.text_arguments(state, depth, heads, "roberta.") | {"offset": 2, "norm": NORM, "padding_id": padding_id}
    dim = text["dim"]
    plan = Plan()
    plan.encode("text", "TextEncoder", text)
    plan.table |= bert.embeddings("roberta.embeddings.") | bert.layers(depth, "roberta.encoder.layer.")
    kinds = [kind for kind in ("fac", "lin") if any(key.startswith(f"adapter.{kind}_adapter.") for key in state)]
    sets = {f"{kind}_adapter": f"adapter.{kind}_adapter." for kind in kinds} or {"adapter": "adapter."}
    tops = _adapters(plan, state, sets, layers, adapter_heads, skip)
    if kinds:
        _typing(plan, state, dim, kinds, tops)
    else:
        (top,) = tops
        new = plan.fuse({"text": "top"}, "Join", {"streams": ["text", top], "name": "knowing", "dims": [dim, dim]})
        plan.table |= modules({"adapter.com_dense": f"{new}project"})
        if "adapter.self_attention.self.query.weight" in state:
            new = plan.fuse({"text": "top"}, "SelfAttention", {"stream": "knowing", "dim": dim, "norm": NORM})
            plan.table |= modules(LINGUISTIC, "adapter.self_attention.", new)
            _head(plan, state, "head", "TokenClassification", {"dim": dim, "labels": "heads"})
        else:
            _head(plan, state, "relation", "PlaceClassification", {"dim": dim, "places": 2})
    pooled, point = bert.pooler(len(plan.fusions), dim, "roberta.")
    plan.table |= pooled
    plan.fusions.append(point)
    return plan.convert(state, ignored=[r".*position_ids"])


def _adapters(plan: Plan, state: Mapping[str, Tensor], sets: Mapping[str, str], layers: Sequence[int], heads: int, skip: int) -> list[str]:
    """Plans sets of adapters, name -> what precedes its keys, from the lowest height up; the names of the last ones' streams."""
    for old in sets.values():
        number = count(state, rf"{old}adapter\.(\d+)\.")
        if number != len(layers):
            raise ValueError(f"the checkpoint holds {number} adapters, and layers are given for {len(layers)}: {list(layers)}")
    previous = dict.fromkeys(sets, "")
    for i, height in enumerate(layers):
        for name, old in sets.items():
            own, inner = f"{name}_{i}", f"{old}adapter.{i}."
            new = plan.fuse({"text": height}, "Adapter", _arguments(state, inner, heads) | {"name": own, "previous": previous[name]})
            depth = count(state, rf"{inner}encoder\.layer\.(\d+)\.")
            plan.table |= modules({"down_project": "down", "up_project": "up"}, inner, new)
            plan.table |= bert.layers(depth, f"{inner}encoder.layer.", f"{new}layers.")
            previous[name] = own
            if skip and (i + 1) % skip == 0:
                previous[name] = f"{own}_skip"
                plan.fuse({"text": height}, "Sum", {"streams": [own, f"{name}_{(i + 1) // skip}"], "name": previous[name]})
    return list(previous.values())


def _arguments(state: Mapping[str, Tensor], old: str, heads: int) -> dict[str, Any]:
    inner, dim = bert.of(state, f"{old}down_project.weight").shape
    return {
        "dim": dim,
        "inner": inner,
        "depth": count(state, rf"{old}encoder\.layer\.(\d+)\."),
        "heads": heads,
        "feedforward": bert.of(state, f"{old}encoder.layer.0.intermediate.dense.weight").shape[0],
    }


def _typing(plan: Plan, state: Mapping[str, Tensor], dim: int, kinds: Sequence[str], tops: Sequence[str]) -> None:
    """Plans how the adapters are joined, `concat` or `add`, and the head of entity typing above."""
    if "adapter.task_dense.weight" in state:
        for kind, top in zip(kinds, tops, strict=True):
            new = plan.fuse({"text": "top"}, "Join", {"streams": ["text", top], "name": kind, "dims": [dim, dim]})
            plan.table |= modules({f"adapter.task_dense_{kind}": f"{new}project"})
        new = plan.fuse({"text": "top"}, "Join", {"streams": list(kinds), "name": "knowing", "dims": [dim] * len(kinds)})
        plan.table |= modules({"adapter.task_dense": f"{new}project"})
    else:
        plan.fuse({"text": "top"}, "Sum", {"streams": ["text", *tops], "name": "knowing"})
    _head(plan, state, "typing", "MultiLabelPlaceClassification", {"dim": dim, "places": 1, "labels": "types"})


def _head(plan: Plan, state: Mapping[str, Tensor], name: str, kind: str, arguments: Mapping[str, Any]) -> None:
    """Plans a head: a layer, then the classifier."""
    classes, hidden = bert.of(state, "adapter.out_proj.weight").shape
    new = plan.aim(name, kind, {"classes": classes, "hidden": hidden, "stream": "knowing", **arguments})
    plan.table |= modules({"adapter.dense": f"{new}dense", "adapter.out_proj": f"{new}classifier"})
