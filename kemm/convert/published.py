"""Checkpoints as they are published: a folder of config.json and weights, an archive of one, or its name on the Hugging Face hub."""

import importlib
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kemm.convert.state import read_state
from kemm.convert.table import Converted, State

HUB = "hub:"
"""What precedes the name of a repository of the hub, as in `hub:google-bert/bert-base-uncased`."""

ARCHIVES = (".tar", ".tar.gz", ".tgz")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Where weights are looked for, in this order: safetensors before pickles, one file before several."""

Settings = Mapping[str, Any]
"""What config.json says."""


class Family(NamedTuple):
    """The checkpoints of one architecture.

    Attributes:
        system: The module of this package that holds the converter, and the converter's name.
        options: Argument of the converter -> its places in config.json, dots between the levels; the first that is there counts.
        fixed: Place in config.json -> the values that kemm computes; others are an error.
    """

    system: str
    options: Mapping[str, tuple[str, ...]]
    fixed: Mapping[str, tuple[object, ...]] = {}


_ABSOLUTE = {"position_embedding_type": ("absolute",), "is_decoder": (False,), "add_cross_attention": (False,)}
_BERT = {
    "heads": ("num_attention_heads",),
    "eps": ("layer_norm_eps",),
    "activation": ("hidden_act",),
    "padding_id": ("pad_token_id",),
}
_MODERNBERT = {
    "heads": ("num_attention_heads",),
    "eps": ("norm_eps",),
    "activation": ("hidden_activation",),
    "head_activation": ("classifier_activation",),
    "every": ("global_attn_every_n_layers",),
    "layer_types": ("layer_types",),
    "local_attention": ("local_attention",),
    "theta": ("rope_parameters.full_attention.rope_theta", "global_rope_theta"),
    "local_theta": ("rope_parameters.sliding_attention.rope_theta", "local_rope_theta"),
    "max_length": ("max_position_embeddings",),
    "padding_id": ("pad_token_id",),
}
_NO_BIAS = {
    **dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), (False,)),
    **dict.fromkeys((f"rope_parameters.{kind}.rope_type" for kind in ("full_attention", "sliding_attention")), ("default",)),
    "decoder_bias": (True,),
}
_GPT2 = {"heads": ("n_head",), "eps": ("layer_norm_epsilon",), "activation": ("activation_function",)}
_SCALED = {"scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,)}

FAMILIES = {
    "bert": Family("bert", _BERT, _ABSOLUTE),
    "roberta": Family("roberta", _BERT, _ABSOLUTE),
    "xlm-roberta": Family("roberta", _BERT, _ABSOLUTE),
    "camembert": Family("roberta", _BERT, _ABSOLUTE),
    "distilbert": Family("distilbert", {"heads": ("n_heads",), "activation": ("activation",), "padding_id": ("pad_token_id",)}),
    "gpt2": Family("gpt2", _GPT2, _SCALED),
    "modernbert": Family("modernbert", _MODERNBERT, _NO_BIAS),
    "luke": Family("luke", _BERT),
}
"""`model_type` of config.json -> its family."""


def published(path: Path | str, system: str = "", **options: Any) -> Converted:
    """Converts a published checkpoint; its config.json tells what it is.

    Args:
        path: A folder with config.json (LUKE's own: metadata.json) and weights (safetensors or a pickle of tensors, in one file or
            several), an archive of such a folder, or `hub:` and the name of one on the hub.
        system: The converter that is expected; any by default.
        options: Arguments of the converter that precede what config.json says.

    Raises:
        FileNotFoundError: There is no such folder, or no weights in it.
        ValueError: It is of an architecture that kemm has not, or damaged.
    """
    with opened(path) as folder:
        settings = read_settings(folder)
        kind = str(settings.get("model_type", ""))
        family = FAMILIES.get(kind)
        if family is None or (system and system != family.system):
            expected = [name for name, family in FAMILIES.items() if not system or family.system == system]
            raise ValueError(f"the model_type is {kind!r}, expected one of {expected}")
        for place, values in family.fixed.items():
            if (found := _find(settings, (place,))) and found[0] not in values:
                raise ValueError(f"{place} is {found[0]!r}, and kemm computes {' or '.join(map(repr, values))}")
        told = {name: found[0] for name, places in family.options.items() if (found := _find(settings, places))}
        converter = getattr(importlib.import_module(f"kemm.convert.{family.system}"), family.system)
        return converter(read_weights(folder), **(told | options))


def is_published(path: Path | str) -> bool:
    """Whether a path is what `published` reads, and no single file of tensors."""
    return str(path).startswith(HUB) or Path(path).is_dir() or str(path).endswith(ARCHIVES)


def read_tensors(path: Path | str) -> State:
    """The tensors of a checkpoint by its own names, wherever they are."""
    if not is_published(path):
        return read_state(path)
    with opened(path) as folder:
        return read_weights(folder)


@contextmanager
def opened(path: Path | str) -> Iterator[Path]:
    """The folder that a path names: itself, what an archive holds, or a local copy of what the hub holds."""
    if str(path).startswith(HUB):
        yield _download(str(path).removeprefix(HUB))
    elif str(path).endswith(ARCHIVES) and Path(path).is_file():
        with tempfile.TemporaryDirectory() as folder:
            try:
                with tarfile.open(path) as archive:
                    archive.extractall(folder, filter="data")
            except (tarfile.TarError, EOFError, OSError) as error:
                raise ValueError(f"cannot be read as an archive ({error})") from None
            yield _only(Path(folder))
    elif Path(path).is_dir():
        yield Path(path)
    else:
        raise FileNotFoundError(f"{path}: no such checkpoint; `{HUB}` precedes the name of one on the Hugging Face hub")


def read_settings(folder: Path) -> Settings:
    """What config.json says, or the `model_config` of LUKE's metadata.json."""
    for name in ("config.json", "metadata.json"):
        if (folder / name).is_file():
            try:
                settings = json.loads((folder / name).read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{name} is no JSON ({error})") from None
            if not isinstance(settings, dict):
                raise ValueError(f"{name} holds a {type(settings).__name__}, expected an object")
            return {**settings["model_config"], "model_type": "luke"} if "model_config" in settings else settings
    raise FileNotFoundError(f"{folder}: there is no config.json")


def read_weights(folder: Path) -> State:
    """The tensors of a folder, of all its shards."""
    name = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    if name is None:
        raise FileNotFoundError(f"{folder}: there are no weights; expected one of {list(WEIGHTS)}")
    if not name.endswith(".index.json"):
        return read_state(folder / name)
    shards: dict[str, str] = json.loads((folder / name).read_text(encoding="utf-8"))["weight_map"]
    state: State = {}
    for shard in sorted(set(shards.values())):
        state |= read_state(folder / shard)
    lacking = sorted(shards.keys() - state.keys())
    if lacking:
        raise ValueError(f"{name} names {len(lacking)} tensors that its files do not hold, such as {lacking[:3]}")
    return state


def _find(settings: Settings, places: tuple[str, ...]) -> tuple[Any, ...]:
    """The value at the first place that is there and not null, as a tuple of one; else none."""
    for place in places:
        value: Any = settings
        for name in place.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            return (value,)
    return ()


def _only(folder: Path) -> Path:
    """The folder inside, where an archive holds one folder and nothing else."""
    inside = list(folder.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _download(name: str) -> Path:
    """A local copy of a repository of the hub: its weights and what describes them."""
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        raise ValueError(f"the hub needs `pip install huggingface_hub`; a folder with the files of {name} needs nothing") from None
    files = set(hub.list_repo_files(name))
    weights = next((weights for weights in WEIGHTS if weights in files), "")
    shards = weights.replace(".index.json", "").replace(".", "-*.", 1) if weights.endswith(".index.json") else weights
    return Path(hub.snapshot_download(name, allow_patterns=["config.json", "metadata.json", "tokenizer.json", weights, shards]))
