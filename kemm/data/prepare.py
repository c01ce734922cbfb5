"""What an experiment's file may list under `prepare`: steps that are run before anything else of it is read."""

import sys
import time
from pathlib import Path

from kemm.data.atlas import build, is_built


class Preparation:
    """A step that makes files of which an experiment is read. It is run each time, by each process: what is made already is left."""

    def __call__(self) -> None:
        """Makes the files that are missing or out of date."""
        raise NotImplementedError


class AtlasBuild(Preparation):
    """Builds the data sets of the Atlas where they are missing or older than their sources; otherwise it looks and is done.

    Args:
        folder: The Atlas: its sources; the data sets go to `build` in it.
        seed: Of all random choices.
    """

    def __init__(self, folder: Path = Path("data/atlas"), seed: int = 0) -> None:
        self.folder, self.seed = Path(folder), seed

    def __call__(self) -> None:
        """Builds the data sets if they are not up to date.

        Raises:
            FileNotFoundError: Sources are missing; each is named.
            ValueError: A source is broken: its file, line or key, what was given and expected.
        """
        if is_built(self.folder, seed=self.seed):
            return
        sys.stderr.write(f"{self.folder}: building the data sets, once ... ")
        sys.stderr.flush()
        began = time.perf_counter()
        out = build(self.folder, seed=self.seed)
        sys.stderr.write(f"{out} made in {time.perf_counter() - began:.0f} s\n")
