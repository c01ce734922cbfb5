"""CoLAKE (arXiv 2010.00309; txsun1997/CoLAKE: pretrain/model.py, finetune/model.py): `model.bin` of its pre-training, or of a
fine-tuning."""

from collections.abc import Mapping

from torch import Tensor

from kemm.convert import bert
from kemm.convert.kadapter import NORM
from kemm.convert.plan import Plan
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, Table, count, modules, prefix_of

HEAD = {"dense": "transform.dense", "layer_norm": "transform.norm"}
"""The modules that a head of the pre-training begins with."""
FINE = {"rel_head.": ("relation", "Classification", "label"), "cls_head.": ("typing", "MultiLabelClassification", "types")}
"""Head of a fine-tuning -> the objective's name, its class and its labels."""


SIGNATURE = Signature(needs=(r"roberta\.embeddings\.word_embeddings\.weight", r"(rel_embeddings|ent_embeddings(_n)?)\.weight"))


def colake(state: Mapping[str, Tensor], heads: int = 12, entities: Tensor | None = None) -> Converted:
    """Converts a CoLAKE checkpoint; its tables of entities and relations keep their rows (0 unknown, 1 padding, 2 [MASK]).

    The released checkpoint holds no entities, they stand in `entities.npy`. A fine-tuned one holds those that it was tuned with, frozen,
    and for typing no relations: then their table has one row of zeros.

    Args:
        state: The checkpoint.
        heads: Number of heads, which no key tells.
        entities: The table of entities (N, D); the checkpoint's by default, else it has one row of zeros.
    """
    old, plan = "roberta.", Plan()
    depth = count(state, r"roberta\.encoder\.layer\.(\d+)\.")
    text = bert.text_arguments(state, depth, heads, old)
    del text["types"]
    words = bert.of(state, f"{old}embeddings.word_embeddings.weight")
    vectors = prefix_of(state, "ent_embeddings_n.") or "ent_embeddings."
    keys = {f"{vectors}weight": "entities", "rel_embeddings.weight": "relations"}
    nothing = words.new_zeros(1, words.shape[1])
    absent = {f"{vectors}weight": nothing if entities is None else entities, "rel_embeddings.weight": nothing}
    sizes = {f"num_{name}": len(state.get(key, absent[key])) for key, name in keys.items()}
    frozen = any(key.startswith(tuple(FINE)) for key in state)
    further = {"padding_id": 1, "padding_position": 1, "frozen": frozen, "norm": NORM}
    new = plan.encode("text", "WordGraphEncoder", text | sizes | further)
    plan.table |= bert.embeddings(f"{old}embeddings.", f"{new}embed.") | bert.layers(depth, f"{old}encoder.layer.", f"{new}layers.")
    tables = {key: f"{new}embed.{name}.weight" for key, name in keys.items()}
    plan.table |= {key: name for key, name in tables.items() if key in state}
    dim = text["dim"]
    if "lm_head.bias" in state:
        plan.table |= _head("lm_head.", plan.aim("masked_lm", "MaskedLM", {"dim": dim, "vocab_size": len(words), "norm": NORM}), True)
        plan.table |= _head("ent_lm_head.", plan.aim("masked_entity", "MaskedEntity", {"dim": dim, "norm": NORM}))
        relation = plan.aim("masked_relation", "MaskedRelation", {"dim": dim, "num_relations": sizes["num_relations"], "norm": NORM})
        plan.table |= _head("rel_lm_head.", relation, True)
    for head, (name, kind, labels) in FINE.items():
        if f"{head}dense.weight" in state:
            new = plan.fuse({"text": "top"}, "NormedFeature", {"stream": "text", "name": "pooled", "dim": dim, "norm": NORM})
            plan.table |= modules({"dense": "project", "layer_norm": "norm"}, head, new)
            classes = len(bert.of(state, f"{head}bias"))
            new = plan.aim(name, kind, {"dim": dim, "classes": classes, "labels": labels, "dropout": 0.0})
            plan.table |= {f"{head}decoder.weight": f"{new}classifier.weight", f"{head}bias": f"{new}classifier.bias"}
    tied = {f"{head}decoder.bias": f"{head}bias" for head in ("lm_head.", "rel_lm_head.", *FINE)}
    tied |= {"lm_head.decoder.weight": f"{old}embeddings.word_embeddings.weight", "rel_lm_head.decoder.weight": "rel_embeddings.weight"}
    converted = plan.convert(state, [r"roberta\.pooler\..*", r".*position_ids"], tied)
    converted.state.update({name: absent[key].clone() for key, name in tables.items() if key not in state})
    return converted


def _head(old: str, new: str, biased: bool = False) -> Table:
    return modules(HEAD, old, new) | ({f"{old}bias": f"{new}bias"} if biased else {})
