"""A closed list of labels: what the rows of a training file are labelled with."""

from pathlib import Path

from kemm.rows import Gate, RowError, list_of, read_list, text_of


class Labels:
    """Labels in alphabetical order, so that the order of the rows does not matter.

    Args:
        path: JSON: a list of rows with "labels": [str, ...] (entity typing) or "label": str (relation classification), as ERNIE has them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A row has no label, or there is no row.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # A label that was skipped would move all that follow, and with them the rows of heads that were trained: never skipped.
        gate = Gate("error")
        found: set[str] = set()
        for where, row in read_list(path, "labelled rows"):
            with gate.row(where):
                found.update(labels_of(row))
        if not found:
            raise ValueError(f"{path}: expected labelled rows, and there is none")
        self.names = sorted(found)
        self.index = {name: place for place, name in enumerate(self.names)}

    def __len__(self) -> int:
        return len(self.names)

    def places(self, row: object) -> list[int]:
        """The places of a row's labels.

        Raises:
            RowError: A label is missing, or none of the list.
        """
        names = labels_of(row)
        for name in names:
            if name not in self.index:
                raise RowError("unknown label", f"the label {name!r} is not among the {len(self)} of the training file")
        return [self.index[name] for name in names]


def labels_of(row: object) -> list[str]:
    """The "labels" of a row, or its one "label".

    Raises:
        RowError: There is neither, or something else than texts.
    """
    if not isinstance(row, dict) or "labels" not in row:
        return [text_of(row, "label")]
    names = list_of(row, "labels")
    if not all(isinstance(name, str) and name.strip() for name in names):
        raise RowError("malformed", f"'labels' is {names!r:.80}, expected a list of texts that are not blank")
    return names
