"""The `videogen` command: its commands, its help, its errors."""

import functools
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import tyro

from videogen_jax import __version__, cli
from videogen_jax.commands.train import export
from videogen_jax.errors import EXTRAS, missing_package

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Extras that are not installed for the tests: distributions by the packages that are imported.
ABSENT = {
    "jax_plugins": "jax-cuda12-plugin",
    "libtpu": "libtpu",
    "onnxruntime": "onnxruntime",
    "rapidocr": "rapidocr",
}


@pytest.fixture
def videogen(monkeypatch, capsys):
    """Runs `videogen` in this process; returns its exit code, stdout and stderr."""

    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["videogen", *map(str, arguments)])
        code = None
        try:
            cli.main()
        except SystemExit as stopped:
            code = stopped.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def exported(monkeypatch) -> list[tuple[str, list[str]]]:
    """The arguments of calls of the command `export`, which are only recorded."""
    calls: list[tuple[str, list[str]]] = []

    def call(prog: str, arguments: Sequence[str]) -> None:
        calls.append((prog, list(arguments)))

    monkeypatch.setattr(export, "call", call)
    return calls


def test_help_lists_every_command_with_one_line(videogen):
    code, text, _ = videogen("--help")
    assert code == 0
    for name, command in cli.COMMANDS.items():
        assert re.search(rf"^    {name}\s+{re.escape(command.help)}$", text, re.MULTILINE), name
    assert cli.TRACEBACK in text


@pytest.mark.parametrize("group", ["train", "convert"])
def test_the_help_of_a_group_lists_its_commands(videogen, group):
    code, text, _ = videogen(group, "--help")
    assert code == 0 and text.startswith(f"usage: videogen {group} ")
    listed = re.findall(r"^    (\S+)", text, re.MULTILINE)
    expected = [name.split()[1] for name in cli.COMMANDS if name.startswith(f"{group} ")]
    assert listed == expected


def test_help_loads_no_library():
    """Help therefore takes a fraction of a second: importing these libraries takes long."""
    heavy = {"jax", "flax", "numpy", "tyro", "transformers", "optax", "orbax", "av", "PIL"}
    code = (
        "import sys\nfrom videogen_jax.cli import main\nsys.argv = ['videogen', '--help']\n"
        f"try: main()\nfinally: print(*({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "commands:" in done.stdout and done.stderr.split() == []


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_is_there(name):
    module, _, function = cli.COMMANDS[name].target.partition(":")
    assert callable(getattr(importlib.import_module(f"videogen_jax.commands.{module}"), function))


def test_the_version(videogen):
    assert videogen("--version") == (0, f"videogen {__version__}\n", "")


def test_the_installed_command_is_main():
    module, _, function = PROJECT["scripts"]["videogen"].partition(":")
    assert getattr(importlib.import_module(module), function) is cli.main


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sampel a ring", "videogen: error: no command 'sampel', did you mean 'sample'?"),
        ("trian cascade", "videogen: error: no command 'trian', did you mean 'train'?"),
        ("cascade", "videogen: error: no command 'cascade', did you mean 'train cascade'?"),
        ("train casade", "train: error: no command 'train casade', did you mean 'train cascade'?"),
        ("xyzzy", "videogen: error: no command 'xyzzy'\n"),
        ("--sampel", "videogen: error: "),
        ("train", "usage: videogen train "),
        ("", "usage: videogen "),
    ],
)
def test_an_unknown_command_is_wrong_usage(videogen, words, message):
    code, printed, errors = videogen(*words.split())
    assert (code, printed) == (2, "") and message in errors


@pytest.mark.parametrize(
    "words", ["export run model", "--traceback export run model", "export run model --traceback"]
)
def test_a_command_receives_the_arguments_after_its_name(videogen, exported, words):
    assert videogen(*words.split()) == (None, "", "")
    assert exported == [("videogen export", ["run", "model"])]


def test_what_follows_two_hyphens_is_left_as_it_is(videogen, exported):
    videogen("export", "run", "--", "--traceback", "export")
    assert exported == [("videogen export", ["run", "--", "--traceback", "export"])]


@pytest.mark.parametrize("name", ["convert to-diffusers", "convert to_diffusers"])
def test_a_commands_own_help_has_the_name_it_is_called_by(videogen, name):
    code, text, _ = videogen(*name.split(), "--help")
    assert code == 0 and text.startswith("usage: videogen convert to-diffusers ")


def test_wrong_usage_and_errors_of_a_command_have_their_codes(videogen, tmp_path):
    assert videogen("export", tmp_path)[0] == 2
    code, _, errors = videogen("export", tmp_path / "run", tmp_path / "model")
    assert code == 1
    assert errors == f"error: no configuration file {tmp_path / 'run' / 'config.json'}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["~/run"], (Path("/home/me/run"), Path("a"), "b")),
        (["run", "--path", "~/a"], (Path("run"), Path("/home/me/a"), "b")),
        (["run", "--path=~/a"], (Path("run"), Path("/home/me/a"), "b")),
        (["run", "--folder", "~"], (Path("run"), Path("a"), "/home/me")),
        (["run", "--folder=~/b"], (Path("run"), Path("a"), "/home/me/b")),
        (["run", "--folder=b~/b"], (Path("run"), Path("a"), "b~/b")),
    ],
)
def test_a_tilde_is_the_home_folder_in_every_option(monkeypatch, words, expected):
    seen = []

    def main(run: tyro.conf.Positional[Path], /, path: Path = Path("a"), folder: str = "b") -> None:
        seen.append((run, path, folder))

    monkeypatch.setenv("HOME", "/home/me")
    cli.command(main, "test", words)
    assert seen == [expected]


def test_a_tilde_without_a_home_folder_is_one_line(monkeypatch, capsys):
    def main(path: Path) -> None:
        pytest.fail("called")

    monkeypatch.delenv("HOME")
    monkeypatch.setitem(sys.modules, "pwd", None)
    with pytest.raises(SystemExit) as stopped:
        cli.command(main, "test", ["--path", "~/out"])
    assert stopped.value.code == 1
    assert capsys.readouterr().err == "error: ~/out: there is no home folder for ~\n"


@pytest.mark.parametrize("words", [["--help"], ["sample", "--help"]])
def test_help_needs_no_home_folder(words):
    """Neither HOME nor the list of users has one, as in a container with a number for a user."""
    code = "import sys; sys.modules['pwd'] = None; from videogen_jax.cli import main; main()"
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, "") and "--help" in done.stdout


def test_a_printed_name_that_is_not_unicode_is_no_error():
    code = "from videogen_jax.cli import run; run(lambda: print('caf\\udce9.mp4'))"
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"caf\\udce9.mp4\n", b"")


# Packages that are not installed


def body_that_imports(package: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    cli.run(lambda: importlib.import_module(package))


@pytest.mark.parametrize("package", EXTRAS)
def test_a_missing_package_of_an_extra_is_one_line(monkeypatch, capsys, package):
    with pytest.raises(SystemExit) as stopped:
        body_that_imports(package, monkeypatch)
    assert stopped.value.code == 1
    assert capsys.readouterr().err == f"error: {missing_package(package)}\n"


def test_another_missing_module_keeps_its_traceback(monkeypatch):
    with pytest.raises(ModuleNotFoundError):
        body_that_imports("einops", monkeypatch)


def test_a_command_without_its_packages_names_the_extra(tmp_path):
    """Runs in a process without optax, where training cannot be imported."""
    code = "import sys; sys.modules['optax'] = None; from videogen_jax.cli import main; main()"
    folders = ("--run-dir", str(tmp_path / "run"), "--model-dir", str(tmp_path / "model"))
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "cascade", "tiny-stage-1", *folders],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    expected = 'error: this needs the package optax: pip install "videogen-jax[train]"\n'
    assert (done.returncode, done.stderr) == (1, expected)


@functools.cache  # reads the list of files of every package
def distributions() -> Mapping[str, list[str]]:
    return packages_distributions()


@pytest.mark.parametrize("package", EXTRAS)
def test_the_extra_has_the_package(package):
    names = distributions().get(package) or [ABSENT[package]]
    requirements = PROJECT["optional-dependencies"][EXTRAS[package]]
    assert {normal(name) for name in names} & {normal(line) for line in requirements}


def test_every_package_of_an_extra_is_in_the_table():
    """Packages that only JAX imports, including those of its extras, are exempt."""
    by_jax = {"jax", "jax-cuda12-pjrt"}
    found = distributions()
    listed = {normal(name) for p in EXTRAS for name in found.get(p) or [ABSENT[p]]}
    extras = PROJECT["optional-dependencies"].values()
    assert {normal(line) for lines in extras for line in lines} - by_jax <= listed


def normal(requirement: str) -> str:
    """Returns the normalised name of the distribution of a requirement."""
    return re.split(r"[\[><=~! ]", requirement)[0].replace("_", "-").lower()


def test_every_folder_of_the_package_is_installed():
    """setuptools omits a folder without `__init__.py`."""
    folders = {path.parent for path in (ROOT / "videogen_jax").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []
