"""The command line: `python train.py --config X.yaml` fits, and a first word chooses another command or tool.

Only the standard library and PyYAML are imported before a config was read without fault: help, version and syntax errors answer at once.
"""

import difflib
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import kemm
from kemm import config

COMMANDS = {
    "fit": "train (also without the word: python train.py --config X.yaml)",
    "validate": "evaluate on the validation data",
    "test": "evaluate on the test data and write the report",
    "predict": "write predictions",
}

TOOLS = {
    "controls": ("kemm.controls:main", "run a config without graph, memory or image, over several seeds"),
    "convert": ("kemm.convert:main", "turn a published checkpoint into kemm's weights and config"),
    "vectors": ("kemm.kg.vectors_tool:main", "turn entity vectors (OpenKE, word2vec, numpy) into a table that is memory-mapped"),
}

_HELP = """\
usage: python train.py [command] --config FILE [--ckpt_path last|best|FILE] [--dotted.key value ...]

commands:
{commands}

tools:
{tools}

options:
  --config FILE           one file is one whole experiment; its run is written to runs/<name of the file>/
  --dotted.key value      changes one value, for example --trainer.max_steps 5
                          or --model.network.encoders.text.init_args.depth 3
  --ckpt_path last|best|FILE
                          fit goes on from this checkpoint, the other commands evaluate it
  --print_config          prints the config with every default and ends
  --version, -h, --help   after a command, --help lists every option; after a tool, those of the tool

KEMM_TRACEBACK=1 shows the traceback of every error.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: the arguments behind the program's name; those of the process if not given.

    Returns:
        The exit status: 0, 1 for an error that a message explains, 2 for a wrong command line or config, 143 after SIGTERM.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(help_text())
        return 0
    if arguments[0] == "--version":
        sys.stdout.write(f"kemm {kemm.__version__}\n")
        return 0
    if arguments[0].startswith("-"):
        arguments.insert(0, "fit")
    name, options = arguments[0], arguments[1:]
    if name in TOOLS:
        return load(TOOLS[name][0])(options)
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, [*COMMANDS, *TOOLS], n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return _fail(f"unknown command {name!r}, expected one of {', '.join([*COMMANDS, *TOOLS])}{hint}")
    return _lightning(name, options)


def help_text() -> str:
    """Returns the text of `--help`."""
    commands = "\n".join(f"  {name:<12}{text}" for name, text in COMMANDS.items())
    return _HELP.format(commands=commands, tools="\n".join(f"  {name:<12}{text}" for name, (_, text) in TOOLS.items()))


def load(target: str) -> Callable[[Sequence[str]], int]:
    """Imports the function that `module:function` names."""
    module, _, function = target.partition(":")
    loaded: Callable[[Sequence[str]], int] = getattr(importlib.import_module(module), function)
    return loaded


def config_path(options: Sequence[str]) -> Path | None:
    """Finds the one config of a command line.

    Args:
        options: the arguments behind the command.

    Returns:
        Its path; None if there is none.

    Raises:
        kemm.config.ConfigError: there are several, or the option has no value.
    """
    found: list[str] = []
    for index, option in enumerate(options):
        if option in ("--config", "-c"):
            if index + 1 == len(options):
                raise config.ConfigError([f"{option} has no value, expected a YAML file"])
            found.append(options[index + 1])
        elif option.startswith("--config="):
            found.append(option.removeprefix("--config="))
    if len(found) > 1:
        # A second file would replace encoders and objectives of the first in silence.
        raise config.ConfigError([f"--config is given {len(found)} times, expected one file; change single values by --dotted.key value"])
    return Path(found[0]) if found else None


def _lightning(command: str, options: list[str]) -> int:
    wants_help = "-h" in options or "--help" in options
    try:
        path = config_path(options)
        if path is None and not wants_help:
            raise config.ConfigError([f"{command} has no --config, expected --config FILE"])
        root = None if path is None else config.read(path)
    except config.ConfigError as error:
        return _fail(*str(error).split("\n"))
    # The user's own classes lie beside the config or where the command is called; behind all else, so that they hide no library.
    sys.path.extend(folder for folder in (str(Path.cwd()), str((path or Path()).resolve().parent)) if folder not in sys.path)
    from kemm.run import run, show_help
    from kemm.training import TrainingModule

    if path is None or root is None or wants_help:
        show_help(command, TrainingModule)
        return 0
    return run(command, TrainingModule, path, root, options)


def _fail(*lines: str) -> int:
    for line in lines:
        sys.stderr.write(f"error: {line}\n")
    return 2
