"""Table of IFRNet's public checkpoints (github.com/ltkong218/IFRNet), all three sizes.

The docstring of `videogen_jax.models.flow` lists the mapping. A transposed convolution has the same
permutation as a convolution, because torch swaps its two channel axes.
"""

from videogen_jax.weights.rules import CONV, VECTOR, Rule, Table

_BLOCK, _OURS = "decoder{level}.convblock", "decoder{level}"


def _conv(source: str, target: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{source}.weight", f"{target}/kernel", CONV),
        Rule(f"{source}.bias", f"{target}/bias", VECTOR),
    )


def _conv_prelu(source: str, target: str) -> tuple[Rule, ...]:
    """Returns the rules of a convolution followed by a PReLU."""
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
    aliases=(("module.", ""),),  # prefix of torch's DataParallel
)
