"""Tasks: objectives with predictions and published metrics."""

from kemm.tasks.base import Row, Scores, Task
from kemm.tasks.cloze import Cloze
from kemm.tasks.disambiguation import EntityDisambiguation
from kemm.tasks.experts import Detection, ExpertLinking
from kemm.tasks.explain import Found, Lookup, looked_up
from kemm.tasks.few_shot import FewShot
from kemm.tasks.linking import Linking
from kemm.tasks.links import Links
from kemm.tasks.reading import Reading
from kemm.tasks.relation import Relation
from kemm.tasks.replacement import Replacement
from kemm.tasks.retrieval import Retrieval
from kemm.tasks.typing import Typing
from kemm.tasks.vqa import VQA

__all__ = [
    "VQA",
    "Cloze",
    "Detection",
    "EntityDisambiguation",
    "ExpertLinking",
    "FewShot",
    "Found",
    "Linking",
    "Links",
    "Lookup",
    "Reading",
    "Relation",
    "Replacement",
    "Retrieval",
    "Row",
    "Scores",
    "Task",
    "Typing",
    "looked_up",
]
