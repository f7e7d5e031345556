"""The spatial transformer: text shared by a clip's frames."""

import jax
import numpy as np

from tests.support import tiny_model
from videogen_jax.models.attention import SpatialTransformer

TOLERANCE = 1e-5


def test_frames_of_a_clip_share_its_text():
    clips, frames, channels = 2, 3, 8
    rng = np.random.default_rng(1)
    x_NHWC = rng.standard_normal((clips * frames, 2, 2, channels), np.float32)
    text_BSC = rng.standard_normal((clips, 5, 6), np.float32)
    network = SpatialTransformer(heads=2, num_layers=1, groups=4)
    params = tiny_model.random_params(lambda key: network.init(key, x_NHWC, text_BSC))
    apply = jax.jit(network.apply)
    shared = apply(params, x_NHWC, text_BSC)
    alone = apply(params, x_NHWC, text_BSC.repeat(frames, axis=0))
    np.testing.assert_allclose(shared, alone, atol=TOLERANCE)
    changed = apply(params, x_NHWC, np.stack([text_BSC[0], -text_BSC[1]]))
    np.testing.assert_array_equal(changed[:frames], shared[:frames])
    assert (changed[frames:] != shared[frames:]).any()
