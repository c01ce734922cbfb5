"""Building the Atlas when others build too, or were killed while they did."""

import fcntl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kemm.data import atlas
from kemm.data.lock import alone

ATLAS = Path(__file__).parents[2] / "data" / "atlas"
KILLED = """
import os, sys
from pathlib import Path
from kemm.data import atlas
atlas._build = lambda folder, work, seed: os._exit(9 * (work / "half").write_text("a"))
atlas.build(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def quick(folder: Path, work: Path, seed: int) -> None:
    """Writes one file, slowly enough to be met by another process."""
    (work / "answers.json").write_text("[]")
    time.sleep(0.3)
    assert (work / "answers.json").exists()


def test_what_a_killed_build_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "build"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(ATLAS), str(out)], cwd=ATLAS.parents[1], check=False)
    assert killed.returncode == 9
    left = [path.name for path in tmp_path.iterdir() if path.is_dir()]
    assert len(left) == 1 and left[0].startswith(".build.") and (tmp_path / left[0] / "half").exists()
    for other in (".build", ".builder.x"):
        (tmp_path / other).mkdir()
    monkeypatch.setattr(atlas, "_build", quick)
    atlas.build(ATLAS, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".build", ".builder.x", "build"]


def test_of_two_at_once_one_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits, touches nothing of the first's, and finds it done."""
    calls: list[Path] = []

    def build(folder: Path, work: Path, seed: int) -> None:
        calls.append(work)
        quick(folder, work, seed)

    monkeypatch.setattr(atlas, "_build", build)
    threads = [threading.Thread(target=atlas.build, args=(ATLAS, tmp_path / "build")) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["build"] and atlas.is_built(ATLAS, tmp_path / "build")


def test_one_at_a_time(tmp_path: Path) -> None:
    """Also those who waited for a lock whose file was removed meanwhile."""
    inside, most = [0], [0]

    def enter() -> None:
        for _ in range(20):
            with alone(tmp_path / "lock") as held:
                assert held
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most[0], inside[0]) == (1, 0) and not list(tmp_path.iterdir())


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There nothing is swept, since it may be another's."""

    def refuse(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(atlas, "_build", quick)
    (tmp_path / ".build.other").mkdir()
    with alone(tmp_path / "lock") as held:
        assert not held
    atlas.build(ATLAS, tmp_path / "build")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".build.other", "build"]
