"""Cases of open_clip's CoCa."""

import torch

from kemm.convert.coca import coca
from kemm.learner import Result
from kemm.objectives import CausalLM, Contrastive
from tests.parity.cases import Answer, Case, build, gradients


def case(case: Case) -> Answer:
    vision, text, decoder = (case.config[f"{name}_cfg"] for name in ("vision", "text", "multimodal"))
    heads = vision["width"] // vision["head_width"]
    converted = coca(case.weights, text["heads"], heads, vision["attn_pooler_heads"], decoder["heads"])
    learner = build(case, converted)
    ids = case.inputs["text"]
    rows = torch.arange(len(ids))
    batch = {"id": rows, "group": rows, "text": {"ids": ids, "mask": ids != 0}, "image": {"pixels": case.inputs["image"]}}
    with learner.network.trace() as record:
        streams = learner.network(batch)
    contrastive, captioning = learner.objectives["contrastive"], learner.objectives["captioning"]
    assert isinstance(contrastive, Contrastive)
    assert isinstance(captioning, CausalLM)
    outputs = {
        "forward.logits": captioning.logits(streams["caption"].x, learner.network),
        "forward.logit_scale": contrastive.scale()[0],
        "image_embs": streams["image_tokens"].x,
        "token_embs": record["fusions.0.caption"],
    }
    for name in ("image", "text"):
        feature = streams[f"{name}_feature"].x[:, 0]
        outputs |= {f"forward.{name}_features": feature, f"{name}_latent": feature}
    total, result = learner(batch)
    outputs["loss.contrastive"] = learner.total(Result(contrastive=result["contrastive"]))
    outputs["loss.caption"] = learner.total(Result(captioning=result["captioning"]))
    total.backward()
    return Answer(outputs, gradients(case, learner, converted.report))


ADAPTERS = {"openclip_coca": case}
