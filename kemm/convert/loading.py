"""Any published checkpoint as kemm's weights and config: the keys tell what it is, the settings beside it what no key tells."""

import inspect
from pathlib import Path
from typing import Any

from kemm.convert.published import FAMILIES, Family, read_published
from kemm.convert.signature import Settings, find, places
from kemm.convert.systems import SYSTEMS, arguments_of, converter_of, recognise, signature_of
from kemm.convert.table import Converted, strip


def load(path: Path | str, system: str = "", **options: Any) -> Converted:
    """Converts a published checkpoint.

    Args:
        path: A file of tensors (safetensors, or a pickle of tensors alone) or the folder it is in, an archive of such a folder, or
            `hub:` and the name of one; settings (config.json, bert_config.json, ernie_config.json, LUKE's metadata.json) are read from
            beside the weights.
        system: The system it is of, whatever the keys and the settings say; by default they tell.
        options: Arguments of the system's converter that precede what the settings say.

    Raises:
        FileNotFoundError: There is no such file or folder, or no weights in it.
        ValueError: It is damaged, or of no system or of several, or of an architecture that kemm has not, or an argument is unknown or
            lacks.
    """
    if system:
        converter_of(system)  # a wrong name is an error before a large file is read
    state, settings = read_published(path)
    if all(key.startswith("module.") for key in state):
        state = strip(state, "module.")
    name = system or recognise(state.keys(), _told(settings))
    family = _family(settings, name)
    try:
        told = signature_of(name).told(settings) | (_read(settings, family) if family else {})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the settings are not as {name} publishes them ({type(error).__name__}: {error})") from None
    known, given = arguments_of(name), told | options
    if wrong := [option for option in options if option not in known]:
        raise ValueError(f"{name} has no {wrong}, expected arguments out of {list(known)}")
    if lacking := [option for option, kind in known.items() if kind.default is inspect.Parameter.empty and option not in given]:
        raise ValueError(
            f"{name} needs {lacking}, which neither the keys nor settings beside them tell (kemm.convert.{name} explains them)"
        )
    converted = converter_of(name)(state, **given)
    converted.report.system = name
    converted.report.assumed = {option: kind.default for option, kind in known.items() if option not in given}
    return converted


def _told(settings: Settings) -> tuple[str, ...]:
    """The systems that the settings tell: that of the `model_type`, or all where there is none."""
    if "model_type" not in settings:
        return SYSTEMS
    kind = str(settings["model_type"])
    if kind not in FAMILIES:
        raise ValueError(f"the model_type is {kind!r}, expected one of {list(FAMILIES)}")
    return (FAMILIES[kind].system,)


def _family(settings: Settings, system: str) -> Family | None:
    """The family of the `model_type` if it is of this system; else any of the system."""
    families = {kind: family for kind, family in FAMILIES.items() if family.system == system}
    return families.get(str(settings.get("model_type", "")), next(iter(families.values()), None))


def _read(settings: Settings, family: Family) -> dict[str, Any]:
    """The arguments that the settings tell."""
    for place, values in family.fixed.items():
        if (found := find(settings, (place,))) and found[0] not in values:
            raise ValueError(f"{place} is {found[0]!r}, and kemm computes {' or '.join(map(repr, values))}")
    return places(family.options)(settings)
