"""What a config can name: classes by their import path, and the parameters of their constructors."""

import difflib
import importlib
import inspect
import pkgutil
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, get_type_hints


@dataclass(frozen=True)
class Parameter:
    """What a constructor takes under one name.

    Args:
        hint: the annotation; `Any` where there is none.
        required: whether there is no default.
    """

    hint: Any
    required: bool


def parameters(of: Callable[..., Any]) -> tuple[dict[str, Parameter], bool]:
    """Returns the parameters of a class or function by name, and whether it takes others too.

    `**kwargs` of a constructor are followed to the next class of its method resolution order that has a constructor; where they end in
    another `**kwargs`, the answer is open.
    """
    names: dict[str, Parameter] = {}
    for function in [vars(c)["__init__"] for c in of.__mro__ if "__init__" in vars(c)] if isinstance(of, type) else [of]:
        if function is object.__init__:
            return names, False
        try:
            hints = get_type_hints(function)
        except Exception:  # a hint that exists for type checkers only: names are still known
            hints = {}
        given_parameters = list(inspect.signature(function).parameters.values())[isinstance(of, type) :]
        for parameter in given_parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                hint = hints.get(parameter.name, Any)
                names.setdefault(parameter.name, Parameter(hint, parameter.default is parameter.empty))
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in given_parameters):
            return names, False
    return names, True


def a_class(base: type) -> str:
    """Returns what a `class_path` must name, in words."""
    return "a class" if base is object else f"a subclass of {base.__name__}"


def find_class(path: str, base: type) -> type | str:
    """Imports the class that a `class_path` names, or says what is wrong with it.

    Args:
        path: the import path, such as `kemm.encoders.TextEncoder`.
        base: the class that it must be, or derive from.

    Returns:
        The class, or the message.
    """
    wanted = a_class(base)
    names = path.split(".")
    if len(names) == 1:
        known = [] if base is object else list(_subclasses(base))
        alike = near(path, [f"{c.__module__}.{c.__name__}" for c in known], last_part=True)
        found = [c for c in known if c.__name__ == path]
        return found[0] if len(found) == 1 else f"{path!r} is no import path, expected module.Class, {wanted}{alike}"
    module: types.ModuleType | None = None
    for index, name in enumerate(names):
        parent = ".".join(names[:index])
        if module is None or not hasattr(module, name):
            try:
                module = importlib.import_module(f"{parent}.{name}" if parent else name)
                continue
            except ModuleNotFoundError as error:
                if error.name != (f"{parent}.{name}" if parent else name) and not (parent and not hasattr(module, "__path__")):
                    return f"importing {'.'.join(names[: index + 1])} failed: {error}, expected {wanted}"
            except Exception as error:  # the user's own module is broken
                return f"importing {'.'.join(names[: index + 1])} failed: {type(error).__name__}: {error}, expected {wanted}"
            where = f"{parent} has no {name!r}" if parent else f"there is no module {name!r}"
            names_here = _names_in(module, base) if module is not None else _top_level()
            return f"{path!r}: {where}, expected {wanted}{near(name, names_here)}"
        value = getattr(module, name)
        if index == len(names) - 1:
            if inspect.isclass(value) and issubclass(value, base):
                return value
            what = f"a subclass of {value.__mro__[1].__name__}" if inspect.isclass(value) else f"a {type(value).__name__}"
            return f"{path!r} is {what}, expected {wanted}{near(name, [n for n in _names_in(module, base) if n != name])}"
        module = value
    return f"{path!r} is a module, expected {wanted}{near('', _names_in(module, base))}"


def near(name: str, names: Iterable[str], last_part: bool = False) -> str:
    """Returns ` (did you mean ...?)` with the known name that is most alike, or nothing.

    Args:
        name: what was written.
        names: the known names.
        last_part: whether only the part behind a name's last dot is compared.
    """
    known = {(full.rpartition(".")[2] if last_part else full): full for full in names}
    lower = {short.lower(): short for short in known}
    matches = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    return f" (did you mean {known[lower[matches[0]]]!r}?)" if matches else ""


def _subclasses(base: type) -> Iterator[type]:
    children: list[type] = base.__subclasses__()
    for child in children:
        yield child
        yield from _subclasses(child)


def _names_in(module: Any, base: type) -> list[str]:
    classes = [n for n, c in vars(module).items() if inspect.isclass(c) and issubclass(c, base)]
    modules = [info.name for info in pkgutil.iter_modules(getattr(module, "__path__", ()))]
    return [name for name in [*classes, *modules] if not name.startswith("_")]


def _top_level() -> list[str]:
    own = [entry for entry in sys.path if "site-packages" not in entry and "lib/python" not in entry]
    return [*(info.name for info in pkgutil.iter_modules(own)), "kemm", "torch", "timm", "pytorch_lightning", "torchmetrics"]
