"""Values of cases that hold no tensors: numbers, texts, lists and dicts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def differences(name: str, own: Any, expected: Any, tolerance: float) -> list[str]:
    """Nothing, or a line for each value that differs from the expected one.

    Floats may differ by tolerance * (1 + |expected|), all else is equal. Where the original raises, `{"error": name}`, or
    has "nan", kemm's answer is an error, or finite.

    Args:
        name: What is compared.
        own: kemm's value; entries that are not expected are no fault.
        expected: The case's.
        tolerance: Of floats.
    """
    if expected == "nan" or (isinstance(expected, Mapping) and set(expected) == {"error"}):
        return [f"{name}: {value}, which is not finite (the original: {expected})" for value in _floats(own) if not math.isfinite(value)]
    if isinstance(expected, Mapping):
        if not isinstance(own, Mapping):
            return [f"{name}: {own!r:.80}, expected a dict with {sorted(expected)}"]
        absent = [f"{name}.{key}: absent" for key in expected if key not in own]
        return absent + [
            line for key in expected if key in own for line in differences(f"{name}.{key}", own[key], expected[key], tolerance)
        ]
    if isinstance(expected, list | tuple):
        if not isinstance(own, Sequence) or isinstance(own, str) or len(own) != len(expected):
            return [f"{name}: {own!r:.80}, expected {expected!r:.80}"]
        pairs = enumerate(zip(own, expected, strict=True))
        return [line for i, (a, b) in pairs for line in differences(f"{name}[{i}]", a, b, tolerance)]
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (own, expected))
    if numbers and abs(own - expected) <= tolerance * (1 + abs(expected)) * any(isinstance(value, float) for value in (own, expected)):
        return []
    return [] if own == expected else [f"{name}: {own!r:.80}, expected {expected!r:.80}"]


def _floats(value: Any) -> Iterator[float]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            yield from _floats(part)
    elif isinstance(value, float):
        yield value
