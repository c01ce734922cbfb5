"""Golden cases: what published code made of given weights and inputs, and how kemm's answer is compared with it.

A case is `NAME.json` (config, origin) and `NAME.safetensors`: `weights/<key of the original>`, `inputs/…`, `outputs/…`, and
`grads/<key>` or `grads/input.<name>`. An adapter builds the model from the case's config and weights and answers.

What has no weights (features, collation, metrics) is `NAME.json` alone, with inputs and expected values: a comparison goes through them.
"""

import importlib
import json
import os
import re
from collections.abc import Callable, Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from kemm.checkpoint import learner_from_config, load_state
from kemm.convert.table import Converted, Report
from kemm.learner import Learner

HERE = Path(__file__).parent
FOLDER = Path(os.environ.get("KEMM_GOLDEN", HERE.parent / "golden"))


class Case:
    """One golden case.

    Args:
        path: Its JSON file.
        info: What that says.
    """

    def __init__(self, path: Path, info: dict[str, Any]) -> None:
        self.path, self.info = path, info
        self.name: str = info.get("name") or info.get("case") or path.stem
        self.config: dict[str, Any] = info.get("config", {})
        self.split: str = info.get("split") or info.get("variant") or ""

    @property
    def kind(self) -> str:
        """What chooses the adapter: the case's own kind, or the original's file and class; its name where there are no tensors."""
        if not self.has_tensors:
            return self.name
        return self.info.get("case") or f"{self.info.get('repository')} {self.info.get('file')} {self.info.get('original_class')}"

    @property
    def has_tensors(self) -> bool:
        return self.path.with_suffix(".safetensors").exists()

    @property
    def dtype(self) -> torch.dtype:
        """The precision that the original ran in."""
        stated = str(self.info.get("run_dtype") or self.info.get("dtype"))
        return torch.float64 if stated.startswith("float64") else torch.float32

    @property
    def tolerance(self) -> float:
        """How far |difference| / (1 + |expected|) may go."""
        return 1e-9 if self.dtype == torch.float64 or not self.has_tensors else 5e-5

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """All tensors of the file, as they are there."""
        return load_file(self.path.with_suffix(".safetensors"))

    def group(self, name: str) -> dict[str, Tensor]:
        """The tensors under `name/`, floats in the precision of the case."""
        found = {key.removeprefix(f"{name}/"): t for key, t in self.tensors.items() if key.startswith(f"{name}/")}
        return {key: t.to(self.dtype) if t.is_floating_point() else t for key, t in found.items()}

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        return self.group("weights")

    @cached_property
    def inputs(self) -> dict[str, Tensor]:
        return self.group("inputs")

    @cached_property
    def outputs(self) -> dict[str, Tensor]:
        return self.group("outputs")

    @cached_property
    def grads(self) -> dict[str, Tensor]:
        return self.group("grads")


class Answer(NamedTuple):
    """What kemm makes of a case: tensors by the golden's own names.

    Attributes:
        outputs: All outputs.
        grads: Gradients by the original's keys (see `gradients`) and by `input.<name>`; more than the case holds is no fault.
    """

    outputs: dict[str, Tensor]
    grads: dict[str, Tensor] = {}


Adapter = Callable[[Case], Answer]

Comparison = Callable[[Case], Iterable[tuple[str, Any, Any]]]
"""Goes through a case without tensors: (name, kemm's value, expected value) of each thing that is compared (see `values.differences`)."""


@cache
def adapters() -> dict[str, Adapter]:
    """Kind of case -> adapter: the dicts `ADAPTERS` of all files of the folder `adapters`."""
    return _listed("ADAPTERS")


@cache
def comparisons() -> dict[str, Comparison]:
    """Kind of case without tensors -> comparison: the dicts `COMPARISONS` of all files of the folder `adapters`."""
    return _listed("COMPARISONS")


def _listed(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in sorted((HERE / "adapters").glob("[a-z]*.py")):
        found |= getattr(importlib.import_module(f"tests.parity.adapters.{path.stem}"), name, {})
    return found


def collect(folder: Path = FOLDER) -> tuple[list[Case], list[Case]]:
    """The cases below a folder: those of a kind that has an adapter or a comparison, and the others."""
    tested, others = [], []
    for path in sorted(folder.rglob("*.json")):
        info = json.loads(path.read_text(encoding="utf-8"))
        case = Case(path, info)
        if case.has_tensors or "name" in info or "case" in info:
            known = adapters() if case.has_tensors else comparisons()
            (tested if case.kind in known else others).append(case)
    return tested, others


def build(case: Case, converted: Converted) -> Learner:
    """The learner of a converted case, in its precision and in eval mode; unpacked, since the cases hold the states at padding too."""
    learner = learner_from_config(converted.config).to(case.dtype).eval()
    learner.network.packing = False
    load_state(learner, converted.state, source=case.name)
    return learner


def gradients(case: Case, module: nn.Module, report: Report, **inputs: Tensor) -> dict[str, Tensor]:
    """The gradients of all the original's parameters, by its keys and in its shapes; zeros where kemm's parameter got none.

    Args:
        case: The case.
        module: The learner after its backward pass.
        report: The converter's: where each key went.
        inputs: Inputs of the original whose gradients are wanted too, by its names.
    """
    own = dict(module.named_parameters())
    found = {f"input.{name}": _gradient(tensor) for name, tensor in inputs.items()}
    for key, target in report.matched.items():
        if all(name in own for name in target.names):
            whole = torch.zeros_like(case.weights[key], requires_grad=True)
            grads = [_gradient(own[name]) for name in target.names]
            found[key] = torch.autograd.grad(list(target.change(whole)), whole, grads)[0]
    return found


def check(case: Case, answer: Answer) -> list[str]:
    """What is wrong with an answer: one line for each tensor that is absent or too far from the case's."""
    wrong = []
    for name, expected in case.outputs.items():
        mended = [defect for defect in defects() if defect.case == case.name and re.fullmatch(defect.output, name)]
        if mended:
            wrong += mended[0].check(case, name, answer.outputs.get(name))
        else:
            wrong += compare(f"outputs/{name}", answer.outputs.get(name), expected, case.tolerance)
    for name, expected in case.grads.items():
        wrong += compare(f"grads/{name}", answer.grads.get(name), expected, case.tolerance)
    for name, norm in case.info.get("grad_norms", {}).items():
        own = answer.grads[name].norm() if name in answer.grads else None
        wrong += compare(f"grad_norms/{name}", own, torch.tensor(norm, dtype=case.dtype), case.tolerance)
    for name in without_gradient(case):
        if name in answer.grads and answer.grads[name].any():
            wrong.append(f"params_without_grad/{name}: has a gradient")
    return wrong


def without_gradient(case: Case) -> list[str]:
    """The parameters that get no gradient, `run:` before those of one run (`no_grad_params_run`)."""
    names = list(case.info.get("params_without_grad", case.info.get("no_grad_params", [])))
    for key, listed in case.info.items():
        if key.startswith("no_grad_params_"):
            names += [f"{key.removeprefix('no_grad_params_')}:{name}" for name in listed]
    return names


def compare(name: str, own: Tensor | None, expected: Tensor, tolerance: float) -> list[str]:
    """Nothing, or one line that says how a tensor differs from the expected one: integers must be equal."""
    if own is None:
        return [f"{name}: absent"]
    if own.shape != expected.shape:
        return [f"{name}: shape {tuple(own.shape)}, expected {tuple(expected.shape)}"]
    if not expected.is_floating_point():
        return [] if torch.equal(own.to(expected.dtype), expected) else [f"{name}: {own.tolist()}, expected {expected.tolist()}"]
    difference = ((own.detach().to(expected.dtype) - expected).abs() / (1 + expected.abs())).nan_to_num(torch.inf)
    worst = float(difference.max()) if difference.numel() else 0.0
    return [] if worst <= tolerance else [f"{name}: differs by {worst:.2e} of 1 + |x|, allowed is {tolerance:.0e}"]


class Defect(NamedTuple):
    """A value that the original gets wrong and kemm does not.

    Attributes:
        case: Name of the case.
        output: Name of the output: a regular expression, where several are wrong for one reason.
        reason: What is wrong with the original's.
        value: kemm's, for the sizes of the case of that `split`; for other sizes, and where none is given, it is finite.
        split: Which set of cases the value is for.
    """

    case: str
    output: str
    reason: str
    value: float | list[Any] | None = None
    split: str = "dev"

    def check(self, case: Case, output: str, own: Tensor | None) -> list[str]:
        """What is wrong with kemm's value."""
        name = f"outputs/{output} ({self.reason})"
        if own is None:
            return [f"{name}: absent"]
        if case.split == self.split and self.value is not None:
            return compare(name, own, torch.tensor(self.value, dtype=own.dtype), case.tolerance)
        return [] if own.isfinite().all() else [f"{name}: {own.tolist()}"]


@cache
def defects() -> list[Defect]:
    """The entries of defects.yaml."""
    entries = yaml.safe_load((HERE / "defects.yaml").read_text(encoding="utf-8"))
    return [Defect(**entry) for entry in entries or []]


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
