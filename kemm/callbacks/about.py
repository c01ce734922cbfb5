"""What is said of a run beside its scores: checkpoint, size, seed, time, versions.    [Lightning]"""

import os
import platform
import resource
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer

import kemm
from kemm.callbacks.progress import clock
from kemm.data.mixture import Mixture
from kemm.model import count_parameters


def about(trainer: Trainer, pl_module: LightningModule, config: Path, seconds: float) -> dict[str, Any]:
    """What `metrics.json` says of a run beside its scores.

    Args:
        trainer: That evaluated.
        pl_module: That was evaluated.
        config: The config's file.
        seconds: That it took.
    """
    seed = os.environ.get("PL_GLOBAL_SEED")
    return {
        "config": str(config) if config.name else "",
        "command": trainer.state.fn.value if trainer.state.fn else "",
        "checkpoint": str(trainer.ckpt_path or ""),
        "seed": int(seed) if seed and seed.isdigit() else None,
        "parameters": count_parameters(pl_module),
        "trained_parameters": count_parameters(pl_module, trainable=True),
        "seconds": round(seconds, 2),
        "memory_gib": memory_gib(),
        "time": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "device": str(pl_module.device),
        "ranks": trainer.world_size,
        "precision": str(trainer.precision),
        "versions": {
            "kemm": kemm.__version__,
            "torch": torch.__version__,
            "pytorch_lightning": version("pytorch_lightning"),
            "python": platform.python_version(),
        },
    }


def memory_gib() -> float:
    """The most memory that this process has used, in GiB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(used / (1 << 30 if sys.platform == "darwin" else 1 << 20), 3)  # bytes there, KiB elsewhere


def skipped_samples(trainer: Trainer) -> dict[str, dict[str, int]]:
    """Source (`sources.captions`) -> reason -> number of bad rows that were left out, of the sources that have some."""
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, Mixture):
        return {}
    parts = {"sources": data.sources, "validation": data.validation, "test": data.test}
    return {f"{part}.{name}": source.skipped for part, sources in parts.items() for name, source in sources.items() if source.skipped}


def facts(about: Mapping[str, Any], skipped: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """What the head of the report says, as label -> text."""
    trained = about["trained_parameters"]
    facts = {
        "checkpoint": about["checkpoint"] or "none: new weights",
        "parameters": f"{about['parameters']:,}" + (f" ({trained:,} trained)" if trained != about["parameters"] else ""),
        "seed": "not set" if about["seed"] is None else str(about["seed"]),
        "evaluated": f"{about['time']}, in {clock(about['seconds'])}",
        "on": f"{about['device']}, {about['ranks']} rank{'s' if about['ranks'] > 1 else ''}, precision {about['precision']}",
        "memory": f"{about['memory_gib']:.2f} GiB",
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
    }
    if skipped:
        listed = (f"{name}: {count} {reason}" for name, reasons in skipped.items() for reason, count in reasons.items())
        facts["bad rows, skipped"] = ", ".join(listed)
    return facts
