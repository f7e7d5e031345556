"""IFRNet's public checkpoints (github.com/ltkong218/IFRNet), all three sizes.

The mapping is written out in the docstring of `videogen_jax.models.flow`. A transposed convolution
takes the permutation of a convolution, since torch has both of its channel axes swapped.
"""

from videogen_jax.weights.rules import CONV, VECTOR, Rule, Table

_BLOCK, _OURS = "decoder{level}.convblock", "decoder{level}"


def _conv(source: str, target: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{source}.weight", f"{target}/kernel", CONV),
        Rule(f"{source}.bias", f"{target}/bias", VECTOR),
    )


def _conv_prelu(source: str, target: str) -> tuple[Rule, ...]:
    """A convolution and the PReLU behind it."""
    return (
        *_conv(f"{source}.0", f"{target}/conv"),
        Rule(f"{source}.1.weight", f"{target}/prelu/negative_slope", VECTOR),
    )


IFRNET = Table(
    rules=(
        *_conv_prelu("encoder.pyramid{level}.{i}", "encoder/pyramid{level}_{i}"),
        *_conv_prelu(f"{_BLOCK}.0", f"{_OURS}/conv_in"),
        *(
            rule
            for k in (1, 2, 3, 4)
            for rule in _conv_prelu(f"{_BLOCK}.1.conv{k}", f"{_OURS}/res_block/conv{k}")
        ),
        *_conv(f"{_BLOCK}.1.conv5", f"{_OURS}/res_block/conv5"),
        Rule(f"{_BLOCK}.1.prelu.weight", f"{_OURS}/res_block/prelu/negative_slope", VECTOR),
        *_conv(f"{_BLOCK}.2", f"{_OURS}/conv_out"),
    ),
    aliases=(("module.", ""),),  # of torch's DataParallel
)
