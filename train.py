"""Train, validate, test or predict with one config: `python train.py --config configs/atlas.yaml`."""

import sys

from kemm.cli import main

if __name__ == "__main__":
    sys.exit(main())
