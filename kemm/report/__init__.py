"""The report of an evaluation: one HTML file that needs nothing else, its numbers as JSON, and curves of the training."""

from kemm.report.curves import Curve, read_curves
from kemm.report.examples import Album, Example, pictures, take
from kemm.report.numbers import scores_as_json, scores_table
from kemm.report.page import Run, page

__all__ = ["Album", "Curve", "Example", "Run", "page", "pictures", "read_curves", "scores_as_json", "scores_table", "take"]
