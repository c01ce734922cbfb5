"""Tasks: objectives with predictions and published metrics."""

from kemm.tasks.base import Row, Scores, Task
from kemm.tasks.explain import Found, Lookup, looked_up
from kemm.tasks.linking import Linking
from kemm.tasks.links import Links
from kemm.tasks.relation import Relation
from kemm.tasks.retrieval import Retrieval
from kemm.tasks.typing import Typing
from kemm.tasks.vqa import VQA

__all__ = ["VQA", "Found", "Linking", "Links", "Lookup", "Relation", "Retrieval", "Row", "Scores", "Task", "Typing", "looked_up"]
