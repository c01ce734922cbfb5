"""Cases of ALBEF's pre-training (salesforce/ALBEF): one whole step, with its teacher, its queues and its draws."""

import torch
from torch import Tensor

from kemm.batch import Batch, Stream
from kemm.convert.albef import albef
from kemm.convert.table import Converted
from kemm.learner import Learner, Result
from kemm.nn import TapedDraws
from kemm.objectives import MaskedLM, Matching, MomentumContrastive, View
from tests.parity.cases import Answer, Case, build, gradients

LOSSES = {"loss_ita": "contrastive", "loss_itm": "matching", "loss_mlm": "masked_lm"}


def convert(case: Case, distill: float) -> Converted:
    config, special = case.config, case.info["special"]
    return albef(
        case.weights,
        config["bert"]["num_attention_heads"],
        config["vit"]["num_heads"],
        config["momentum"],
        distill,
        special["mask"],
        (special["pad"], special["cls"]),
        config["mlm_probability"],
    )


def batch_of(case: Case) -> Batch:
    inputs = case.inputs
    rows = torch.arange(len(inputs["image"]))
    text = {"ids": inputs["input_ids"], "mask": inputs["attention_mask"].bool()}
    return {"id": rows, "group": rows, "text": text, "image": {"pixels": inputs["image"]}}


def tape(case: Case) -> tuple[list[Tensor], list[Tensor]]:
    """What matching asks for, and what masking does: of a recorded yes or no, a number below or above any rate."""
    rows = len(case.inputs["image"])
    draws = [case.inputs[f"draw.{i}"] for i in range(2 * rows + 4)]
    chosen, (*decided, words) = draws[: 2 * rows], draws[2 * rows :]
    return [torch.cat(chosen[:rows]), torch.cat(chosen[rows:])], [*(1 - yes for yes in decided), words]


def step(case: Case, distill: float) -> tuple[Learner, Converted, dict[str, Tensor]]:
    """The learner after a step, and its losses."""
    converted = convert(case, distill)
    learner = build(case, converted)
    # As the original ran: a training step, but without dropout.
    learner.train()
    learner.network.eval()
    matching, masking = tape(case)
    total, result = learner(batch_of(case), TapedDraws([*matching, *masking]))
    total.backward()
    losses = {name: learner.total(Result({own: result[own]})) for name, own in LOSSES.items()}
    return learner, converted, losses


def clean(case: Case, learner: Learner) -> dict[str, Tensor]:
    """The states of the clean pairs, and what matching and masking make of them."""
    batch = batch_of(case)
    streams = learner.network(batch)
    matching, masked_lm, contrastive = (learner.objectives[name] for name in ("matching", "masked_lm", "contrastive"))
    assert isinstance(matching, Matching)
    assert isinstance(masked_lm, MaskedLM)
    assert isinstance(contrastive, MomentumContrastive)
    chosen, decided = tape(case)
    view = View(batch, streams, learner.teach(batch), {"contrastive": contrastive})
    pairs = matching.corrupt(batch, {"clean": view}, TapedDraws(chosen))
    masked = masked_lm.corrupt(batch, {}, TapedDraws(decided))["text"]
    rows = len(batch["id"])
    return {
        "image_embeds": streams["image"].x,
        "text_embeds": streams["text_kept"].x,
        "image_feat": streams["image_feature"].x[:, 0],
        "text_feat": streams["text_feature"].x[:, 0],
        "fusion_positive": streams["text"].x,
        "itm_logits_positive": matching.classifier(streams["text"].x[:, 0]),
        "neg_image_for_text": origin(pairs["image"], streams["image"], slice(0, rows)),
        "neg_text_for_image": origin(pairs["text"], streams["text_kept"], slice(rows, None)),
        "mlm_input_ids": masked["ids"],
        "mlm_labels": masked["labels"],
    }


def origin(stream: Stream, source: Stream, rows: slice) -> Tensor:
    """Which rows of the source the rows of a stream are."""
    same = (stream.x[rows, None] == source.x[None]).flatten(2).all(-1)
    assert bool((same.sum(1) == 1).all())
    return same.int().argmax(1)


def after(learner: Learner) -> dict[str, Tensor]:
    """The state after the step."""
    contrastive = learner.objectives["contrastive"]
    assert isinstance(contrastive, MomentumContrastive)
    names = [getattr(fusion, "name", "") for fusion in learner.network.fusions]
    assert learner.teacher is not None
    return {
        "after.image_queue": contrastive.queue_one,
        "after.text_queue": contrastive.queue_two,
        "after.queue_ptr": contrastive.place,
        "after.temp": contrastive.temperature[0],
        "after.vision_proj_m.weight": learner.teacher["network"].fusions[names.index("image_feature")].project.weight,
    }


def case(case: Case) -> Answer:
    learner, converted, losses = step(case, case.config["alpha"])
    outputs = losses | after(learner) | clean(case, learner)
    outputs |= {f"alpha0.{name}": loss for name, loss in step(case, 0.0)[2].items()}
    return Answer(outputs, gradients(case, learner, converted.report))


ADAPTERS = {"albef_pretraining": case}
