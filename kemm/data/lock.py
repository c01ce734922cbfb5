"""A lock between processes, which the system releases when its process ends, however that ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Waits until no other process holds the lock, and holds it.

    Args:
        path: Its file, which is removed afterwards.

    Yields:
        Whether it is held: some network file systems know no locks.
    """
    while True:
        with path.open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError:
                held = False
            else:
                held = True
                if not _is(path, file.fileno()):
                    continue  # who held it before has removed the file, and another may hold a new one
            try:
                yield held
            finally:
                path.unlink(missing_ok=True)
            return


def _is(path: Path, opened: int) -> bool:
    """Whether an open file is still the one of this path."""
    try:
        return os.path.samestat(path.stat(), os.fstat(opened))
    except FileNotFoundError:
        return False
