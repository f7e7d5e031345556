"""Tables of C3D's public weights: those of TGANv2 (Chainer) and those of PyTorch ports.

The first has the weights of the original, Caffe, for UCF-101. The ports name the same layers; some
call the two first ones `conv1` and `conv2`. The mean clip is in a file of its own.
"""

from videogen_jax.weights.rules import LINEAR, VECTOR, Rule, Table, Transform
from videogen_jax.weights.tables.layers import CONV_3D

MEAN = "mean"
_MEAN_CLIP = Transform(
    (4,), lambda array, _: array.transpose(1, 2, 3, 0), lambda a: a.transpose(3, 0, 1, 2)
)
_CONVS = ("1a", "2a", "3a", "3b", "4a", "4b", "5a", "5b")
_LINEARS = ("fc6", "fc7", "fc8")


def _table(separator: str, weight: str, bias: str) -> Table:
    rules = [Rule(MEAN, "mean", _MEAN_CLIP)]
    for name in (*(f"conv{conv}" for conv in _CONVS), *_LINEARS):
        transform = LINEAR if name in _LINEARS else CONV_3D
        rules += [
            Rule(f"{name}{separator}{weight}", f"{name}/kernel", transform),
            Rule(f"{name}{separator}{bias}", f"{name}/bias", VECTOR),
        ]
    return Table(tuple(rules), aliases=(("conv1.", "conv1a."), ("conv2.", "conv2a.")))


C3D_CHAINER = _table("/", "W", "b")
C3D_TORCH = _table(".", "weight", "bias")
