"""The entity vectors that KnowBERT learned of WordNet (allenai/kb: kb/kg_embedding.py, KGTupleModel): TuckER and its two tables."""

from collections.abc import Mapping

from torch import Tensor

from kemm.convert.bert import of
from kemm.convert.plan import Plan, instance
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, modules

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
"""What a batch norm holds."""


SIGNATURE = Signature(needs=(r"kg_tuple_predictor\.W", r"kg_tuple_predictor\.entities\.weight"))


def tucker(state: Mapping[str, Tensor], smoothing: float = 0.1) -> Converted:
    """Converts a TuckER.

    Args:
        state: The checkpoint.
        smoothing: Of its labels, which no key tells.
    """
    old = "kg_tuple_predictor."
    width, dim, _ = of(state, f"{old}W").shape
    plan = Plan()
    for name, plural in (("entity", "entities"), ("relation", "relations")):
        rows = of(state, f"{old}{plural}.weight")
        new = plan.encode(name, "EntityEncoder", {"num_entities": rows.shape[0], "dim": rows.shape[1]})
        plan.table[f"{old}{plural}.weight"] = f"{new}embed.table.weight"
    scorer = instance("kemm.kg.TuckER", {"dim": dim, "relation": width})
    new = plan.aim("links", "KvsAllLinks", {"scorer": scorer, "smoothing": smoothing, "none": True})
    plan.table[f"{old}W"] = f"{new}scorer.core"
    plan.table |= modules({"bn0": "head_norm", "bn1": "norm"}, old, f"{new}scorer.", NORM)
    return plan.convert(state)
