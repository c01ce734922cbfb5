"""The border for data that comes from outside: a row is good, or an error that names its place, or one more in a count."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

OnBad = Literal["error", "skip"]
"""What happens to a bad row: an error that names it, or it is left out and counted."""

LARGEST = 2**63 - 1
"""Numbers of samples and images are int64."""


class RowError(ValueError):
    """A row that is refused.

    Args:
        reason: What it is counted under, in a word or two.
        message: What was given and what was expected.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Gate:
    """Lets good rows through. A file that is missing or cannot be read at all is an error, whatever `on_bad` says.

    Args:
        on_bad: What happens to a bad row.
    """

    def __init__(self, on_bad: OnBad = "error") -> None:
        if on_bad not in ("error", "skip"):
            raise ValueError(f"on_bad is {on_bad!r}, expected 'error' or 'skip'")
        self.on_bad = on_bad
        self.skipped: Counter[str] = Counter()

    def reject(self, reason: str, where: str, message: str) -> None:
        """Raises the error, or counts the row.

        Args:
            reason: What it is counted under.
            where: The file, and the line or key.
            message: What was given and what was expected.

        Raises:
            ValueError: `on_bad` is "error".
        """
        if self.on_bad == "error":
            raise ValueError(f"{where}: {reason}: {message}")
        self.skipped[reason] += 1

    @contextmanager
    def row(self, where: str) -> Iterator[None]:
        """Rejects the row of this place if it is refused (`RowError`) inside."""
        try:
            yield
        except RowError as error:
            fault = error
        else:
            return
        self.reject(fault.reason, where, str(fault))

    def lines(self, path: Path, what: str = "") -> Iterator[tuple[str, str]]:
        """The place and the text of each line that is UTF-8.

        Args:
            path: The file.
            what: What it is, for the message where it is missing.

        Raises:
            FileNotFoundError: There is no such file.
        """
        with require_file(path, what).open("rb") as file:
            for number, raw in enumerate(file, start=1):
                where = f"{path}:{number}"
                try:
                    yield where, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    self.reject("malformed", where, f"byte {error.start + 1} of the line is not UTF-8")

    def objects(self, path: Path, what: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """The place and the content of each line of a file of JSON lines that is an object; see `lines`."""
        for where, line in self.lines(path, what):
            row = None
            with self.row(where):
                row = parse_object(line)
            if row is not None:
                yield where, row


def require_file(path: Path, what: str = "") -> Path:
    """The path of a file that is there.

    Args:
        path: The file.
        what: What it is, for the message: "a tokenizer".

    Raises:
        FileNotFoundError: It is not there.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file" + (f", expected {what}" if what else ""))
    return path


def parse_object(line: str) -> dict[str, Any]:
    """A line as a JSON object without repeated keys.

    Raises:
        RowError: It is something else.
    """
    try:
        row = json.loads(line, object_pairs_hook=_unique)
    except RowError:
        raise
    except json.JSONDecodeError as error:
        raise RowError("malformed", f"not JSON, {error.msg} at character {error.pos + 1}: {line[:80]!r}") from None
    except (ValueError, RecursionError) as error:
        raise RowError("malformed", f"not JSON that can be read, {error}: {line[:80]!r}") from None
    if not isinstance(row, dict):
        raise RowError("malformed", f"expected a JSON object, got {line[:80]!r}")
    return row


def read_list(path: Path, what: str, field: str = "") -> Iterator[tuple[str, Any]]:
    """The place and the content of each entry of a list in a JSON document.

    Args:
        path: The file.
        what: What the document holds, for the message where it is missing.
        field: Key of the list; "" where the document is the list.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no JSON, or holds no such list.
    """
    try:
        content = json.loads(require_file(path, f"a JSON file of {what}").read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected a JSON file of {what}, and it is no JSON that can be read: {error}") from None
    listed = content.get(field) if field and isinstance(content, dict) else content
    if not isinstance(listed, list):
        expected = f"an object with a list {field!r}" if field else "a list"
        raise ValueError(f"{path}: expected {expected} of {what}, got {_shown(content)}")
    for place, entry in enumerate(listed):
        yield f"{path}: {field}[{place}]", entry


def text_of(row: Any, key: str) -> str:
    """A text of a row, of which something can be read.

    Raises:
        RowError: It is missing, of another type, or blank.
    """
    text = _field(row, key, str, "a text")
    if not text.strip():
        raise RowError("empty", f"{key!r} is {text!r}, expected a text that is not blank")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError("malformed", f"{key!r} is {text[:80]!r}, which holds half a character (a lone surrogate)") from None
    return str(text)


def number_of(row: Any, key: str) -> int:
    """A number that names something: a sample, an image.

    Raises:
        RowError: It is missing, no whole number, negative or above 2^63 - 1.
    """
    number = _field(row, key, int, "a whole number")
    if not 0 <= number <= LARGEST:
        raise RowError("malformed", f"{key!r} is {number}, expected a whole number from 0 to 2^63 - 1")
    return int(number)


def list_of(row: Any, key: str) -> list[Any]:
    """A list of a row.

    Raises:
        RowError: It is missing or of another type.
    """
    listed: list[Any] = _field(row, key, list, "a list")
    return listed


def _field(row: Any, key: str, kind: type, expected: str) -> Any:
    if not isinstance(row, Mapping):
        raise RowError("malformed", f"expected an object with the key {key!r}, got {_shown(row)}")
    if key not in row:
        raise RowError("malformed", f"the key {key!r} is missing, expected {expected}; there are {sorted(row)[:12]}")
    if type(row[key]) is not kind:  # bool is a subclass of int
        raise RowError("malformed", f"{key!r} is {_shown(row[key])}, expected {expected}")
    return row[key]


def _shown(value: Any) -> str:
    return f"{value!r:.80}"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise RowError("malformed", f"a key occurs twice among {[key for key, _ in pairs]}")
    return row
