"""What every public encoder, fusion, objective and task keeps to."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import kemm.encoders
import kemm.fusion
import kemm.objectives
import kemm.tasks
from kemm.batch import IGNORE, Batch, Stream, map_batch
from kemm.encoders import Encoder
from kemm.fusion import Fusion, FusionPoint, MemoryFusion
from kemm.learner import Learner
from kemm.model import FusionModel
from kemm.objectives import Objective
from kemm.tasks import Task
from tests.contracts.examples import ENCODERS, EXAMPLES, FUSIONS, OBJECTIVES, TASKS, Example

EXTRA = 3
BASES = {Encoder, Fusion, MemoryFusion, Objective, Task}

# What padding is filled with: things that would be noticed. Entries without a mask tell padding by these values.
FILL: dict[str, float] = {
    "mask": 0,
    "ids": 0,
    "types": 1,
    "words": -1,
    "labels": IGNORE,
    "features": 9.0,
    "boxes": 5.0,
    "targets": 0.5,
    "alignment": 1,
    "spans": -1,
    "priors": 0,
    "gold": 0,
    "positions": 0,
}


def build(example: Example, dtype: torch.dtype = torch.float64, seed: int = 0) -> FusionModel | Learner:
    """The example's model in eval mode, no parameter at a value that hides anything."""
    torch.manual_seed(seed)
    model = example.build().to(dtype).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def given(example: Example, dtype: torch.dtype = torch.float64) -> Batch:
    batch: Batch = map_batch(example.batch(), lambda t: t.to(dtype) if t.is_floating_point() else t)
    return batch


def subjects(example: Example, model: nn.Module) -> list[nn.Module]:
    """The modules of the example's class."""
    found = [module for name, module in model.named_modules() if type(module) is example.covers and not name.startswith("teacher")]
    assert found, f"the example has no {example.covers.__name__}"
    return found


def network(model: FusionModel | Learner) -> FusionModel:
    return model if isinstance(model, FusionModel) else model.network


def answer(model: FusionModel | Learner, batch: Batch) -> dict[str, Tensor]:
    """The states at real places, or the objectives' sums."""
    if isinstance(model, FusionModel):
        return {
            name: stream.x[stream.mask if stream.mask.shape == stream.x.shape[:-1] else stream.real()]
            for name, stream in model(batch).items()
        }
    _, result = model(batch)
    return {f"{name}.{part}": total for name, losses in result.items() for part, (total, _) in losses.items()}


def scalar(model: FusionModel | Learner, batch: Batch) -> Tensor:
    """Something to differentiate that every state enters with a weight of its own."""
    if isinstance(model, Learner):
        return model(batch)[0]
    return sum(((x * torch.sin(torch.arange(1, x.numel() + 1).view_as(x))).sum() for x in answer(model, batch).values()), torch.zeros(()))


def same(one: dict[str, Tensor], two: dict[str, Tensor], tolerance: float = 1e-10) -> bool:
    return one.keys() == two.keys() and all(
        one[name].shape == two[name].shape and torch.allclose(one[name], two[name], rtol=tolerance, atol=tolerance) for name in one
    )


def padded(batch: Batch, extra: int = EXTRA) -> Batch:
    """The batch with more padding in every entry that has some."""

    def longer(entry: dict[str, Tensor]) -> dict[str, Tensor]:
        result = {}
        for name, value in entry.items():
            fill = 1.0 if name == "ids" and "mask" in entry else FILL[name]
            result[name] = F.pad(value, (0, 0) * (value.dim() - 2) + (0, extra), value=fill)
        return result

    return {name: longer(value) if isinstance(value, dict) and value.keys() <= FILL.keys() else value for name, value in batch.items()}


def reads_padding(model: FusionModel | Learner) -> bool:
    return any(getattr(module, "reads_padding", False) for module in model.modules())


def names(examples: list[Example]) -> Any:
    return pytest.mark.parametrize("example", examples, ids=str)


@pytest.mark.parametrize("package", [kemm.encoders, kemm.fusion, kemm.objectives, kemm.tasks], ids=lambda p: p.__name__)
def test_no_public_class_is_missing(package: Any) -> None:
    public = {value for name in package.__all__ if isinstance(value := getattr(package, name), type)}
    due = {cls for cls in public if issubclass(cls, Encoder | Fusion | Objective)} - BASES
    assert due - {example.covers for example in EXAMPLES} == set()


@names(EXAMPLES)
def test_streams_have_states_masks_and_heights(example: Example) -> None:
    model = build(example)
    batch = given(example)
    streams = network(model)(batch)
    for name, stream in streams.items():
        places = stream.x.shape[:-1]
        assert stream.mask.dtype == torch.bool
        assert stream.mask.shape in (places, (*places, places[-1]))
        assert stream.x.dtype == torch.float64
        assert stream.x[stream.mask if stream.mask.shape == places else stream.real()].isfinite().all()
        if name in network(model).inputs:
            assert stream.height == network(model).top(name)
        if stream.positions is not None:
            assert stream.positions.shape == places


@names(EXAMPLES)
def test_padding_changes_nothing_unless_declared(example: Example) -> None:
    model = build(example)
    batch = given(example)
    assert same(answer(model, batch), answer(model, padded(batch))) != reads_padding(model)


@names(EXAMPLES)
def test_every_parameter_gets_a_gradient(example: Example) -> None:
    model = build(example)
    total = scalar(model, given(example))
    if total.requires_grad:
        total.backward()
    for module in subjects(example, model):
        unused = getattr(module, "unused", ())
        for name, parameter in module.named_parameters():
            if name in unused:
                assert parameter.grad is None or parameter.grad.abs().max() < 1e-12, name
            elif parameter.requires_grad:
                assert parameter.grad is not None and parameter.grad.any() and parameter.grad.isfinite().all(), name


@names(EXAMPLES)
def test_inputs_are_not_changed_in_place(example: Example) -> None:
    model = build(example)
    batch = given(example)
    before = map_batch(batch, torch.clone)
    seen: list[tuple[Any, Any]] = []

    def keep(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        given = [opened(value) for value in inputs[:2]]
        seen.extend((value, map_batch(value, torch.clone)) for value in given)

    for module in subjects(example, model):
        module.register_forward_pre_hook(keep)
    answer(model, batch)
    assert equal(batch, before)
    assert all(equal(now, then) for now, then in seen)
    assert seen or isinstance(subjects(example, model)[0], Encoder)


def opened(value: Any) -> Any:
    """Read-only mappings as dicts of the same tensors."""
    return {name: opened(part) for name, part in value.items()} if isinstance(value, Mapping) else value


def equal(one: Any, two: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, two)
    if isinstance(one, Stream):
        return all(equal(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[name], two[name]) for name in one)
    return bool(one == two)


@names(EXAMPLES)
def test_bfloat16_runs_and_is_near(example: Example) -> None:
    model = build(example, torch.float32)
    batch = given(example, torch.float32)
    exact = answer(model, batch)
    with torch.autocast("cpu", torch.bfloat16):
        loss = scalar(model, batch)
        rough = answer(model, batch)
    if any(parameter.requires_grad for parameter in model.parameters()):
        loss.backward()
    assert exact.keys() == rough.keys()
    for name, value in exact.items():
        if "accuracy" not in name:
            assert (rough[name].float() - value).norm() <= 0.05 * value.norm() + 0.02, name


@names(EXAMPLES)
def test_a_row_without_anything_gives_numbers(example: Example) -> None:
    model = build(example)
    batch = given(example)
    for value in batch.values():
        if isinstance(value, dict):
            for name in value.keys() & {"mask", "labels", "ids", "spans", "priors", "gold", "words"}:
                value[name] = value[name].clone()
                value[name][0] = FILL[name]
    for name, value in answer(model, batch).items():
        assert value.isfinite().all(), name
    total = scalar(model, batch)
    if total.requires_grad:
        total.backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


@names([*ENCODERS, *FUSIONS])
def test_streams_may_be_entries(example: Example) -> None:
    model = network(build(example))
    batch = given(example)
    wanted = {path.split(".")[0] for fusion in model.fusions for path in fusion.needs if "." in path}
    embedded = {name: model.embed(name, batch[name]) for name in model.inputs if name in batch and name not in wanted}
    if "alignment" in batch.get("region", {}):
        embedded.pop("region", None)
    assert same(answer(model, batch), answer(model, batch | embedded))


@names(ENCODERS)
def test_a_stream_is_climbed_on_from_its_height(example: Example) -> None:
    model = network(build(example))
    batch = given(example)
    (name,) = model.inputs
    stream = model.embed(name, batch[name])
    for height in range(model.top(name) + 1):
        assert same(answer(model, batch), answer(model, batch | {name: model.climb(name, stream, height)}))


@names(FUSIONS)
def test_a_fusion_is_skipped_without_what_it_needs(example: Example) -> None:
    model = build(example)
    assert isinstance(model, FusionModel)
    points = [FusionPoint(dict(at), fusion) for at, fusion in zip(model.points, model.fusions, strict=True)]  # type: ignore[arg-type]
    encoders: Any = dict(model.encoders.items())
    without = FusionModel(encoders, [point for point in points if type(point.fusion) is not example.covers]).eval()
    ran: list[nn.Module] = []
    for module in subjects(example, model):
        module.register_forward_hook(lambda module, inputs, output: ran.append(module))
    answer(model, given(example))
    assert ran
    skipped = 0
    for name in given(example).keys() - {"id"}:
        batch = given(example)
        del batch[name]
        ran.clear()
        left = answer(model, batch)
        if not ran:
            plain = answer(without, batch)
            assert same(left, {key: plain[key] for key in left})
            skipped += 1
    assert skipped


@names([*OBJECTIVES, *TASKS])
def test_an_objective_passes_over_a_batch_without_what_it_needs(example: Example) -> None:
    model = build(example)
    assert isinstance(model, Learner)
    (objective,) = subjects(example, model)
    assert isinstance(objective, Objective)
    assert objective.needs
    assert objective.wants(given(example))
    for path in objective.needs:
        batch = given(example)
        entry, _, part = path.partition(".")
        if part:
            del batch[entry][part]
        else:
            del batch[entry]
        assert not objective.wants(batch)
    with pytest.raises(ValueError, match=r"no objective of .* can use a batch of"):
        model({"id": given(example)["id"]})


@names(EXAMPLES)
def test_a_copy_answers_alike(example: Example) -> None:
    model = build(example)
    first = answer(model, given(example))
    assert same(first, answer(deepcopy(model), given(example)), 0)


@names(EXAMPLES)
def test_a_saved_state_answers_alike(example: Example) -> None:
    model, other = build(example), build(example, seed=1)
    first = answer(model, given(example))
    answer(other, given(example))
    other.load_state_dict(model.state_dict())
    assert same(first, answer(other, given(example)), 0)


@names(EXAMPLES)
def test_packed_equals_padded(example: Example) -> None:
    model = build(example)
    batch = padded(given(example), 9)
    gradients: list[dict[str, Tensor]] = []
    answers: list[dict[str, Tensor]] = []
    switch = network(model).packing
    for packing in (False, switch):
        network(model).packing = packing
        model.zero_grad()
        answers.append(answer(model, batch))
        scalar(model, batch).backward() if any(p.requires_grad for p in model.parameters()) else None
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert same(*answers)
    assert same(*gradients)


@names([example for example in OBJECTIVES + TASKS if "momentum" not in str(example)])
def test_corruption_is_a_pure_function(example: Example) -> None:
    model = build(example)
    assert isinstance(model, Learner)
    assert same(answer(model, given(example)), answer(model, given(example)), 0)


@names(TASKS)
def test_tasks_predict_rows_that_are_scored(example: Example) -> None:
    model = build(example, torch.float32)
    batch = given(example, torch.float32)
    (task,) = subjects(example, model)
    assert isinstance(task, Task)
    with torch.no_grad():
        rows = task.predict(network(model)(batch), batch, network(model))
    assert len({row["id"] for row in rows}) == len(rows) > 0
    scores = task.evaluate(rows)
    assert scores
    assert isinstance(task.official(rows), list)


def test_the_suite_notices() -> None:
    """The checks can fail: a fusion that reads padding and one that changes its input."""

    class Leaky(Fusion):
        def forward(self, streams: Any, batch: Batch, network: FusionModel) -> Any:
            return {"text": streams["text"]._replace(x=streams["text"].x + streams["text"].x.sum(1, keepdim=True))}

    class InPlace(Fusion):
        def forward(self, streams: Any, batch: Batch, network: FusionModel) -> Any:
            streams["text"].x.mul_(2)
            return {}

    def example(fusion: type[Fusion]) -> Example:
        text = next(e for e in FUSIONS if e.covers is kemm.fusion.Pooled)
        make: Callable[[], FusionModel] = lambda: FusionModel(  # noqa: E731
            {"text": kemm.encoders.TextEncoder(23, 8, 2, 2, 16, 32)}, [FusionPoint({"text": 1}, fusion())]
        )
        return Example(fusion, make, text.batch)

    with pytest.raises(AssertionError):
        test_padding_changes_nothing_unless_declared(example(Leaky))
    with pytest.raises(AssertionError), torch.no_grad():
        test_inputs_are_not_changed_in_place(example(InPlace))
