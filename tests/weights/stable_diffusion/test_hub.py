"""Hub ids: a cached copy is read without the network; without a copy there is a clear error."""

import shutil
from pathlib import Path

import huggingface_hub
import pytest

from tests.support.torch_stable_diffusion import SD1, build_models, save_folder
from videogen_jax.configs.paper import PAPER
from videogen_jax.conversion.stable_diffusion import convert_stable_diffusion
from videogen_jax.weights.stable_diffusion.hub import download, is_hub_id

REVISION = "0" * 40


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_cached_copy_is_read_offline(cache, tmp_path):
    repo = cache / "models--someone--tiny"
    save_folder(build_models(SD1), SD1, repo / "snapshots" / REVISION)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(REVISION)
    convert_stable_diffusion(Path("someone/tiny"), tmp_path / "model", PAPER)
    assert (tmp_path / "model" / "image_unet.safetensors").is_file()


def test_offline_without_a_copy_is_one_clear_error(cache, tmp_path):
    message = "no copy of the hub's someone/tiny .*: the hub is switched off"
    with pytest.raises(FileNotFoundError, match=message) as caught:
        convert_stable_diffusion(Path("someone/tiny"), tmp_path / "model", PAPER)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_only_the_needed_files_are_requested(tmp_path, monkeypatch):
    hub, requested = tmp_path / "hub", []
    save_folder(build_models(SD1), SD1, hub)
    unet = hub / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(unet, unet.with_suffix(".fp16.safetensors"))
    names = [path.relative_to(hub).as_posix() for path in hub.rglob("*") if path.is_file()]
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_: names)

    def snapshot(repo, allow_patterns, local_files_only):
        requested.extend(allow_patterns)
        return str(hub)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert download("someone/tiny", ["image_unet"]) == hub
    weights = {name for name in requested if name.endswith("safetensors")}
    assert weights == {"unet/diffusion_pytorch_model.safetensors"}


@pytest.mark.parametrize(
    ("source", "expected"), [("a/b", True), ("./b", False), ("b", False), ("a/b/c", False)]
)
def test_hub_ids(source, expected):
    assert is_hub_id(source) is expected
