"""Export to diffusers is the inverse of import, bit for bit."""

import dataclasses

import numpy as np
import pytest
from safetensors.numpy import load_file
from torch_stable_diffusion import SD1, SD2, build_models, save_folder

from videogen_jax.presets import PAPER
from videogen_jax.weights.stable_diffusion import convert_stable_diffusion, stable_diffusion_configs
from videogen_jax.weights.to_diffusers import export_to_diffusers


@pytest.mark.parametrize("spec", [SD1, SD2])
def test_files_and_configs_come_back(tmp_path, spec):
    save_folder(build_models(spec), spec, tmp_path / "source")
    convert_stable_diffusion(tmp_path / "source", tmp_path / "model", PAPER)
    export_to_diffusers(tmp_path / "model", tmp_path / "out")
    for file in tmp_path.glob("source/*/*.safetensors"):
        theirs = load_file(file)
        ours = load_file(tmp_path / "out" / file.relative_to(tmp_path / "source"))
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    configs = stable_diffusion_configs(tmp_path / "out")
    assert dataclasses.asdict(configs) == dataclasses.asdict(
        stable_diffusion_configs(tmp_path / "source")
    )
    with pytest.raises(ValueError, match="exists already"):
        export_to_diffusers(tmp_path / "model", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no component 'stage_1'"):
        export_to_diffusers(tmp_path / "model", tmp_path / "new", "stage_1")
    assert not (tmp_path / "new").exists()
