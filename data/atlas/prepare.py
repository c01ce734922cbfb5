"""Build the data sets of the Atlas into `build/`: questions, mentions, passages, training text, links, typing, relation and linking sets.

    python data/atlas/prepare.py [OUT]

Training does this by itself; nothing happens while the files are up to date. README.md describes them.
"""

import sys
from pathlib import Path

from kemm.data.atlas import build
from kemm.data.leaks import leaks


def main() -> int:
    folder = Path(__file__).parent
    try:
        out = build(folder, Path(sys.argv[1]) if len(sys.argv) > 1 else None)
        found = leaks(folder, out)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for leak in found:
        sys.stderr.write(f"{leak}\n")
    sys.stdout.write(f"{out}: {len(list(out.iterdir()))} files, {len(found)} leaks\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
