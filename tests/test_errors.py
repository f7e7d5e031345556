"""Errors in scripts: one line for an error of the user, a traceback for a bug."""

import ast
import dataclasses
import errno
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
import tyro
from safetensors import SafetensorError

from videogen_jax import UserError
from videogen_jax import cli as cli
from videogen_jax.configs import RUNS
from videogen_jax.data.clips import ingest
from videogen_jax.data.config import DataConfig
from videogen_jax.data.degrade import DegradeConfig
from videogen_jax.errors import Diverged, MissingFile, user_message
from videogen_jax.models.autoencoder import AutoencoderConfig
from videogen_jax.tokenizer import END_TOKEN, START_TOKEN, load_tokenizer, save_clip_format
from videogen_jax.training.processes import peers
from videogen_jax.weights import model_dir

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(
    path
    for folder in ("train", "sample", "convert")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "__init__.py"
)
LIBRARY = sorted([*(ROOT / "videogen_jax").rglob("*.py"), *SCRIPTS])

# Functions that check arrays or the library's own constants, whose errors only a program can cause.
# All other checks are of input from a user.
ASSUMPTIONS = {
    "pipeline/frame_windows.py": {"frame_windows"},
    "pipeline/requests/options.py": {"merge"},  # Python's TypeError for an unknown keyword
    "data/clips/video.py": {"decode_window"},
    "data/compression.py": {"h264_round_trip"},
    "data/degrade.py": {"degrade"},
    "data/clips/ingest.py": {"_write_shard"},
    "data/latents/reader.py": {"flows"},
    "data/loader.py": {"make_loader", "read_once"},
    "data/shapes/outlines.py": {"extents", "_signed_distance"},
    "data/shapes/world.py": {"combinations", "clip_spec", "_checked_times"},
    "tokenizer.py": {"__call__"},
    "evaluation/clip_similarity.py": {"clip_similarity"},
    "evaluation/frechet.py": {"frechet_distance", "frechet_distance_of"},
    "evaluation/statistics.py": {"covariance_DD", "update", "_finite", "_joined"},
    "evaluation/shapes/analyser.py": {"take_apart", "accuracy"},
    "layout.py": {"partition"},
    "models/flow.py": {"_check_frames"},
    "models/embedding.py": {"_required"},
    "models/warp.py": {"backward_warp"},
    "media/video.py": {"_check_array"},
    "media/video_folder.py": {"add"},
    "training/latents/encoders.py": {"flow_encoder"},
    "training/planning/hlo.py": {"collectives"},
    "training/runs/build.py": {"no_examples"},
    "training/checkpoints/manifest.py": {"_entry"},  # an OSError with the system's message
    "training/checkpoints/save_barriers.py": {"__call__"},
    "trees.py": {"unflatten"},
    "weights/model_dir.py": {"write_tensors"},  # an OSError with the system's message
    "weights/rules.py": {"__post_init__"},
}
BUILT_IN = "ValueError TypeError OSError FileNotFoundError RuntimeError NotImplementedError".split()


def bad_input() -> None:
    raise UserError("steps is 0, expected 1 or more")


def missing_file() -> None:
    raise MissingFile("no file a.png")


def unreadable(tmp_path: Path) -> Callable[[], object]:
    return lambda: (tmp_path / "none" / "a.txt").read_text()


def numpy_bug() -> None:
    np.zeros(2) + np.zeros(3)


def jax_bug() -> None:
    jax.numpy.zeros(2) @ jax.numpy.zeros(3)


def library_os_error() -> None:
    raise OSError("cannot identify image file")  # no errno, so not an error of the system


def status_of(body: Callable[[], object], monkeypatch, *arguments: str) -> int | str | None:
    """Returns the exit code of a script with this body."""

    def main(name: str = "") -> None:
        """Runs the body."""
        body()

    monkeypatch.setattr(sys, "argv", ["script", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.command(main, "script")
    return stopped.value.code


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (bad_input, "error: steps is 0, expected 1 or more"),
        (missing_file, "error: no file a.png"),
    ],
)
def test_an_error_of_the_user_is_one_line(monkeypatch, capsys, body, line):
    assert status_of(body, monkeypatch) == 1
    assert capsys.readouterr().err == line + "\n"


def test_an_error_of_the_system_is_one_line_with_the_file(monkeypatch, capsys, tmp_path):
    assert status_of(unreadable(tmp_path), monkeypatch) == 1
    path = tmp_path / "none" / "a.txt"
    assert capsys.readouterr().err == f"error: {path}: No such file or directory\n"


@pytest.mark.parametrize(
    ("body", "kind"), [(numpy_bug, ValueError), (jax_bug, TypeError), (library_os_error, OSError)]
)
@pytest.mark.parametrize("arguments", [[], ["--traceback"]])
def test_a_bug_keeps_its_traceback(monkeypatch, capsys, body, kind, arguments):
    monkeypatch.setattr(sys, "argv", ["script", *arguments])
    with pytest.raises(kind):  # which Python prints, and exits with 1
        cli.command(lambda: body(), "script")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "arguments", [["--traceback", "--name", "x"], ["--name", "x", "--traceback"]]
)
def test_traceback_shows_both(monkeypatch, capsys, arguments):
    assert status_of(bad_input, monkeypatch, *arguments) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert any("in bad_input" in line for line in lines)
    assert lines[-1] == "error: steps is 0, expected 1 or more"


def test_what_follows_two_hyphens_is_of_another_program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["script", "source", "--", "--traceback"])
    assert not cli.traceback_wanted()


def test_help_describes_traceback(monkeypatch, capsys):
    assert status_of(bad_input, monkeypatch, "--help") == 0
    assert "Runs the body." in (output := capsys.readouterr().out) and "--traceback" in output


def test_wrong_usage_and_interruption_have_their_codes(monkeypatch, capsys):
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert status_of(bad_input, monkeypatch, "--nmae", "x") == 2
    capsys.readouterr()
    assert status_of(interrupt, monkeypatch) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("error", "traceback"), [(UserError("no space"), False), (ValueError("a bug"), True)]
)
def test_one_of_several_processes(monkeypatch, capsys, error, traceback):
    def leave(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(SystemExit) as stopped, peers.ending_at_once():
        raise error
    output = capsys.readouterr().err
    assert stopped.value.code == 1
    assert output.endswith(f"error: process 0 of 2 stops: {error}\n")
    assert ("Traceback" in output) == traceback


def test_the_family_is_caught_by_the_built_in_types():
    assert issubclass(UserError, ValueError)
    assert issubclass(MissingFile, FileNotFoundError) and issubclass(MissingFile, UserError)
    assert issubclass(Diverged, FloatingPointError) and issubclass(Diverged, UserError)
    for kind in (UserError, MissingFile, Diverged):  # as Beam passes them between processes
        copy = pickle.loads(pickle.dumps(kind("no file a.png")))
        assert type(copy) is kind and user_message(copy) == "no file a.png"


def test_a_message_names_both_files_of_a_system_error():
    error = OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b")
    assert user_message(error) == "a -> b: Invalid cross-device link"
    assert user_message(OSError(errno.ENOSPC, "No space left on device")) == (
        "No space left on device"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AutoencoderConfig(block_out_channels=(8, 12), norm_groups=8), "12 is not div"),
        (lambda: DegradeConfig(jpeg_quality=(95, 30)), "jpeg_quality is 95 to 30"),
        (lambda: DataConfig(num_threads=-1), "num_threads is -1"),
        (lambda: DataConfig(num_workers=-1), "num_workers is -1"),
        (lambda: dataclasses.replace(RUNS["tiny-stage-1"], seed=-1), "seed is -1"),
    ],
)
def test_what_a_library_would_refuse_later_is_an_error_of_the_configuration(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_tokenizer_that_transformers_cannot_load_is_named(tmp_path):
    save_clip_format(tmp_path, {"a": 0, START_TOKEN: 1, END_TOKEN: 2}, [], 8)
    (tmp_path / "merges.txt").write_text("#version: 0.2\nno such\n")
    with pytest.raises(UserError, match=f"{tmp_path}: "):
        load_tokenizer(tmp_path)


def test_a_component_that_cannot_be_written_is_an_error_of_the_user(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(model_dir, "save_file", full)
    with pytest.raises(UserError, match=f"cannot write {tmp_path}/flow.safetensors: I/O error"):
        model_dir.save_component(tmp_path, "flow", {"bias": np.zeros(3, np.float32)})


def test_an_unknown_runner_of_beam_is_named():
    with pytest.raises(UserError, match="Beam cannot start the runner 'NoSuchRunner'"):
        ingest._pipeline(ingest.RunnerConfig("NoSuchRunner"))


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_script_goes_through_cli(path):
    """A script only calls its command under its own name."""
    *_, imported, block = ast.parse(path.read_text()).body
    assert ast.unparse(imported) == "from videogen_jax.cli import call"
    assert isinstance(block, ast.If) and ast.unparse(block.test) == "__name__ == '__main__'"
    (call,) = block.body
    module = str(path.relative_to(ROOT).with_suffix("")).removesuffix("/__main__").replace("/", ".")
    assert ast.unparse(call) in [
        f"call({name!r}, prog='python -m {module}')" for name in cli.COMMANDS
    ]


def test_every_command_has_a_script():
    called = [ast.parse(path.read_text()).body[-1].body[-1].value.args[0].value for path in SCRIPTS]
    assert sorted(called) == sorted(cli.COMMANDS)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_checks_of_input_raise_user_errors(path):
    """A check raises `UserError`, or its function is listed in `ASSUMPTIONS`."""
    listed = ASSUMPTIONS.get(str(path.relative_to(ROOT)).removeprefix("videogen_jax/"), set())
    assert functions_raising_built_in_types(ast.parse(path.read_text())) == listed


def functions_raising_built_in_types(node: ast.AST, function: str = "") -> set[str]:
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, ast.FunctionDef) else function
        if isinstance(child, ast.Raise) and child.exc is not None:
            names = {part.id for part in ast.walk(child.exc) if isinstance(part, ast.Name)}
            if names & set(BUILT_IN):
                found.add(inside)
        found |= functions_raising_built_in_types(child, inside)
    return found


def test_what_follows_two_dashes_is_not_the_scripts_own_traceback_option(capsys):
    def main(words: tyro.conf.Positional[tuple[str, ...]]) -> None:
        print(words)

    cli.command(main, "x", args=["--traceback", "--", "a", "--traceback"])
    assert capsys.readouterr().out == "('a', '--traceback')\n"
