"""Cases of TuckER as KnowBERT learned WordNet's entities by it (allenai/kb)."""

from torch import Tensor

from kemm.batch import Batch
from kemm.convert.tucker import tucker
from kemm.learner import Learner
from kemm.objectives import KvsAllLinks
from tests.parity.cases import Answer, Case, build, gradients


def answer(case: Case) -> Answer:
    inputs = case.inputs
    converted = tucker(case.weights, case.config["label_smoothing"])
    learner = build(case, converted)
    batch: Batch = {"triple": {"head": inputs["entity"][:, 0], "relation": inputs["relation"][:, 0], "tails": inputs["entity2"]}}
    outputs = run(learner, batch, "eval.")
    # The original's filtered ranking has put zeros, in place, where other right answers (and padding) were.
    target = inputs["entity2_target"]
    own = outputs["eval.predicted"]
    outputs["eval.predicted"] = own.scatter(1, inputs["entity2"], 0.0).scatter(1, target, own.gather(1, target))
    learner.train()
    outputs |= run(learner, batch, "train.")
    outputs["train.loss"].backward()
    state = learner.state_dict()
    outputs["train.bn0.running_mean"] = state["objectives.links.scorer.head_norm.running_mean"]
    outputs["train.bn1.running_var"] = state["objectives.links.scorer.norm.running_var"]
    return Answer(outputs, gradients(case, learner, converted.report))


def run(learner: Learner, batch: Batch, prefix: str) -> dict[str, Tensor]:
    links = learner.objectives["links"]
    assert isinstance(links, KvsAllLinks)
    before = {name: buffer.clone() for name, buffer in links.scorer.named_buffers()}
    scores, _ = links.all_scores(batch, learner.network)
    for name, buffer in links.scorer.named_buffers():
        buffer.copy_(before[name])
    loss, _ = learner(batch)
    return {f"{prefix}predicted": scores.sigmoid(), f"{prefix}loss": loss}


ADAPTERS = {"allenai/kb kb/kg_embedding.py KGTupleModel + TuckER": answer}
