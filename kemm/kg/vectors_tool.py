"""The command `vectors`: entity vectors as others write them become a table that is memory-mapped."""

import argparse
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kemm.files import replacing
from kemm.kg.files import read_graph
from kemm.kg.vector_files import FORMATS, format_of, read_chunks
from kemm.kg.vector_writer import STORED, writing
from kemm.rows import Gate

_IDS = "names of the vectors: OpenKE's entity2id.txt (a count, then name, tab, row), or one name a line; word2vec's text has its own"
_GRAPH = "folder of a graph: the rows come in the order of its entities, and names that it lacks are passed over"
_MISSING = "what happens where an entity of the graph has no vector: an error, or zeros"


def main(argv: Sequence[str]) -> int:
    """Converts one file.

    Args:
        argv: The arguments behind the command.

    Returns:
        The exit status: 0, or 1 for an error that a message explains.
    """
    parser = argparse.ArgumentParser("kemm vectors", description=__doc__)
    parser.add_argument("file", type=Path, help="OpenKE's .vec, word2vec's text, .npy or .safetensors; read as a stream")
    parser.add_argument("table", type=Path, help="the safetensors file that is written; its row 0 is 'no entity'")
    parser.add_argument("--dtype", choices=list(STORED), default="float32", help="int8 has one scale for each row")
    parser.add_argument("--format", choices=FORMATS, help="of the file, where its ending and first line would not tell")
    parser.add_argument("--tensor", default="vectors", help="which tensor of a safetensors file that has several")
    parser.add_argument("--ids", type=Path, help=_IDS)
    parser.add_argument("--graph", type=Path, help=_GRAPH)
    parser.add_argument("--missing", choices=("error", "zero"), default="error", help=_MISSING)
    parser.add_argument("--none", action="store_true", help="the first vector of the file is that of 'no entity' already: it is left out")
    given = parser.parse_args(argv)
    try:
        report = convert(
            given.file, given.table, given.dtype, given.format, given.tensor, given.ids, given.graph, given.missing == "zero", given.none
        )
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{report}\n")
    return 0


def convert(
    file: Path,
    table: Path,
    dtype: str = "float32",
    form: str | None = None,
    tensor: str = "vectors",
    ids: Path | None = None,
    graph: Path | None = None,
    zero: bool = False,
    none: bool = False,
) -> str:
    """Writes the table; without a graph, and where names are known, they are written beside it, one a line, as `<table>.ids`.

    Args:
        file: The vectors.
        table: What is written.
        dtype: "float32", "float16" or "int8".
        form: See `read_chunks`.
        tensor: See `read_chunks`.
        ids: Names of the vectors.
        graph: Folder of the graph whose order the rows take.
        zero: Whether entities without a vector are zero, instead of an error.
        none: Whether the file's first vector is left out.

    Returns:
        What was done, in a line.
    """
    form = form or format_of(file)
    if ids is not None and form == "word2vec":
        raise ValueError(f"{file}: word2vec's text has names of its own, expected no --ids {ids}")
    if graph is not None and ids is None and form != "word2vec":
        raise ValueError(f"{file}: the vectors have no names, expected --ids FILE beside --graph {graph}")
    known = None if graph is None else read_graph(graph)[0].entity_index
    names = None if ids is None else read_ids(ids)
    chunks = read_chunks(file, form, tensor)
    first = next(chunks, None)
    if first is None:
        raise ValueError(f"{file}: holds no vectors")
    place, passed = -int(none), 0
    filled = np.zeros(0 if known is None else len(known) + 1, bool)
    with writing(table, dtype, first.x.shape[1]) as writer, replacing(table.with_name(f"{table.name}.ids")) as listed:
        for chunk in itertools.chain([first], chunks):
            count = len(chunk.x)
            if names is not None and place + count > len(names):
                raise ValueError(f"{file}: has more vectors than the {len(names)} names of {ids}")
            own = chunk.names or (names[max(place, 0) : place + count] if names is not None else [])
            own = [""] * (count - len(own)) + own if own else own
            rows = np.arange(place, place + count) + 1
            if known is not None:
                rows = _rows(own, known, filled, file)
            elif own:
                listed.writelines(f"{name}\n".encode() for name, row in zip(own, rows.tolist(), strict=True) if row > 0)
            passed += int((rows < 1).sum())
            writer.put(rows[rows > 0], chunk.x[rows > 0])
            place += count
        if names is not None and place != len(names):
            raise ValueError(f"{file}: has {place} vectors, and {ids} has {len(names)} names")
        absent = [name for name, index in (known or {}).items() if not filled[index + 1]]
        if absent and not zero:
            raise ValueError(f"{file}: has no vector of {len(absent)} of the graph's {len(known or {})} entities, such as {absent[:3]}")
        writer.rows = max(writer.rows, len(filled))
    if known is not None or (names is None and form != "word2vec"):
        table.with_name(f"{table.name}.ids").unlink()
    sizes = f"{writer.rows} rows (row 0 is no entity) of {writer.dim} {dtype}, {table.stat().st_size / 1e6:.1f} MB"
    return f"{table}: {sizes}; largest error {writer.error:.3g}; without a vector {len(absent)}, passed over {passed}"


def _rows(names: Sequence[str], known: Mapping[str, int], filled: np.ndarray, file: Path) -> np.ndarray:
    """The rows of names in the table, 0 for one that the graph lacks."""
    rows = np.array([known.get(name, -1) + 1 for name in names], np.int64)
    kept = rows[rows > 0]
    again = kept[filled[kept]].tolist() or kept[np.setdiff1d(np.arange(len(kept)), np.unique(kept, return_index=True)[1])].tolist()
    if again:
        raise ValueError(f"{file}: the entity {next(name for name in names if known.get(name) == again[0] - 1)!r} has two vectors")
    filled[kept] = True
    return rows


def read_ids(path: Path) -> list[str]:
    """The names of vectors in their order: OpenKE's entity2id.txt, or one a line.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is malformed, a row is given twice or left out.
    """
    lines = Gate().lines(path, "a file of names")
    _, first = next(lines, ("", ""))
    numbered = first.strip().isdigit()
    count = int(first) if numbered else 0
    names = [""] * count if numbered else [first] if first else []
    for where, line in lines:
        if not numbered:
            if not line.strip():
                raise ValueError(f"{where}: the line is empty, expected a name")
            names.append(line)
            continue
        name, tab, row = line.rpartition("\t")
        if not tab or not name or not row.isdigit() or int(row) >= count:
            raise ValueError(f"{where}: expected a name, a tab and a row from 0 to {count - 1}, got {line[:80]!r}")
        if names[int(row)]:
            raise ValueError(f"{where}: row {row} is named {name!r}, and was named {names[int(row)]!r} before")
        names[int(row)] = name
    if not all(names):
        raise ValueError(f"{path}:1: states {count} names, and row {names.index('')} has none")
    return names
