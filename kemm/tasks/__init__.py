"""Tasks: objectives with predictions and published metrics."""

from kemm.tasks.base import Row, Scores, Task
from kemm.tasks.disambiguation import EntityDisambiguation
from kemm.tasks.explain import Found, Lookup, looked_up
from kemm.tasks.linking import Linking
from kemm.tasks.links import Links
from kemm.tasks.reading import Reading
from kemm.tasks.relation import Relation
from kemm.tasks.retrieval import Retrieval
from kemm.tasks.typing import Typing
from kemm.tasks.vqa import VQA

__all__ = [
    "VQA",
    "EntityDisambiguation",
    "Found",
    "Linking",
    "Links",
    "Lookup",
    "Reading",
    "Relation",
    "Retrieval",
    "Row",
    "Scores",
    "Task",
    "Typing",
    "looked_up",
]
