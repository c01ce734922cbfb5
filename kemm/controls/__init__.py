"""Controls: is it the knowledge that does it? A config is run again without graph, memory or image, over several seeds."""

from kemm.controls.changes import CONTROLS, NothingToChangeError, changed
from kemm.controls.runs import main
from kemm.controls.table import Results, as_csv, as_html, as_markdown, collect
from kemm.controls.tree import Tree, read_tree, write_tree

__all__ = [
    "CONTROLS",
    "NothingToChangeError",
    "Results",
    "Tree",
    "as_csv",
    "as_html",
    "as_markdown",
    "changed",
    "collect",
    "main",
    "read_tree",
    "write_tree",
]
