"""Measures how long help, version and a config's syntax error take; writes JSON to stdout or to the file named.

python benchmarks/startup.py [startup.json]
"""

import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
RUNS = 7
LIMIT = 0.2


def seconds(arguments: list[str], status: int) -> float:
    """Returns the wall time of one call of `train.py`, start of the interpreter included.

    Args:
        arguments: its arguments.
        status: the exit status that it must have.
    """
    start = time.perf_counter()
    done = subprocess.run([sys.executable, ROOT / "train.py", *arguments], capture_output=True, check=False)
    elapsed = time.perf_counter() - start
    if done.returncode != status:
        raise RuntimeError(f"{arguments} ended with {done.returncode}, expected {status}: {done.stderr.decode()}")
    return elapsed


def main() -> None:
    """Measures each call, and writes the median and the largest time."""
    with tempfile.TemporaryDirectory() as folder:
        wrong, repeated = Path(folder) / "wrong.yaml", Path(folder) / "repeated.yaml"
        wrong.write_text("model: [1, 2\n")
        repeated.write_text("model:\n" + "".join(f"  key{i % 400}: {i}\n" for i in range(500)))
        calls = {
            "--help": (["--help"], 0),
            "--version": (["--version"], 0),
            "syntax error": (["--config", str(wrong)], 2),
            "repeated keys in 500 lines": (["--config", str(repeated)], 2),
        }
        rows = {}
        for name, (arguments, status) in calls.items():
            times = [seconds(arguments, status) for _ in range(RUNS)]
            rows[name] = {"median_s": round(statistics.median(times), 4), "max_s": round(max(times), 4), "below_limit": max(times) < LIMIT}
    result = {"benchmark": "startup", "runs": RUNS, "limit_s": LIMIT, "python": platform.python_version(), "calls": rows}
    text = json.dumps(result, indent=2) + "\n"
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
