"""What the answer prior alone scores: to each sort of question its most frequent answer in training.

python data/atlas/prior.py
"""

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from kemm.data.atlas import build
from kemm.metrics import annotation_accuracy

SPLITS = ("val_seen", "val_unseen")


def read(folder: Path, split: str) -> list[dict[str, Any]]:
    """The annotations of a split."""
    return json.loads((folder / f"{split}_annotations.json").read_text(encoding="utf-8"))["annotations"]


def main() -> None:
    folder = build(Path(__file__).parent)
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for annotation in read(folder, "train"):
        counts[annotation["question_type"]].update(given["answer"] for given in annotation["answers"])
    for split in SPLITS:
        groups: defaultdict[str, list[float]] = defaultdict(list)
        for annotation in read(folder, split):
            usual = counts[annotation["question_type"]].most_common(1)[0][0]
            accuracy = 100 * annotation_accuracy(usual, annotation)
            groups[annotation["kind"]].append(accuracy)
            if annotation["answer_type"] != "yes/no":
                groups["open"].append(accuracy)
                groups["open/pictured" if annotation["pictured"] else "open/named"].append(accuracy)
        scores = ", ".join(f"{name} {sum(of) / len(of):.1f}" for name, of in sorted(groups.items()))
        sys.stdout.write(f"{split}: {scores}\n")


if __name__ == "__main__":
    main()
