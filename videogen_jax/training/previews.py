"""Drawing the pictures of a task's preview samples, a few examples at a time.

Letters: B examples, R rows of an example, F frames, H height, W width, C channels, T tokens.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from videogen_jax import layout, sharding
from videogen_jax.pipeline import noise
from videogen_jax.pipeline.cascade import Cascade, PromptStates
from videogen_jax.pipeline.groups import CLIP_PIXELS, at_once, spread
from videogen_jax.training.task import Batch, Params, Samples, TaskContext

# (parameters that train, other components, examples, their keys) → rows of pictures of each
# example, uint8 [B, R, F, H, W, 3] for clips and [B, R, H, W, 3] for images.
Draw = Callable[[Params, Params, Batch, jax.Array], jax.Array]
_CLIPS_NDIM = 6


class Drawing:
    """Draws rows of pictures for validation examples, in one compiled program.

    A device draws as many examples at a time as have `CLIP_PIXELS` pixels, at least one. All
    devices of the active mesh draw different examples. So memory depends neither on the number of
    examples nor on that of devices.

    Args:
        context: the task's context; it has examples, tokens and frozen components.
        number: how many examples are drawn.
        pixels: of an example: frames × height × width of the largest network's result.
        draw: the function that draws; it is traced.
    """

    def __init__(self, context: TaskContext, number: int, pixels: int, draw: Draw):
        self._context, self._number, self._share = context, number, at_once(CLIP_PIXELS, pixels)

        def program(
            params: Params, components: Params, batch: Batch, seed: jax.Array, position_B: jax.Array
        ) -> jax.Array:
            return draw(params, components, batch, noise.sample_keys(seed, position_B))

        self._program = jax.jit(program)

    def __call__(self, params: Params, seed: int) -> Samples:
        """Draws the rows of all examples: below each other for clips, side by side for images."""
        examples = list(self._context.validation(self._number))
        batch, number = _stacked(self._context, examples), len(examples)
        mesh, components = jax.sharding.get_mesh(), self._context.components
        if not mesh.empty:
            components = sharding.put_tree(components, sharding.tree_shardings(mesh, components))
        rows, size = [], self.at_once(number)
        for start in range(0, number, size):
            # The last group is filled up with the last example.
            positions = np.minimum(np.arange(start, start + size), number - 1).astype(np.int32)
            group = {name: array[positions] for name, array in batch.items()}
            given = group, np.uint32(seed), positions
            if not mesh.empty:
                shared, same = sharding.batch_sharding(mesh), sharding.replicated(mesh)
                given = sharding.put_tree(given, (dict.fromkeys(group, shared), same, shared))
            rows.append(sharding.to_host(self._program(params, components, *given)))
        drawn = np.concatenate(rows)[:number]
        captions = tuple(str(one["caption"]) for one in examples if one.get("caption"))
        if drawn.ndim < _CLIPS_NDIM:
            return Samples(drawn.swapaxes(0, 1), captions=captions)
        return Samples(drawn.reshape(-1, *drawn.shape[2:]), float(examples[0]["fps"]), captions)

    def at_once(self, number: int | None = None) -> int:
        """Returns how many of `number` examples all devices of the mesh together draw at a time."""
        return spread(number or self._number, layout.batch_devices(), self._share)

    def trace(self, params: Params, batch: Mapping[str, Any], mesh: Mesh) -> Any:
        """Traces the program for shapes, those of `params` and `batch` with shardings on `mesh`."""
        shapes = self._context.components
        components = sharding.with_shardings(shapes, sharding.tree_shardings(mesh, shapes))
        size = jax.tree.leaves(batch)[0].shape[0]
        seed = jax.ShapeDtypeStruct((), np.uint32, sharding=sharding.replicated(mesh))
        where = sharding.batch_sharding(mesh)
        position_B = jax.ShapeDtypeStruct((size,), np.int32, sharding=where)
        return self._program.trace(params, components, batch, seed, position_B)


def _stacked(context: TaskContext, examples: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Returns examples as a batch, with the tokens of their captions."""
    captions = [example["caption"] for example in examples if "caption" in example]
    names = [name for name in examples[0] if name != "caption"]
    batch = {name: np.stack([example[name] for example in examples]) for name in names}
    return batch | ({"tokens": context.tokenize(captions)} if captions else {})


def prompt_states(
    cascade: Cascade, components: Params, tokens_BT: jax.Array, empty_T: jax.Array
) -> PromptStates:
    """Encodes prompts, and the empty prompt for guidance."""
    empty_BT = jnp.broadcast_to(empty_T, tokens_BT.shape)
    return cascade.encode_prompts(components, tokens_BT, empty_BT)
