"""What a task is: an objective whose answers people ask for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kemm.batch import Batch
from kemm.fusion.base import Streams
from kemm.metrics import Interval
from kemm.objectives import Objective
from kemm.tasks.explain import Lookup

if TYPE_CHECKING:
    from kemm.model import FusionModel

Row = dict[str, Any]
"""One sample's prediction with its truth: JSON values, and tensors that only `evaluate` reads. `id` names the sample."""

Scores = dict[str, float | Interval]


class Task(Objective):
    """An objective with predictions and the published metric over them.

    Metrics are computed from the rows of the whole split: rows are gathered from all ranks and counted once by their `id`, so that
    none is dropped or counted twice, whatever the number of ranks.
    """

    def predict(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[Row]:
        """One row for each thing that is predicted, truth included."""
        raise NotImplementedError

    def explain(self, streams: Streams, batch: Batch, network: "FusionModel") -> list[list[Lookup]]:
        """What was looked up for each sample, for the report.

        A report shows samples of tasks whose `predict` gives one row for each sample, in their order, with `question`, `answer`, `truth` (a
        list of right answers), `kind`, `accuracy` and `likelihood` (how sure the answer is), both in [0, 1].
        """
        return []

    def evaluate(self, rows: Sequence[Row]) -> Scores:
        """The metrics of a split."""
        raise NotImplementedError

    def official(self, rows: Sequence[Row]) -> Any:
        """The rows in the format of the task's official results file."""
        return [{name: value for name, value in row.items() if isinstance(value, str | int | float | list | bool)} for row in rows]
