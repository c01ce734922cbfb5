"""Measures a BERT of base width on padded and on packed rows, one CPU thread; writes JSON to stdout or to the file named.

python benchmarks/packing.py [packing.json]

Lengths are lognormal, as those of sentences are. The ways of computing take turns, so that a busy machine slows all alike. Where
transformers is installed, its BERT of the same size computes the same padded batches.
"""

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from kemm.encoders import TextEncoder
from kemm.model import FusionModel

WORDS, DIM, HEADS, BATCH, MAX_LENGTH = 2000, 768, 12, 16, 128
CASES = [(2, median, spread) for median, spread in ((20, 0.8), (30, 0.6), (60, 0.3), (90, 0.1))]
RUNS = 5


def batch(median: float, spread: float, seed: int) -> tuple[Tensor, Tensor]:
    """Returns the ids and the mask of a batch that is padded to its longest row.

    Args:
        median: of the lengths.
        spread: standard deviation of the lengths' logarithms.
        seed: of the draws.
    """
    draws = torch.Generator().manual_seed(seed)
    lengths = (median * (spread * torch.randn(BATCH, generator=draws)).exp()).long().clamp(4, MAX_LENGTH)
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    return torch.randint(1, WORDS, mask.shape, generator=draws) * mask, mask


def seconds(forward: Callable[[], Tensor], mask: Tensor, backward: bool) -> float:
    """Returns the CPU time of a forward pass, and of the backward pass of the real places' states where that is asked for."""
    start = time.process_time()
    if backward:
        forward()[mask].square().sum().backward()
    else:
        with torch.no_grad():
            forward()
    return time.process_time() - start


def peer(depth: int) -> Callable[[Tensor, Tensor], Tensor] | None:
    """Returns the states that transformers' BERT makes of ids and mask, None where transformers is not installed."""
    if find_spec("transformers") is None:
        return None
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=WORDS, hidden_size=DIM, num_hidden_layers=depth, num_attention_heads=HEADS, intermediate_size=4 * DIM)
    model = BertModel(config, add_pooling_layer=False).eval()
    return lambda ids, mask: model(input_ids=ids, attention_mask=mask.long()).last_hidden_state


def measure(depth: int, median: float, spread: float, backward: bool) -> dict[str, float | int]:
    """Returns the median seconds of each way over several batches, and how much of the batches is real."""
    encoder = TextEncoder(WORDS, DIM, depth, HEADS, max_length=MAX_LENGTH, dropout=0.0)
    ways: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
    for name, packing in (("padded", False), ("packed", True)):
        model = FusionModel({"text": encoder}, packing=packing)
        ways[name] = lambda ids, mask, model=model: model({"text": {"ids": ids, "mask": mask}})["text"].x  # type: ignore[misc]
    other = peer(depth)
    if other is not None:
        ways["transformers"] = other
    times: dict[str, list[float]] = {name: [] for name in ways}
    real: list[float] = []
    for run in range(-1, RUNS):  # the first warms up
        ids, mask = batch(median, spread, run + 1)
        for name, way in ways.items():
            taken = seconds(lambda way=way, ids=ids, mask=mask: way(ids, mask), mask, backward)  # type: ignore[misc]
            if run >= 0:
                times[name].append(taken)
        real.append(float(mask.float().mean()))
    row: dict[str, float | int] = {
        "layers": depth,
        "median_length": int(median),
        "backward": int(backward),
        "real_share": round(statistics.mean(real), 3),
    }
    row |= {f"{name}_s": round(statistics.median(taken), 4) for name, taken in times.items()}
    ratios = [packed / padded for packed, padded in zip(times["packed"], times["padded"], strict=True)]
    return row | {"packed_over_padded": round(statistics.median(ratios), 3)}


def main() -> None:
    """Measures each case, and writes the rows."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = [measure(*case, backward=backward) for backward in (False, True) for case in CASES]
    about = {"torch": torch.__version__, "machine": platform.processor() or platform.machine(), "batch": BATCH, "dim": DIM, "runs": RUNS}
    text = json.dumps({"benchmark": "packing", **about, "rows": rows}, indent=2) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
