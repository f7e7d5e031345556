"""The adversarial terms of a decoder's loss, with the adaptive weight of VQGAN (§3.4).

They are those of VQGAN (Esser et al. 2021) and of Stable Diffusion's autoencoder
(github.com/CompVis/taming-transformers).

Letters: B clips, F frames, H height, W width, C channels.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from videogen_jax import trees
from videogen_jax.errors import UserError
from videogen_jax.models.discriminator import DiscriminatorConfig, PatchDiscriminator
from videogen_jax.models.parameters import init_discriminator
from videogen_jax.training.task import Params

_MAX_ADAPTIVE_WEIGHT = 1e4  # both from taming-transformers
_ADAPTIVE_EPSILON = 1e-4

PullBack = Callable[[jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Adversary:
    """A discriminator and the term that it adds to a decoder's loss.

    Attributes:
        name: of its parameters in those of the task, such as "discriminator".
        prefix: of its metrics.
        weight: of the term, times the adaptive weight.
        config: sizes of the discriminator.
        dtype: of its computation.
    """

    name: str
    prefix: str
    weight: float
    config: DiscriminatorConfig
    dtype: str

    def __post_init__(self) -> None:
        if self.weight < 0:
            field = f"task.{self.prefix}adversarial_weight"
            raise UserError(f"{field} is {self.weight}, expected 0 or more")

    def init(self, key: jax.Array, resolution: int) -> Params:
        """Returns fresh parameters, for clips of `resolution` pixels."""
        return init_discriminator(key, self.config, resolution)

    def loss(
        self,
        params: Params,
        decoded_BFHWC: jax.Array,
        real_BFHWC: jax.Array,
        reconstruction_gradient: jax.Array,
        pull_back: PullBack,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Returns the loss of both players, and its parts as metrics.

        One loss trains both networks: each sees the other through a stop_gradient.

        Args:
            params: of the discriminator.
            decoded_BFHWC: the decoder's output.
            real_BFHWC: clips in place of which the discriminator should take it.
            reconstruction_gradient: that of the reconstruction loss at the decoder's last layer.
            pull_back: maps a gradient in `decoded_BFHWC` to that of the last layer.
        """
        fixed, pixels = jax.lax.stop_gradient((params, decoded_BFHWC))
        fool = lambda decoded: fooling_loss(self._logits(fixed, decoded))
        fooling = fool(decoded_BFHWC)
        fooling_gradient = pull_back(jax.grad(fool)(pixels))
        adaptive = adaptive_weight(reconstruction_gradient, fooling_gradient)
        judging = judging_loss(self._logits(params, real_BFHWC), self._logits(params, pixels))
        metrics = {"fooling": fooling, "judging": judging, "adaptive_weight": adaptive}
        loss = self.weight * adaptive * fooling + judging
        return loss, {f"{self.prefix}{name}": value for name, value in metrics.items()}

    def _logits(self, params: Params, video_BFHWC: jax.Array) -> jax.Array:
        network = PatchDiscriminator(self.config, self.dtype)
        return jnp.asarray(network.apply({"params": params}, video_BFHWC))


def fooling_loss(logits: jax.Array) -> jax.Array:
    """Returns the decoder's adversarial loss, which is low if its patches look real."""
    return -logits.mean()


def judging_loss(real_logits: jax.Array, decoded_logits: jax.Array) -> jax.Array:
    """Returns the discriminator's hinge loss (Lim & Ye 2017), 1 for logits of 0."""
    of_real = jax.nn.relu(1.0 - real_logits).mean()
    of_decoded = jax.nn.relu(1.0 + decoded_logits).mean()
    return 0.5 * (of_real + of_decoded)


def adaptive_weight(reconstruction_gradient: jax.Array, fooling_gradient: jax.Array) -> jax.Array:
    """Returns the weight that gives both losses equal gradient norms at the last layer.

    It is eq. 7 of VQGAN, at most 1e4, and has no gradient.
    """
    reconstruction, fooling = (
        jnp.linalg.norm(gradient) for gradient in (reconstruction_gradient, fooling_gradient)
    )
    weight = jnp.clip(reconstruction / (fooling + _ADAPTIVE_EPSILON), 0.0, _MAX_ADAPTIVE_WEIGHT)
    return jax.lax.stop_gradient(weight)


def with_pull_back(
    decode: Callable[[Params], jax.Array], params: Params, last_layer: str
) -> tuple[jax.Array, PullBack]:
    """Returns `decode(params)`, and a function from gradients in it to those of the last layer.

    The decoder runs once: only what follows the last layer's input is differentiated again.

    Args:
        decode: maps the decoder's parameters to pixels.
        params: the decoder's parameters.
        last_layer: path of the last layer's kernel in them.
    """
    leaves = trees.flatten(params)

    def of_kernel(kernel: jax.Array) -> jax.Array:
        return decode(trees.unflatten({**leaves, last_layer: kernel}))

    decoded, pull_back = jax.vjp(of_kernel, leaves[last_layer])
    return decoded, lambda gradient: pull_back(gradient)[0]
