"""What the site adds to the pages: the options of every command, and checks of what it shows."""

import contextlib
import importlib
import inspect
import io
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
COMMANDS = "reference/commands.md"
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(?:#[^)]*)?\)")
_SHOWN = re.compile(r"^::: ([\w.]+)\n(?:    options:\n      members: \[(.*?)\]\n)?", re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Adds the page of all commands."""
    os.environ["COLUMNS"] = "100"
    files.append(File.generated(config, COMMANDS, content=commands_page()))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Shows links to files outside of the site as text, and checks that they exist."""
    for name, members in _SHOWN.findall(markdown):
        require_docstrings(name, [member.strip() for member in members.split(",") if member])
    folder = (Path(config["docs_dir"]) / page.file.src_uri).parent

    def shown(match: re.Match[str]) -> str:
        text, target = match.groups()
        path = (folder / target).resolve()
        if ":" in target or path.is_relative_to(Path(config["docs_dir"]).resolve()):
            return match[0]
        if not path.exists():
            raise PluginError(f"{page.file.src_uri}: there is no {target}")
        return f"{text} (`{path.relative_to(ROOT)}`)" if text.strip("`") != target else text

    return _LINK.sub(shown, markdown)


def commands_page() -> str:
    """Returns the page with `--help-all` of every command."""
    from videogen_jax import cli

    parts = [
        "# Commands\n",
        "`videogen --help` lists the commands, `videogen COMMAND --help` shows the most important",
        "options of one and `--help-all` all of them, as below. A training command lists its",
        "presets; `videogen train cascade PRESET --help-all` shows every field of the run.\n",
    ]
    for name, command in cli.COMMANDS.items():
        parts += [f"## videogen {name}\n", f"{command.help[0].upper()}{command.help[1:]}.\n"]
        parts += ["```text", help_of(name), "```\n"]
    return "\n".join(parts)


def help_of(name: str) -> str:
    """Returns the text of a command's `--help-all`."""
    from videogen_jax import cli

    written = io.StringIO()
    with contextlib.redirect_stdout(written), contextlib.suppress(SystemExit):
        cli.call(name, f"videogen {name}", ["--help-all"])
    if not written.getvalue().startswith("usage: "):
        raise PluginError(f"videogen {name} --help-all prints no help")
    return written.getvalue().strip().replace(str(Path.home()), "~")


def require_docstrings(name: str, members: list[str]) -> None:
    """Raises PluginError unless an object that a page shows, and its members, have docstrings.

    Args:
        name: the dotted name.
        members: names of the members that the page shows; by default none.
    """
    found = resolve(name)
    objects = {name: found} | {f"{name}.{member}": getattr(found, member) for member in members}
    for label, value in objects.items():
        value = getattr(value, "fget", None) or value
        text = inspect.getdoc(value) or ""
        # A dataclass without one has its signature.
        if not text or text.startswith(f"{getattr(value, '__name__', '')}("):
            raise PluginError(f"{label} has no docstring")


def resolve(name: str) -> Any:
    """Returns the object of a dotted name."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            found = getattr(found, part)
        return found
    raise PluginError(f"there is no {name}")
