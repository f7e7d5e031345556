"""The settings with which a folder was begun."""

import pytest

from videogen_jax.errors import UserError
from videogen_jax.settings_file import require_settings


def test_other_settings_are_refused_by_field(tmp_path):
    path, settings = tmp_path / "settings.json", {"videos": 3, "sampling": {"seed": 0, "fps": None}}
    require_settings(path, settings | {"steps": (3, 4)}, "the videos were begun")
    require_settings(path, settings | {"steps": [3, 4]}, "the videos were begun")
    other = {"videos": 3, "sampling": {"seed": 1, "fps": 8.0}, "steps": [3]}
    with pytest.raises(UserError, match="the videos were begun with other settings") as error:
        require_settings(path, other, "the videos were begun")
    assert "sampling/seed: 0 there, 1 now" in str(error.value)
    assert "sampling/fps: None there, 8.0 now" in str(error.value)
    assert "steps/1: 4 there, None now" in str(error.value)
    assert "videos:" not in str(error.value)
