"""The optimizer of a configuration: clipping, one of five update rules, schedule and patterns.

Patterns are regular expressions over parameter paths as in `videogen_jax.trees`. They match the
whole path, and a pattern that matches nothing is an error.
"""

import math
from typing import Any

import jax
import optax
from optax import contrib

from videogen_jax import trees
from videogen_jax.errors import UserError
from videogen_jax.training.config import OptimConfig

_ADAFACTOR_CLIP = 1.0  # RMS of the update, per tensor (Shazeer & Stern 2018, section 6)
_MUON_MOMENTUM = 0.95  # Jordan 2024
_MUON_RMS = 0.2  # of an update's elements, about as in Adam (Liu et al. 2025, section 2.2)


def learning_rate(config: OptimConfig, steps: int) -> optax.Schedule:
    """Returns the schedule, from updates done to learning rate, of a run of `steps` steps."""
    peak, warmup = config.learning_rate, config.warmup_steps
    left = max(steps - warmup, 1)
    match config.schedule:
        case "constant":
            after = optax.constant_schedule(peak)
        case "cosine":
            after = optax.cosine_decay_schedule(peak, left, config.final_fraction)
        case "linear":
            after = optax.linear_schedule(peak, peak * config.final_fraction, left)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def make_optimizer(config: OptimConfig, steps: int) -> optax.GradientTransformation:
    """Chains clipping by global norm, update rule, weight decay, learning rate and multipliers.

    Weight decay is decoupled. `init` takes all parameters and creates no state for those that
    `config.freeze` matches. `update` takes trees without them; see `trainable`.

    Raises, from `init`:
        UserError: a pattern matches no parameter that trains, or all are frozen; the message names
            the field.
    """

    def decays(params: Any) -> Any:
        return _checked("decay", lambda: trees.mask(config.decay, params))

    def multiply(updates: Any, params: Any) -> Any:
        rules = config.multipliers
        rates = _checked("multipliers", lambda: trees.match(rules, updates, default=1.0))
        return jax.tree.map(lambda update, rate: update * rate, updates, rates)

    chain = optax.chain(
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        _rule(config),
        optax.add_decayed_weights(config.weight_decay, mask=decays),
        optax.scale_by_learning_rate(learning_rate(config, steps)),
        optax.stateless(multiply),
    )

    def init(params: Any) -> optax.OptState:
        trained = trainable(config.freeze, params)
        multiply(trained, trained)  # a wrong pattern raises here, before the first step
        return chain.init(trained)

    return optax.GradientTransformation(init, chain.update)


def trainable(freeze: tuple[str, ...], params: Any) -> Any:
    """Returns `params` with `optax.MaskedNode()`, an empty node, in place of every frozen leaf.

    Raises:
        UserError: a pattern matches no parameter, or all are frozen.
    """
    frozen = _checked("freeze", lambda: trees.mask(freeze, params))
    if all(jax.tree.leaves(frozen)):
        raise UserError(f"optim.freeze: {', '.join(freeze)} leave no parameter to train")
    return jax.tree.map(lambda is_frozen, x: optax.MaskedNode() if is_frozen else x, frozen, params)


def with_frozen(trained: Any, params: Any) -> Any:
    """Returns the whole tree: leaves of `trained`, and those of `params` where they are masked."""
    return jax.tree.map(
        lambda new, old: old if isinstance(new, optax.MaskedNode) else new,
        trained,
        params,
        is_leaf=lambda node: isinstance(node, optax.MaskedNode),
    )


def _rule(config: OptimConfig) -> optax.GradientTransformation:
    match config.name:
        case "adamw":
            return optax.scale_by_adam(config.b1, config.b2, config.epsilon)
        case "lion":
            return optax.scale_by_lion(config.b1, config.b2)
        case "adafactor":
            clip = optax.clip_by_block_rms(_ADAFACTOR_CLIP)
            return optax.chain(optax.scale_by_factored_rms(), clip)
        case "muon":
            adam = optax.scale_by_adam(config.b1, config.b2, config.epsilon)
            return optax.partition({"muon": _muon(), "adamw": adam}, _muon_or_adamw)
        case "sgd":
            return optax.trace(config.b1) if config.b1 else optax.identity()


def _muon() -> optax.GradientTransformation:
    def scale(update: jax.Array) -> jax.Array:
        """Scales an orthogonal matrix to a constant RMS, whatever its shape."""
        outputs = update.shape[-1]
        return update * _MUON_RMS * math.sqrt(max(outputs, update.size // outputs))

    rule = contrib.scale_by_muon(beta=_MUON_MOMENTUM, weight_dimension_numbers=_inputs_by_outputs)
    return optax.chain(rule, optax.stateless(lambda updates, _: jax.tree.map(scale, updates)))


def _inputs_by_outputs(kernels: Any) -> Any:
    """Describes each kernel `[..., in, out]` as one matrix: all axes but the last by the last."""
    return jax.tree.map(
        lambda x: contrib.MuonDimensionNumbers(tuple(range(x.ndim - 1)), x.ndim - 1), kernels
    )


def _muon_or_adamw(params: Any) -> Any:
    """Labels each parameter with its rule. Embeddings are tables of vectors, not matrices."""

    def label(path: tuple[Any, ...], x: Any) -> str:
        return "muon" if x.ndim >= 2 and path[-1].key == "kernel" else "adamw"

    return jax.tree_util.tree_map_with_path(label, params)


def _checked(field: str, select: Any) -> Any:
    try:
        return select()
    except UserError as error:
        raise UserError(f"optim.{field}: {error}") from error
