"""Captions of the shapes clips: a small grammar, and its inverse.

A caption always names colour, shape and motion, and may name size and background: "a big red ball
moves to the left", "small pink star that grows on a navy background", "red circle moving left".
"""

import dataclasses
import re
from collections.abc import Iterable

import numpy as np

from videogen_jax.data.shapes.world import (
    BACKGROUNDS,
    COLOURS,
    DIRECTIONS,
    MOTIONS,
    ClipSpec,
    combinations,
)

ATTRIBUTES = ("shape", "colour", "motion", "size", "background")
MENTION_PROBABILITY = 0.7
"""Probability of each optional part, size and background."""
CONTRASTS = 5
"""Number of wrong captions per clip: one more than there are other shapes."""

# In every list below the first entry is the canonical word.
SHAPE_WORDS = {
    "circle": ("circle", "ball", "disc", "disk"),
    "square": ("square", "box", "block"),
    "triangle": ("triangle",),
    "star": ("star",),
    "ring": ("ring", "hoop", "donut"),
}
SIZE_WORDS = {
    "small": ("small", "tiny", "little"),
    "large": ("large", "big", "huge"),
}
BACKGROUND_WORDS = {name: (name,) for name in BACKGROUNDS} | {"gray": ("gray", "grey")}
_ARTICLES = ("a", "a", "the", "")
_PREPOSITIONS = ("over", "on", "against", "in front of")

# (participle, third person): "a circle moving left", "a circle moves left", "a circle that moves
# left".
_TRAVEL_VERBS = (
    ("moving", "moves"),
    ("sliding", "slides"),
    ("gliding", "glides"),
    ("drifting", "drifts"),
    ("heading", "heads"),
    ("going", "goes"),
)
_SCALING_VERBS = {
    "growing": (("growing", "grows"), ("expanding", "expands"), ("getting bigger", "gets bigger")),
    "shrinking": (
        ("shrinking", "shrinks"),
        ("contracting", "contracts"),
        ("getting smaller", "gets smaller"),
    ),
}
_SIDES = {
    "left": ("left", "to the left", "leftward"),
    "right": ("right", "to the right", "rightward"),
    "up": ("up", "upward", "to the top"),
    "down": ("down", "downward", "to the bottom"),
}
_CORNERS = ("{v} and {h}", "{v} and to the {h}", "diagonally {v} and {h}", "{v}ward and {h}ward")


def canonical_caption(spec: ClipSpec) -> str:
    """Returns a caption with all attributes, such as "a large red circle moving left over a black
    background"."""
    verb = spec.motion if spec.motion not in DIRECTIONS else f"moving {spec.motion}"
    thing = f"{spec.size} {spec.colour} {spec.shape}"
    return f"a {thing} {verb} over a {spec.background} background"


def caption(spec: ClipSpec, rng: np.random.Generator) -> str:
    """Returns a random caption of a clip; `parse` recovers every attribute in it."""
    words = [_pick(rng, _ARTICLES)]
    if rng.random() < MENTION_PROBABILITY:
        words.append(_pick(rng, SIZE_WORDS[spec.size]))
    words += [spec.colour, _pick(rng, SHAPE_WORDS[spec.shape]), _motion_phrase(spec.motion, rng)]
    if rng.random() < MENTION_PROBABILITY:
        background = _pick(rng, BACKGROUND_WORDS[spec.background])
        words += [_pick(rng, _PREPOSITIONS), _pick(rng, _ARTICLES), background, "background"]
    return re.sub(r"\ba (?=[aeiou])", "an ", " ".join(filter(None, words)))


def contrasting_captions(spec: ClipSpec, rng: np.random.Generator) -> list[str]:
    """Returns `CONTRASTS` random captions, each of which is wrong in exactly one attribute.

    There is one for every other shape; the others have another colour or motion at random.
    Combinations that are held out from training are left out, so a shape may be missing.
    """

    def changed(attribute: str, values: Iterable[str]) -> list[ClipSpec]:
        others = [
            dataclasses.replace(spec, **{attribute: value})
            for value in values
            if value != getattr(spec, attribute)
        ]
        return [
            other
            for other in others
            if (other.shape, other.colour, other.motion) in combinations("train")
        ]

    rest = changed("colour", COLOURS) + changed("motion", MOTIONS)
    chosen = changed("shape", SHAPE_WORDS) + [rest[i] for i in rng.permutation(len(rest))]
    return [caption(other, rng) for other in chosen[:CONTRASTS]]


def _motion_phrase(motion: str, rng: np.random.Generator) -> str:
    verbs = _TRAVEL_VERBS if motion in DIRECTIONS else _SCALING_VERBS[motion]
    participle, finite = verbs[rng.integers(len(verbs))]
    verb = _pick(rng, (participle, finite, f"that {finite}"))
    if motion not in DIRECTIONS:
        return verb
    if " and " not in motion:
        return f"{verb} {_pick(rng, _SIDES[motion])}"
    vertical, horizontal = motion.split(" and ")
    return f"{verb} {_pick(rng, _CORNERS).format(v=vertical, h=horizontal)}"


def _pick(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    return choices[rng.integers(len(choices))]


_BACKGROUND = re.compile(
    r"\b(?:over|on|onto|against|in front of|with|in) ((?:[\w-]+ ){1,4}?)(?:background|backdrop)\b"
    r"|\b([\w-]+) (?:background|backdrop)\b"
)
_SCALING_STEMS = {
    "growing": r"grow(?:s|ing)?|expand(?:s|ing)?|get(?:s|ting) (?:bigger|larger)",
    "shrinking": r"shrink(?:s|ing)?|contract(?:s|ing)?|get(?:s|ting) smaller",
}
_SIDE_STEMS = {
    "up": r"up(?:wards?)?|top|upper",
    "down": r"down(?:wards?)?|bottom|lower",
    "left": r"left(?:wards?)?",
    "right": r"right(?:wards?)?",
}


def parse(caption: str) -> dict[str, str | None]:
    """Parses the attributes in a caption or prompt.

    Returns:
        a name for each of `ATTRIBUTES`, or None if the text has none of the vocabulary ("over a
        blue background" has background None, and colour blue only if something else is blue).
    """
    text = " ".join(re.findall(r"[\w-]+", caption.lower()))
    background = None
    if found := _BACKGROUND.search(text):
        background = _first_named(found[1] or found[2], BACKGROUND_WORDS)
        text = text[: found.start()] + text[found.end() :]
    return {
        "shape": _first_named(text, SHAPE_WORDS),
        "colour": _first_named(text, {name: (name,) for name in COLOURS}),
        "motion": _parse_motion(text),
        "size": _first_named(text, SIZE_WORDS),
        "background": background,
    }


def _first_named(text: str, words: dict[str, tuple[str, ...]]) -> str | None:
    """Returns the name whose word comes first in the text."""
    found = {
        name: re.search(rf"\b(?:{'|'.join(options)})s?\b", text) for name, options in words.items()
    }
    positions = {name: match.start() for name, match in found.items() if match}
    return min(positions, key=lambda name: positions[name]) if positions else None


def _parse_motion(text: str) -> str | None:
    for motion, stems in _SCALING_STEMS.items():
        if re.search(rf"\b(?:{stems})\b", text):
            return motion
    sides = [side for side, stems in _SIDE_STEMS.items() if re.search(rf"\b(?:{stems})\b", text)]
    motion = " and ".join(sides)
    return motion if motion in MOTIONS else None
