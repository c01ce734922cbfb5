"""Checkpoints as they are published: a folder of weights and settings, an archive of one, or its name on the Hugging Face hub."""

import importlib
import json
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kemm.convert.signature import Settings
from kemm.convert.state import read_file, read_state
from kemm.convert.table import State

HUB = "hub:"
"""What precedes the name of a repository of the hub, as in `hub:google-bert/bert-base-uncased`."""

ARCHIVES = (".tar", ".tar.gz", ".tgz")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json", "weights.th")
"""Where weights are looked for, in this order: safetensors before pickles, one file before several; the last is AllenNLP's."""

FORMS = (".safetensors", ".bin", ".th", ".pt", ".pth", ".ckpt")
"""The endings of what is read where none of `WEIGHTS` is there, and one file alone has one of them."""

SETTINGS = ("config.json", "metadata.json", "bert_config.json", "ernie_config.json")
"""The files that settings are read from; the first that is there counts."""


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


def read_published(path: Path | str) -> tuple[State, Settings]:
    """The tensors of a checkpoint by its own names, and the settings beside them or within the file; none is possible."""
    if Path(path).is_file() and not is_published(path):
        state, within = read_file(path)
        return state, {**within, **read_settings(Path(path).parent)}
    with opened(path) as folder:
        settings = read_settings(folder)
        state, within = read_weights(folder)
        return state, {**within, **settings}


def is_published(path: Path | str) -> bool:
    """Whether a path is a folder, an archive or a name of the hub, and no single file of tensors."""
    path = str(path)
    if path.startswith(HUB) or Path(path).is_dir():
        return True
    file = path.endswith(".tar") and Path(path).is_file() and not tarfile.is_tarfile(path)  # some call a pickle `.pth.tar`
    return path.endswith(ARCHIVES) and not file


def read_tensors(path: Path | str) -> State:
    """The tensors of a checkpoint by its own names, wherever they are."""
    if Path(path).is_file() and not is_published(path):
        return read_state(path)
    with opened(path) as folder:
        return read_weights(folder)[0]


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
            except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
                raise ValueError(f"cannot be read as an archive ({error})") from None
            yield _only(Path(folder))
    elif Path(path).is_dir():
        yield Path(path)
    else:
        raise FileNotFoundError(f"{path}: no such checkpoint; `{HUB}` precedes the name of one on the Hugging Face hub")


def read_settings(folder: Path) -> Settings:
    """What the file of settings says, or the `model_config` of LUKE's metadata.json; nothing where there is none."""
    for name in SETTINGS:
        if (folder / name).is_file():
            settings = _object(folder / name)
            return {**settings["model_config"], "model_type": "luke"} if "model_config" in settings else settings
    return {}


def read_weights(folder: Path) -> tuple[State, Settings]:
    """The tensors of a folder, of all its shards, and the settings within the file."""
    name = next((name for name in WEIGHTS if (folder / name).is_file()), None)
    if name is None:
        return read_file(_alone(folder))
    if not name.endswith(".index.json"):
        return read_file(folder / name)
    shards = _object(folder / name).get("weight_map")
    if not isinstance(shards, dict):
        raise ValueError(f"{name} has no 'weight_map' of tensors and their files")
    state: State = {}
    for shard in sorted(set(shards.values())):
        state |= read_state(folder / shard)
    lacking = sorted(shards.keys() - state.keys())
    if lacking:
        raise ValueError(f"{name} names {len(lacking)} tensors that its files do not hold, such as {lacking[:3]}")
    return state, {}


def _object(path: Path) -> dict[str, Any]:
    """The object that a file of JSON holds."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is no JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} holds a {type(value).__name__}, expected an object")
    return value


def _alone(folder: Path) -> Path:
    """The one file of tensors in a folder."""
    files = sorted(path for path in folder.iterdir() if path.suffix in FORMS and path.is_file())
    if not files:
        raise FileNotFoundError(f"{folder}: there are no weights; expected one of {list(WEIGHTS)}, or one file ending in {list(FORMS)}")
    if len(files) > 1:
        raise ValueError(f"it holds {[path.name for path in files]}, and one of them is wanted: name that file")
    return files[0]


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
    return Path(hub.snapshot_download(name, allow_patterns=[*SETTINGS, "tokenizer.json", weights, shards]))
