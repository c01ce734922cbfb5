"""Cases of KEPLER's knowledge embedding (THU-KEG/KEPLER), on given states of descriptions."""

from kemm.batch import Batch, Stream
from kemm.convert.kepler import IGNORED, links
from kemm.convert.plan import Plan, instance
from kemm.objectives import DescribedLinks
from tests.parity.cases import Answer, Case, build, gradients

STREAMS = {
    "heads": "head",
    "tails": "tail",
    "nHeads": "negative_head",
    "nTails": "negative_tail",
    "heads_r": "relation_head",
    "tails_r": "relation_tail",
    "relation_desc": "relation_text",
}


def knowledge_embedding(case: Case) -> Answer:
    plan = Plan()
    plan.encode("text", "Encoder", {"embed": instance("torch.nn.Identity")})
    links(plan, case.weights)
    converted = plan.convert(case.weights, IGNORED)
    converted.config["network"]["share"] = dict.fromkeys(STREAMS.values(), "text")
    learner = build(case, converted)
    given = {name: case.inputs[name].requires_grad_() for name in STREAMS if name in case.inputs}
    batch: Batch = {"triple": {"relation": case.inputs["relations"] + 1}}  # row 0 of the table is "none"
    batch |= {STREAMS[name]: Stream(x, x.new_ones(x.shape[:2]).bool()) for name, x in given.items()}
    streams = learner.network(batch)
    objective = learner.objectives["links"]
    assert isinstance(objective, DescribedLinks)
    true, false = objective.scores(streams, batch, learner.network)
    loss, _ = learner(batch)
    loss.backward()
    return Answer({"pScores": true[:, None], "nScores": false, "loss": loss}, gradients(case, learner, converted.report, **given))


FILE = "fairseq/models/roberta/model.py (RobertaKnowledgeEmbeddingHead, KEscore), fairseq/criterions/MLMetKE.py (KE_loss)"
ADAPTERS = {f"THU-KEG/KEPLER {FILE} RobertaKnowledgeEmbeddingHead": knowledge_embedding}
