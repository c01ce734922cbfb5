"""The learner: views, the teacher, and what views hand on to each other."""

import pytest
import torch
from torch import Tensor, nn

from kemm.batch import Batch
from kemm.encoders import ConvEncoder, TextEncoder
from kemm.fusion import CrossAttentionLayer, Feature, FusionPoint, Keep
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.objectives import Contrastive, MaskedLM, Matching, MomentumContrastive, TokenMasking

DIM, WORDS, ROWS = 8, 15, 4


def albef(dropout: float = 0.0) -> Learner:
    """ALBEF in small: three views, a teacher, the image of the first view used again in the third."""
    encoders = {"text": TextEncoder(WORDS, DIM, 2, 2, 16, 8, dropout=dropout), "image": ConvEncoder((DIM, DIM))}
    fusions = [
        FusionPoint({"text": "top"}, Keep("text", "text_kept")),
        FusionPoint({"text": "top"}, Feature("text", "text_feature", DIM, normalize=True)),
        FusionPoint({"image": "top"}, Feature("image", "image_feature", DIM, normalize=True)),
        FusionPoint({"text": "top", "image": "top"}, CrossAttentionLayer("text", "image", DIM, DIM, 2, dropout=dropout)),
    ]
    masking = TokenMasking(3, WORDS, rate=0.5)
    objectives = {
        "masked_lm": MaskedLM(DIM, WORDS, masking, 0.4, view="masked", after="clean", reuse=["image"]),
        "matching": Matching(DIM, view="matching", after="clean"),
        "contrastive": MomentumContrastive(dim=DIM, queue_size=8, view="clean"),
    }
    return Learner(FusionModel(encoders, fusions), objectives, momentum=0.9)


def batch_of() -> Batch:
    torch.manual_seed(0)
    ids = torch.randint(4, WORDS, (ROWS, 6))
    rows = torch.arange(ROWS)
    return {"id": rows, "group": rows, "text": {"ids": ids, "mask": ids > 0}, "image": {"pixels": torch.randn(ROWS, 3, 8, 8)}}


def calls(module: nn.Module) -> list[Tensor]:
    """The outputs that a module will have made."""
    made: list[Tensor] = []
    module.register_forward_hook(lambda module, inputs, output: made.append(output.x))
    return made


def test_views_come_in_the_order_that_they_need() -> None:
    assert albef().order[0] == "clean"
    assert sorted(albef().order[1:]) == ["masked", "matching"]


def test_views_that_wait_for_nothing_are_refused() -> None:
    network = albef().network
    with pytest.raises(ValueError, match=r"views wait for views that do not exist or for each other: \{'matching': \['clean'\]\}"):
        Learner(network, {"matching": Matching(DIM, view="matching", after="clean")})


def test_what_is_reused_is_encoded_once() -> None:
    learner = albef()
    assert learner.teacher is not None
    student, teacher = calls(learner.network.encoder("image").embed), calls(learner.teacher["network"].encoder("image").embed)
    learner(batch_of())
    assert (len(student), len(teacher)) == (1, 1)


def test_the_teacher_reuses_its_own() -> None:
    """The masked view's teacher reads the teacher's image, not the student's."""
    learner = albef()
    assert learner.teacher is not None
    with torch.no_grad():
        for parameter in learner.teacher["network"].encoder("image").parameters():
            parameter.mul_(3)
    made = calls(learner.teacher["network"].encoder("image").embed)
    seen: list[Tensor] = []
    layer = learner.teacher["network"].fusions[3]
    layer.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]["image"].x))
    learner(batch_of())
    assert len(seen) == 2
    assert all(torch.equal(x, made[0]) for x in seen)


def test_the_teacher_follows_the_student() -> None:
    learner = albef()
    assert learner.teacher is not None
    with torch.no_grad():
        for parameter in learner.network.parameters():
            parameter.add_(1)
    students = dict(learner.named_parameters())
    before = {name: p.clone() for name, p in learner.teacher.named_parameters()}
    learner(batch_of())
    for name, teacher in learner.teacher.named_parameters():
        assert torch.allclose(teacher, 0.9 * before[name] + 0.1 * students[name], atol=1e-6)
    after = {name: p.clone() for name, p in learner.teacher.named_parameters()}
    learner.eval()
    learner(batch_of())
    assert all(torch.equal(p, after[name]) for name, p in learner.teacher.named_parameters())


def test_the_teacher_has_heads_of_those_that_teach() -> None:
    learner = albef()
    assert learner.teacher is not None
    assert list(learner.teacher["objectives"]) == ["masked_lm"]
    assert not any(p.requires_grad for p in learner.teacher.parameters())
    learner.train()
    assert not any(module.training for module in learner.teacher.modules())


def test_chunks_keep_views_of_more_samples_whole() -> None:
    """Matching's view holds twice the batch: each chunk runs its part of all of it."""
    network = albef().network
    objectives = {"contrastive": Contrastive(), "matching": Matching(DIM)}
    one = Learner(network, objectives)
    three = Learner(network, objectives, chunks=3)
    total, result = one(batch_of())
    other, same = three(batch_of())
    assert float(result["matching"]["loss"][1]) == float(same["matching"]["loss"][1]) == 3 * ROWS
    assert torch.allclose(total, other, atol=1e-6)


def test_a_batch_for_no_objective_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"no objective of \['contrastive', 'masked_lm', 'matching'\] can use a batch of \['id', 'sound'\]"
    ):
        albef()({"id": torch.arange(2), "sound": {}})


def test_weights_of_unknown_objectives_are_refused() -> None:
    with pytest.raises(ValueError, match=r"weights\['contrast'\]: there is no such objective"):
        Learner(albef().network, {"contrastive": Contrastive()}, weights={"contrast": 2.0})
