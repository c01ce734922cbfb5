"""Knowledge graphs: files and structure, embedding scorers, negatives, filtered ranking."""

from kemm.kg.aliases import AliasIndex, Candidate
from kemm.kg.answers import Answers
from kemm.kg.files import read_graph, read_names, read_triples, write_graph
from kemm.kg.graph import Entity, Graph, Relation
from kemm.kg.held_out import read_known
from kemm.kg.index import KnownTriples
from kemm.kg.labels import Labels
from kemm.kg.passages import Passages, passage_key, write_passages
from kemm.kg.ranking import LinkRanks, rank_links, seen_entities
from kemm.kg.rewiring import Fact
from kemm.kg.sampling import Negatives, NegativeSampler, bernoulli_tail_rate, subsampling_weights
from kemm.kg.scorers import ComplEx, DistMult, RotatE, Scorer, TransE
from kemm.kg.tucker import TuckER
from kemm.kg.vectors import VectorTable

__all__ = [
    "AliasIndex",
    "Answers",
    "Candidate",
    "ComplEx",
    "DistMult",
    "Entity",
    "Fact",
    "Graph",
    "KnownTriples",
    "Labels",
    "LinkRanks",
    "NegativeSampler",
    "Negatives",
    "Passages",
    "Relation",
    "RotatE",
    "Scorer",
    "TransE",
    "TuckER",
    "VectorTable",
    "bernoulli_tail_rate",
    "passage_key",
    "rank_links",
    "read_graph",
    "read_known",
    "read_names",
    "read_triples",
    "seen_entities",
    "subsampling_weights",
    "write_graph",
    "write_passages",
]
