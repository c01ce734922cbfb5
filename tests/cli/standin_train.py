"""`train.py` with the stand-in module in the place of kemm's own."""

import sys
import types

sys.path.append(".")
training = types.ModuleType("kemm.training")
sys.modules["kemm.training"] = training

if __name__ == "__main__":
    from kemm.cli import main
    from tests.cli.standins import TrainingModule

    training.TrainingModule = TrainingModule
    sys.exit(main())
