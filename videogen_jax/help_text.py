"""The texts of `--help`, at most 60 lines, and of `--help-all`, which has every option."""

import argparse
import re
import shutil
import textwrap
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

LINES = 60
"""The most lines of a `--help`."""

HELP, HELP_ALL = ("--help", "-h"), "--help-all"

# Groups of a run's options in the order of the help; those of other commands keep their own.
_ORDER = ("", "distributed", "task", "data", "optim", "loop", "mesh", "compute", "model")
_COLUMN = 30  # where descriptions begin
_MAX_WIDTH = 100


class Option(NamedTuple):
    """An option of a command.

    Attributes:
        name: the flag or, for a positional argument, its name.
        usage: the flags with their values, such as `--out PATH`.
        about: the description with the default.
    """

    name: str
    usage: str
    about: str


class Group(NamedTuple):
    """Options with a common first word, such as those of `--data.num-frames`; "" for the others."""

    name: str
    options: list[Option]


def print_help(main: Callable[..., object], options: dict[str, Any], **shown: Any) -> None:
    """Prints the help of a command.

    Args:
        main: the command's function.
        options: further arguments of `tyro.cli`.
        **shown: further arguments of `help_text`.
    """
    import tyro

    with warnings.catch_warnings():
        # tyro offers no other list of the options; `test_help_text.py` says when it is gone.
        warnings.simplefilter("ignore", DeprecationWarning)
        parser: Any = tyro.extras.get_parser(main, **options)
    print(help_text(parser, **shown))


def help_text(
    parser: argparse.ArgumentParser,
    *,
    everything: bool,
    first: Collection[str] = (),
    listing: str = "",
    more: Sequence[str] = (),
) -> str:
    """Returns the help of a command.

    If the whole help has more than `LINES` lines, `--help` has one line for each option, and if
    that is too long as well, only the options of `first` and how many others there are.

    Args:
        parser: the command's parser.
        everything: whether this is `--help-all`.
        first: the most important flags.
        listing: what to show before the options, such as a list of presets.
        more: names of options that the parser does not have.
    """
    head, groups = _head(parser, listing), _groups(parser)
    whole = head + _blocks(groups, _wrapped)
    if everything or len(whole) <= LINES:
        return "\n".join(whole)
    whole_ones = f"{HELP_ALL} shows whole descriptions."
    short = [*head, *_blocks(groups, _one_line), "", whole_ones]
    if len(short) <= LINES:
        return "\n".join(short)
    chosen, others = _chosen(groups, first)
    note = f"{HELP_ALL} shows all options. Others: {', '.join([*others, *more])}."
    return "\n".join([*head, *_blocks(chosen, _one_line), "", *textwrap.wrap(note, _width())])


def wants_help(words: Collection[str]) -> bool:
    """Returns whether a command line asks for `--help` or `--help-all`."""
    return HELP_ALL in words or any(word in words for word in HELP)


def _width() -> int:
    return min(shutil.get_terminal_size().columns, _MAX_WIDTH)


def _head(parser: argparse.ArgumentParser, listing: str) -> list[str]:
    names = [option.usage for group in _groups(parser) for option in group.options]
    positional = [name for name in names if not name.startswith("-")]
    usage = " ".join(["usage:", parser.prog, *positional, "[OPTIONS]"])
    paragraphs = re.split(r"\n\n+", (parser.description or "").strip())
    lines = [usage]
    for paragraph in paragraphs:
        lines += ["", *textwrap.wrap(" ".join(paragraph.split()), _width())]
    return [*lines, "", *listing.splitlines()] if listing else lines


def _groups(parser: argparse.ArgumentParser) -> list[Group]:
    """Returns the options by the first part of their names, in the order of the help."""
    found: dict[str, Group] = {"": Group("", [])}
    for action in parser._actions:
        if "--help" in action.option_strings:
            continue
        option = _option(action)
        name = option.name.removeprefix("--")
        group = name.partition(".")[0] if option.name.startswith("--") and "." in name else ""
        found.setdefault(group, Group(group, [])).options.append(option)
    rank = {name: position for position, name in enumerate(_ORDER)}
    return sorted(found.values(), key=lambda group: rank.get(group.name, len(rank)))


def _option(action: argparse.Action) -> Option:
    about = " ".join((action.help or "").split())
    metavar: Any = action.metavar or ""
    if not action.option_strings:
        name = action.dest.upper() if metavar in ("", "PATH", "STR") else metavar
        return Option(name, name, about)
    flags = action.option_strings
    usage = ", ".join(flags) if action.nargs == 0 else f"{', '.join(flags)} {metavar}"
    return Option(flags[0], usage.strip(), about)


def _chosen(groups: list[Group], first: Collection[str]) -> tuple[list[Group], list[str]]:
    """Returns the groups with the chosen options, and the names of what is left out."""
    chosen, others = [], []
    for group in groups:
        shown = [option for option in group.options if not group.name or option.name in first]
        if shown:
            chosen.append(Group(group.name, shown))
        if len(shown) < len(group.options):
            others.append(f"{len(group.options) - len(shown)} of --{group.name}")
    return chosen, others


def _blocks(groups: list[Group], lines_of: Any) -> list[str]:
    lines: list[str] = []
    for group in groups:
        if group.options:
            lines += ["", f"{group.name or 'options'}:"]
            lines += [line for option in group.options for line in lines_of(option)]
    return lines


def _wrapped(option: Option) -> Iterator[str]:
    left = f"  {option.usage}"
    about = textwrap.wrap(option.about, max(_width() - _COLUMN, 20))
    if len(left) + 2 > _COLUMN or not about:
        yield left
    else:
        yield f"{left:<{_COLUMN}}{about.pop(0)}"
    yield from (" " * _COLUMN + line for line in about)


def _one_line(option: Option) -> Iterator[str]:
    """Yields one line: the first sentence of the description is cut where it is too long."""
    left = f"{'  ' + option.usage:<{_COLUMN}}"
    if not left.endswith(" "):
        left += "  "
    about, bracket, default = option.about.rpartition("(")
    if not default.startswith(("default: ", "required)", "optional)")):
        about, bracket, default = option.about, "", ""
    about = re.split(r"[.;] ", about.strip() + " ")[0].strip()
    room = _width() - len(left) - len(bracket + default) - 1
    if len(about) > room:
        about = about[: max(room - 1, 0)].rstrip() + "…" if room > 1 else ""
    yield f"{left}{about} {bracket}{default}".replace("  (", " (").rstrip()[: _width()]
