"""Cases of ViLBERT's pre-training (jiasenlu/vilbert_beta, facebookresearch/vilbert-multi-task)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from kemm.batch import IGNORE, Batch
from kemm.convert.table import Converted
from kemm.convert.vilbert import vilbert
from kemm.fusion import CoAttention, Detach, FusionPoint, Pairs, Streams
from kemm.learner import Learner, Result
from kemm.model import FusionModel
from kemm.nn import TapedDraws
from kemm.objectives import Classification, MaskedLM, MaskedRegion
from tests.parity.cases import Answer, Case, build, gradients

POOLED = {"pooled_t": "text_pooled", "pooled_v": "region_pooled"}
STATES = {"sequence_t": "text", "sequence_v": "region"}
LOSSES = {"lm": "masked_lm", "region": "masked_region", "alignment": "matching"}


def convert(case: Case, product: bool | None = None) -> Converted:
    config = case.config
    return vilbert(
        case.weights,
        config["num_attention_heads"],
        config["v_num_attention_heads"],
        config["bi_num_attention_heads"],
        config["t_biattention_id"],
        config["v_biattention_id"],
        product=config["fusion_method"] == "mul" if product is None else product,
        offset=2 if config.get("model") == "roberta" else 0,
    )


def batch_of(case: Case) -> Batch:
    inputs = case.inputs
    labels = inputs["image_label"]
    return {
        "text": {
            "ids": inputs["input_ids"],
            "mask": inputs["attention_mask"].bool(),
            "types": inputs["token_type_ids"],
            "labels": inputs["masked_lm_labels"].masked_fill(inputs["masked_lm_labels"] == -1, IGNORE),
        },
        "region": {
            "features": inputs["image_feat"],
            "boxes": inputs["image_loc"],
            "mask": inputs["image_attention_mask"].bool(),
            "labels": labels.masked_fill(labels != 1, IGNORE),
            "targets": inputs["image_target"],
        },
        "mismatched": inputs["next_sentence_label"],
    }


def rows(batch: Batch, text: int, region: int) -> Batch:
    """The first rows of each modality."""
    return {name: {key: t[:count] for key, t in batch[name].items()} for name, count in (("text", text), ("region", region))}


def points(network: FusionModel) -> list[FusionPoint]:
    """The fusion points of a network, to be placed anew."""
    return [FusionPoint(dict(at), fusion) for at, fusion in zip(network.points, network.fusions, strict=True)]


def rewired(network: FusionModel, fusions: Sequence[FusionPoint]) -> FusionModel:
    """Another network of the same modules."""
    return FusionModel(dict(network.encoders.items()), fusions, packing=False)


def states(streams: Streams) -> dict[str, Tensor]:
    return {name: streams[stream].x for name, stream in STATES.items()} | {name: streams[s].x[:, 0] for name, s in POOLED.items()}


def named(run: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{run}.{name}": tensor for name, tensor in tensors.items()}


def scores(learner: Learner, streams: Streams) -> dict[str, Tensor]:
    masked_lm, masked_region, matching = (learner.objectives[name] for name in LOSSES.values())
    assert isinstance(masked_lm, MaskedLM)
    assert isinstance(masked_region, MaskedRegion)
    assert isinstance(matching, Classification)
    return {
        "lm": masked_lm.logits(streams["text"].x, learner.network),
        "region": masked_region.scores(streams),
        "alignment": matching.logits(streams),
    }


def losses(learner: Learner, result: Result) -> dict[str, Tensor]:
    """Each loss by itself, of shape (1,) as the original has it."""
    return {name: learner.total(Result({own: result[own]}))[None] for name, own in LOSSES.items()}


def beta(case: Case) -> Answer:
    converted = convert(case)
    learner = build(case, converted)
    network, batch = learner.network, batch_of(case)
    outputs = traced(network, batch)
    outputs |= {f"coattn_mask.{name}": outputs[f"model.{name}"] for name in (*STATES, *POOLED)}  # the original ignores this mask
    outputs |= placed(case, network, batch)
    outputs |= named("scores", scores(learner, network(batch)))
    nothing = {name: {**batch[name], "labels": torch.full_like(batch[name]["labels"], IGNORE)} for name in ("text", "region")}
    outputs |= named("losses_nothing_masked", losses(learner, learner(batch | nothing)[1]))
    outputs["predict_feature.region"] = regression(case, batch)
    other = build(case, convert(case, product=case.config["fusion_method"] != "mul"))
    outputs["other_fusion.alignment"] = scores(other, other.network(batch))["alignment"]

    fixed = Learner(rewired(network, detached(case, network)), dict(learner.objectives.items()))
    total, result = fixed(batch)
    total.backward()
    outputs |= named("fixed_layers", losses(fixed, result))
    grads = {f"fixed_layers:{name}": grad for name, grad in gradients(case, learner, converted.report).items()}
    learner.zero_grad()
    total, result = learner(batch)
    total.backward()
    outputs |= named("losses", losses(learner, result))
    return Answer(outputs, grads | gradients(case, learner, converted.report))


def traced(network: FusionModel, batch: Batch) -> dict[str, Tensor]:
    """The states and attention maps of the plain run."""
    with network.trace(attention=True) as record:
        outputs = states(network(batch))
    outputs |= {"text_embeddings": record["text.0"], "image_embeddings": record["region.0"]}
    for name, encoder in (("t", "text"), ("v", "region")):
        for i in range(network.top(encoder)):
            outputs[f"attn_{name}.{i}"] = record[f"{encoder}.layers.{i}.attention.attention"]
    connections = [i for i, fusion in enumerate(network.fusions) if isinstance(fusion, CoAttention)]
    for i, place in enumerate(connections):
        outputs[f"coattn_textquery_over_regions.{i}"] = record[f"fusions.{place}.attentions.0.attention"]
        outputs[f"coattn_regionquery_over_text.{i}"] = record[f"fusions.{place}.attentions.1.attention"]
    return named("model", outputs)


def placed(case: Case, network: FusionModel, batch: Batch) -> dict[str, Tensor]:
    """The runs that are the same modules in other places."""
    plain = points(network)
    first, last = case.config["t_biattention_id"], case.config["v_biattention_id"]
    lowest, highest = {"text": first[0], "region": last[0]}, {"text": first[-1], "region": last[-1]}
    connections = [point for point in plain if isinstance(point.fusion, CoAttention)]
    poolers = plain[len(connections) :]
    pairs = [FusionPoint(lowest, Pairs(["text", "region"])), *plain]

    # The original returns the states after each connection, and pools the last of them.
    early = rewired(network, [*connections, *(FusionPoint(highest, point.fusion) for point in poolers)])
    with early.trace() as record:
        pooled = early(batch)
    outputs = {f"all_layers.{name}": pooled[stream].x[:, 0] for name, stream in POOLED.items()}
    for i in range(len(connections)):
        outputs |= {f"all_layers.encoded_{name[-1]}.{i}": record[f"fusions.{i}.{stream}"] for name, stream in STATES.items()}

    inputs = case.inputs
    text, region = inputs["input_ids"], inputs["image_feat"]
    bare = {
        "text": {"ids": text, "mask": torch.ones_like(text, dtype=torch.bool)},
        "region": {"features": region, "boxes": inputs["image_loc"], "mask": torch.ones(region.shape[:2], dtype=torch.bool)},
    }
    few = round(case.outputs["in_batch_pairs.pooled_t"].shape[0] ** 0.5)
    outputs |= named("no_masks", states(network(bare)))
    outputs |= named("in_batch_pairs", states(rewired(network, pairs)(rows(batch, few, few))))
    outputs |= named("fast_mode", states(rewired(network, pairs)(rows(batch, 1, len(region)))))
    return outputs | named("without_coattention", states(rewired(network, poolers)(batch)))


def detached(case: Case, network: FusionModel) -> list[FusionPoint]:
    """The fusion points with the layers below the first connection fixed."""
    heights = {"text": case.config["t_biattention_id"][0], "region": case.config["v_biattention_id"][0]}
    fixed = [FusionPoint({name: height}, Detach(name)) for name, height in heights.items() if height]
    return [*fixed, *points(network)]


def regression(case: Case, batch: Batch) -> Tensor:
    """The loss of recovering features instead of classes."""
    learner, _ = other(case, "MaskedRegionRegression")
    return losses(learner, learner(batch)[1])["region"]


def other(case: Case, kind: str, **arguments: int) -> tuple[Learner, Converted]:
    """The learner with another objective for the regions."""
    converted = convert(case)
    region = converted.config["objectives"]["masked_region"]
    region |= {"class_path": f"kemm.objectives.{kind}", "init_args": region["init_args"] | arguments}
    return build(case, converted), converted


def multi_task(case: Case) -> Answer:
    converted = convert(case)
    learner = build(case, converted)
    batch = batch_of(case)
    streams = learner.network(batch)
    outputs = named("model", states(streams)) | named("scores", scores(learner, streams))
    outputs["mse.region"] = regression(case, batch)

    contrast, own = other(case, "MaskedRegionContrast", negatives=case.config["num_negative"])
    total, result = contrast(batch, TapedDraws(case.inputs[f"nce_draw.{i}"] for i in range(3)))
    total.backward()
    outputs["nce.region"] = losses(contrast, result)["region"]
    grads = {f"nce:{name}": grad for name, grad in gradients(case, contrast, own.report).items()}

    outputs |= named("objective1", matched_only(case, batch))
    total, result = learner(batch)
    total.backward()
    outputs |= named("kl", losses(learner, result))
    return Answer(outputs, grads | gradients(case, learner, converted.report))


def matched_only(case: Case, batch: Batch) -> dict[str, Tensor]:
    """Objective 1: mismatched pairs count for the matching only."""
    converted = convert(case)
    for name in ("masked_lm", "masked_region"):
        converted.config["objectives"][name]["init_args"]["unless"] = "mismatched"
    learner = build(case, converted)
    masked_lm, masked_region = (learner.objectives[name] for name in ("masked_lm", "masked_region"))
    assert isinstance(masked_lm, MaskedLM)
    assert isinstance(masked_region, MaskedRegion)
    # The original drops labels by multiplying them with 0, and with them the word 0.
    labels = batch["text"]["labels"]
    batch = batch | {"text": batch["text"] | {"labels": labels.masked_fill(labels == 0, IGNORE)}}
    counted = {"masked_lm_labels": masked_lm.labels(batch), "image_label": masked_region.labels(batch)}
    return losses(learner, learner(batch)[1]) | {name: t.masked_fill(t == IGNORE, -1) for name, t in counted.items()}


ADAPTERS = {"vilbert_beta_pretraining": beta, "vilbert_mt_pretraining": multi_task}
