"""CoCa of open_clip (mlfoundations/open_clip: src/open_clip/coca_model.py, transformer.py)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kemm.convert import vit
from kemm.convert.bert import of
from kemm.convert.plan import Plan, instance
from kemm.convert.signature import Signature
from kemm.convert.table import Converted, Table, count, modules, reshaped, split, transposed

BLOCK = {
    "ln_1": "attention_norm",
    "attn.out_proj": "attention.output",
    "ln_2": "feedforward_norm",
    "mlp.c_fc": "feedforward.up",
    "mlp.c_proj": "feedforward.down",
}
"""The modules of a block and of `PreNormLayer`; the fused input projection apart, which is no module there."""

CROSS = {
    **{old: new for old, new in BLOCK.items() if old.startswith(("ln_2", "mlp"))},
    "ln_1": "query_norm",
    "ln_1_kv": "memory_norm",
    "attn.out_proj": "cross.output",
}
"""The modules of a block of cross-attention and of `DecoderLayer`."""


SIGNATURE = Signature(needs=(r"visual\.attn_pool\.query", r"text_decoder\.cross_attn\.\d+\.ln_1\.weight"))


def coca(state: Mapping[str, Tensor], heads: int = 12, image_heads: int = 12, pool_heads: int = 8, decoder_heads: int = 12) -> Converted:
    """Converts a CoCa of open_clip whose image tower has one attentional pool.

    Args:
        state: The checkpoint.
        heads: Heads of the text, which no key tells.
        image_heads: Heads of the image.
        pool_heads: Heads of the attentional pool.
        decoder_heads: Heads of the caption decoder.
    """
    plan = Plan()
    image_dim = add_image(plan, state, image_heads)
    dim, depth = add_text(plan, state, heads)
    add_features(plan, state, dim, image_dim, depth, pool_heads)
    add_decoder(plan, state, dim, decoder_heads)
    new = plan.aim("contrastive", "Contrastive", {})
    plan.table["logit_scale"] = reshaped(f"{new}log_scale", 1)
    plan.options["weights"] = {"captioning": 2.0}
    return plan.convert(state, [r".*attn_mask"])


def add_image(plan: Plan, state: Mapping[str, Tensor], heads: int) -> int:
    """Plans the image encoder, which has no final norm (the pool has); its width."""
    patches, places = of(state, "visual.conv1.weight"), of(state, "visual.positional_embedding").shape[0]
    depth = count(state, r"visual\.transformer\.resblocks\.(\d+)\.")
    inner = of(state, "visual.transformer.resblocks.0.mlp.c_fc.weight").shape[0]
    options = vit.options(patches, places, inner, depth, heads) | {"final_norm": False}
    new = plan.encode("image", "ImageEncoder", {"name": "vit_base_patch16_clip_224", "options": options})
    plan.table |= vit.open_clip(depth, places, patches.shape[0], "visual.", new)
    return patches.shape[0]


def add_text(plan: Plan, state: Mapping[str, Tensor], heads: int) -> tuple[int, int]:
    """Plans the text encoder; its width, and its depth without the final norm."""
    vocab_size, dim = of(state, "text.token_embedding.weight").shape
    depth = count(state, r"text\.transformer\.resblocks\.(\d+)\.")
    new = plan.encode(
        "text",
        "CausalTextEncoder",
        {
            "vocab_size": vocab_size,
            "dim": dim,
            "depth": depth,
            "heads": heads,
            "inner": of(state, "text.transformer.resblocks.0.mlp.c_fc.weight").shape[0],
            "max_length": of(state, "text.positional_embedding").shape[0],
            "summary": True,
        },
    )
    plan.table |= {
        "text.token_embedding.weight": f"{new}embed.words.weight",
        "text.positional_embedding": f"{new}embed.positions.weight",
        "text.cls_emb": f"{new}embed.summary",
    }
    plan.table |= modules({"ln_final": f"layers.{depth}.norm"}, "text.", new)
    for i in range(depth):
        plan.table |= block(f"text.transformer.resblocks.{i}.", f"{new}layers.{i}.")
    return dim, depth


def add_features(plan: Plan, state: Mapping[str, Tensor], dim: int, image_dim: int, depth: int, heads: int) -> None:
    """Plans what is compared, and what the decoder reads: the tokens below the final norm, and the pooled image."""
    queries, width = of(state, "visual.attn_pool.query").shape
    plan.fuse({"text": depth}, "Keep", {"stream": "text", "name": "caption", "places": [0, -1]})
    arguments: dict[str, Any] = {"stream": "image", "feature": "image_pooled", "tokens": "image_tokens", "dim": image_dim}
    new = plan.fuse({"image": "top"}, "AttentionalPool", arguments | {"out": width, "heads": heads, "queries": queries})
    old = "visual.attn_pool."
    plan.table |= modules({"ln_q": "query_norm", "ln_k": "memory_norm", "attn.out_proj": "attention.output"}, old, new)
    plan.table |= modules({"ln_post": "norm"}, "visual.", new) | {f"{old}query": f"{new}queries"}
    plan.table |= attention(f"{old}attn.", f"{new}attention.", fused=f"{old}attn.in_proj_weight" in state)
    for stream, name, pool, projection, wide in (
        ("image_pooled", "image", "First", "visual.proj", width),
        ("text", "text", "End", "text.text_projection", dim),
    ):
        arguments = {"stream": stream, "name": f"{name}_feature", "dim": wide, "out": of(state, projection).shape[1]}
        arguments |= {"pool": instance(f"kemm.fusion.{pool}"), "normalize": True, "bias": False}
        plan.table[projection] = transposed(f"{plan.fuse({name: 'top'}, 'Feature', arguments)}project.weight")


def add_decoder(plan: Plan, state: Mapping[str, Tensor], dim: int, heads: int) -> None:
    """Plans the layers that read the image, and the captioning objective."""
    inner = of(state, "text_decoder.resblocks.0.mlp.c_fc.weight").shape[0]
    arguments = {"stream": "caption", "memory": "image_tokens", "dim": dim, "heads": heads, "inner": inner}
    for i in range(count(state, r"text_decoder\.resblocks\.(\d+)\.")):
        new, old = plan.fuse({"text": "top", "image": "top"}, "DecoderLayer", arguments), f"text_decoder.cross_attn.{i}."
        plan.table |= block(f"text_decoder.resblocks.{i}.", f"{new}layer.")
        plan.table |= modules(CROSS, old, new) | attention(f"{old}attn.", f"{new}cross.")
    norm = instance("torch.nn.LayerNorm", {"normalized_shape": dim})
    vocab_size = of(state, "text_decoder.text_projection").shape[1]
    arguments = {"dim": dim, "vocab_size": vocab_size, "stream": "caption", "tied": False, "norm": norm}
    new = plan.aim("captioning", "CausalLM", arguments)
    plan.table |= modules({"ln_final": "norm"}, "text_decoder.", new)
    plan.table["text_decoder.text_projection"] = transposed(f"{new}decoder.weight")


def block(old: str, new: str) -> Table:
    """The table of a block of self-attention."""
    return modules(BLOCK, old, new) | attention(f"{old}attn.", f"{new}attention.")


def attention(old: str, new: str, fused: bool = True) -> Table:
    """The table of the input projections of `torch.nn.MultiheadAttention`, whose weights are apart where keys have a width of their own."""
    names = [f"{new}{name}" for name in ("query", "key", "value")]
    table: Table = {f"{old}in_proj_bias": split(*(f"{name}.bias" for name in names))}
    if fused:
        return table | {f"{old}in_proj_weight": split(*(f"{name}.weight" for name in names))}
    return table | {f"{old}{name}_proj_weight": f"{own}.weight" for name, own in zip("qkv", names, strict=True)}
