"""ALBEF (salesforce/ALBEF: models/model_pretrain.py, model_retrieval.py), the momentum copies and queues of its pre-training included."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from kemm.convert import bert, vit
from kemm.convert.plan import Plan, instance
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, count, modules, prefix_of, reshaped

CROSS = {
    **bert.LAYER,
    "crossattention.self.query": "cross.attention.query",
    "crossattention.self.key": "cross.attention.key",
    "crossattention.self.value": "cross.attention.value",
    "crossattention.output.dense": "cross.attention.output",
    "crossattention.output.LayerNorm": "cross.norm",
}
"""The modules of a fusion layer and of `CrossAttentionLayer`."""

MOMENTUM = {f"{name}.": f"{name}_m." for name in ("visual_encoder", "text_encoder", "vision_proj", "text_proj")}
"""The modules that have a momentum copy."""


SIGNATURE = Signature(
    needs=(r"visual_encoder\.patch_embed\.proj\.weight", r"text_encoder\.(bert\.)?encoder\.layer\.\d+\.crossattention\.self\.query\.weight")
)


def albef(
    state: Mapping[str, Tensor],
    heads: int = 12,
    image_heads: int = 12,
    momentum: float = 0.995,
    distill: float = 0.4,
    mask_id: int = 103,
    specials: Sequence[int] = (0, 101),
    rate: float = 0.15,
) -> Converted:
    """Converts a pre-training checkpoint of ALBEF.

    Args:
        state: The checkpoint.
        heads: Heads of the text, which no key tells.
        image_heads: Heads of the image.
        momentum: Of the teacher.
        distill: Weight of the teacher's answers (`alpha`); 0 for none.
        mask_id: The id of [MASK].
        specials: Ids that are never hidden ([PAD] and [CLS]).
        rate: Share of the tokens that are hidden.
    """
    old = "text_encoder." + ("bert." if prefix_of(state, "text_encoder.bert.") else "")
    layer = f"{old}encoder.layer."
    depth, image_depth = count(state, rf"{re.escape(layer)}(\d+)\."), count(state, r"visual_encoder\.blocks\.(\d+)\.")
    fused = [i for i in range(depth) if f"{layer}{i}.crossattention.self.query.weight" in state]
    text = bert.text_arguments(state, depth - len(fused), heads, old)
    plan = Plan()
    plan.encode("text", "TextEncoder", text)
    plan.table |= bert.embeddings(f"{old}embeddings.") | bert.layers(text["depth"], layer)
    image_dim = add_image(plan, state, image_depth, image_heads)
    plan.fuse({"text": "top"}, "Keep", {"stream": "text", "name": "text_kept"})
    widths = {"text": ("text_proj", text["dim"]), "image": ("vision_proj", image_dim)}
    for name, (projection, width) in widths.items():
        arguments = {"stream": name, "name": f"{name}_feature", "dim": width, "normalize": True}
        arguments["out"] = bert.of(state, f"{projection}.weight").shape[0]
        plan.table |= modules({projection: "project"}, "", plan.fuse({name: "top"}, "Feature", arguments))
    for i in fused:
        arguments = {"stream": "text", "memory": "image", "dim": text["dim"], "memory_dim": image_dim}
        arguments |= {"heads": heads, "inner": text["inner"]}
        plan.table |= modules(CROSS, f"{layer}{i}.", plan.fuse({"text": "top", "image": "top"}, "CrossAttentionLayer", arguments))
    add_objectives(plan, state, text, distill, {"mask_id": mask_id, "specials": list(specials), "rate": rate})
    plan.options["momentum"] = momentum
    ignored, tied = add_teacher(plan, old, distill)
    return plan.convert(state, ignored, tied)


def add_image(plan: Plan, state: Mapping[str, Tensor], depth: int, heads: int) -> int:
    """Plans the image encoder; its width."""
    patches, places = bert.of(state, "visual_encoder.patch_embed.proj.weight"), bert.of(state, "visual_encoder.pos_embed").shape[1]
    inner = bert.of(state, "visual_encoder.blocks.0.mlp.fc1.weight").shape[0]
    options = vit.options(patches, places, inner, depth, heads)
    new = plan.encode("image", "ImageEncoder", {"name": "vit_base_patch16_224", "options": options})
    plan.table |= vit.timm(depth, "visual_encoder.", new)
    return patches.shape[0]


def add_objectives(plan: Plan, state: Mapping[str, Tensor], text: dict[str, Any], distill: float, masking: dict[str, Any]) -> None:
    """Plans the three objectives: contrastive on clean pairs, matching after it, masked LM with the clean image."""
    dim, queue_size = bert.of(state, "image_queue").shape
    new = plan.aim("contrastive", "MomentumContrastive", {"dim": dim, "queue_size": queue_size, "distill": distill, "view": "clean"})
    plan.table |= {"image_queue": f"{new}queue_one", "text_queue": f"{new}queue_two", "queue_ptr": f"{new}place"}
    plan.table["temp"] = reshaped(f"{new}temperature", 1)
    new = plan.aim("matching", "Matching", {"dim": text["dim"], "view": "matching", "after": "clean"})
    plan.table |= modules({"itm_head": "classifier"}, "", new)
    vocab_size = text["vocab_size"]
    arguments = {"dim": text["dim"], "vocab_size": vocab_size, "distill": distill, "view": "masked", "after": "clean", "reuse": ["image"]}
    arguments["masking"] = instance("kemm.objectives.TokenMasking", masking | {"vocab_size": vocab_size})
    plan.aim("masked_lm", "MaskedLM", arguments)
    plan.table |= bert.masked_lm("text_encoder.cls.predictions.")


def add_teacher(plan: Plan, old: str, distill: float) -> tuple[list[str], dict[str, str]]:
    """Plans the momentum copies; what is ignored and tied, here and there."""
    head = "text_encoder.cls.predictions."
    ties = {f"{head}decoder.weight": f"{old}embeddings.word_embeddings.weight", f"{head}decoder.bias": f"{head}bias"}
    ignored = [r".*position_ids"]
    for module, copy in MOMENTUM.items():
        ties |= {copy + key.removeprefix(module): copy + of.removeprefix(module) for key, of in ties.items() if key.startswith(module)}
        for key, name in list(plan.table.items()):
            if key.startswith(module) and (distill or not key.startswith(head)):
                plan.table[copy + key.removeprefix(module)] = f"teacher.{name}"
    if not distill:
        ignored.append(r"text_encoder_m\.cls\..*")
    return ignored, ties
