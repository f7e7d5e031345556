"""The manifest of a model directory: every file is listed, and every damage is named."""

import json
from pathlib import Path

import numpy as np
import pytest

from videogen_jax.errors import MissingFile, UserError
from videogen_jax.pipeline.model_files import find_model
from videogen_jax.weights.manifest import (
    check_files,
    read_manifest,
    record_files,
    write_manifest,
)
from videogen_jax.weights.model_dir import save_component

MERGES = "#version: 0.2\na b</w>\nc d</w>\n"


@pytest.fixture
def saved(tmp_path) -> Path:
    """A directory with one component, whose files need not make sense."""
    save_component(tmp_path, "stage_1", {"kernel": np.ones(3, np.float32)})
    (tmp_path / "config.json").write_text('{"steps": 30}')
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "merges.txt").write_text(MERGES)
    (tmp_path / "tokenizer" / "LICENSE").touch()
    (tmp_path / "LICENSE").touch()
    (tmp_path / ".hidden").touch()
    record_files(tmp_path)
    return tmp_path


def test_every_file_is_listed(saved, caplog):
    names = ["./LICENSE", "config.json", "stage_1", "tokenizer/LICENSE", "tokenizer/merges.txt"]
    assert list(json.loads((saved / "manifest.json").read_text())) == names
    check_files(saved)
    assert caplog.messages == []


@pytest.mark.parametrize("size", range(len(MERGES)))
def test_every_cut_is_named(saved, size):
    (saved / "tokenizer" / "merges.txt").write_text(MERGES[:size])
    with pytest.raises(UserError, match=f"merges.txt is damaged: it has {size} bytes, saved were"):
        check_files(saved)


@pytest.mark.parametrize(
    ("name", "text"),
    [("config.json", '{"steps": 80}'), ("tokenizer/merges.txt", MERGES.replace("a", "c"))],
)
def test_changed_content_is_named(saved, name, text):
    (saved / name).write_text(text)
    with pytest.raises(UserError, match=f"{name} is damaged: its content differs"):
        check_files(saved)


@pytest.mark.parametrize(
    "name", ["stage_1.safetensors", "config.json", "tokenizer/LICENSE", "LICENSE"]
)
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(MissingFile, match=f"{name} is missing; manifest.json lists it"):
        check_files(saved)


def test_a_directory_of_an_earlier_version_is_accepted_with_a_line(saved, caplog):
    write_manifest(saved, {"stage_1": read_manifest(saved)["stage_1"]})
    check_files(saved)
    (line,) = caplog.messages
    assert "manifest.json has no checksums of config.json, tokenizer/LICENSE, tokenizer/m" in line


def test_a_file_beside_the_model_needs_no_entry(saved, caplog):
    (saved / "README.md").touch()
    check_files(saved)
    assert caplog.messages == []


def test_a_saved_component_keeps_the_other_entries(saved):
    before = read_manifest(saved)
    save_component(saved, "flow", {"kernel": np.ones(2, np.float32)})
    after = read_manifest(saved)
    assert after.pop("flow").bytes > 0 and after == before


def test_the_shipped_model_has_a_whole_manifest(caplog):
    check_files(find_model("shapes"))
    assert caplog.messages == []
