"""The caption grammar and its parser."""

import numpy as np
import pytest

from videogen_jax.data.shapes.captions import (
    ATTRIBUTES,
    CONTRASTS,
    SHAPE_WORDS,
    SIZE_WORDS,
    canonical_caption,
    caption,
    contrasting_captions,
    parse,
)
from videogen_jax.data.shapes.world import (
    MOTIONS,
    SHAPES,
    SPLITS,
    ClipSpec,
    clip_spec,
    combinations,
)

CAPTIONS = [
    (spec, caption(spec, np.random.default_rng(index)))
    for split in SPLITS
    for index in range(1000)
    for spec in [clip_spec(split, index)]
]


def test_every_caption_parses_back():
    for spec, text in CAPTIONS:
        for name, value in parse(text).items():
            optional = name in ("size", "background")
            assert value == getattr(spec, name) or (optional and value is None), text


def test_optional_parts_come_and_go():
    for name in ("size", "background"):
        share = np.mean([parse(text)[name] is not None for _, text in CAPTIONS])
        assert 0.65 < share < 0.75


def test_canonical_caption_names_everything():
    for spec, _ in CAPTIONS[:300]:
        assert parse(canonical_caption(spec)) == {name: getattr(spec, name) for name in ATTRIBUTES}


def test_contrasts_differ_in_one_attribute_and_hold_nothing_out():
    changed = set()
    for index in range(200):
        spec = clip_spec("train", index)
        texts = contrasting_captions(spec, np.random.default_rng(index))
        assert len(texts) == CONTRASTS
        shapes = set()
        for read in map(parse, texts):
            names = [n for n, v in read.items() if v is not None and v != getattr(spec, n)]
            assert len(names) == 1, (spec, read)
            assert (read["shape"], read["colour"], read["motion"]) in combinations("train")
            changed |= set(names)
            shapes |= {read["shape"]}
        assert shapes == {shape for shape in SHAPE_WORDS if _trained(shape, spec)}
    assert changed == {"shape", "colour", "motion"}


def _trained(shape: str, spec: ClipSpec) -> bool:
    return (shape, spec.colour, spec.motion) in combinations("train")


def test_caption_is_a_function_of_the_generator():
    spec = clip_spec("train", 3)
    same = [caption(spec, np.random.default_rng(5)) for _ in range(2)]
    assert same[0] == same[1]
    assert len({caption(spec, np.random.default_rng(seed)) for seed in range(50)}) > 30


def test_every_synonym_occurs():
    words = set(" ".join(text for _, text in CAPTIONS).split())
    for synonyms in (*SHAPE_WORDS.values(), *SIZE_WORDS.values()):
        assert words >= set(synonyms)


def test_articles_agree():
    texts = [f" {text} " for _, text in CAPTIONS]
    assert any(" an orange " in text for text in texts)
    assert not any(" a orange " in text or " an red " in text for text in texts)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            "a large red circle moving left over a blue background",
            ("circle", "red", "left", "large", None),
        ),
        (
            "A big red ball moves to the left.",
            ("circle", "red", "left", "large", None),
        ),
        (
            "small pink star that grows on a navy background",
            ("star", "pink", "growing", "small", "navy"),
        ),
        (
            "The tiny purple donut drifts towards the upper right, on a grey background!",
            ("ring", "purple", "up and right", "small", "gray"),
        ),
        (
            "yellow squares getting bigger, white background",
            ("square", "yellow", "growing", None, "white"),
        ),
        (
            "an orange triangle in front of a dark brown backdrop",
            ("triangle", "orange", None, None, "brown"),
        ),
        (
            "a cat riding a bicycle",
            (None, None, None, None, None),
        ),
        ("", (None, None, None, None, None)),
        (
            "a tiny ball on a red background",
            ("circle", None, None, "small", None),
        ),
    ],
)
def test_prompts_of_users(prompt, expected):
    names = ("shape", "colour", "motion", "size", "background")
    assert parse(prompt) == dict(zip(names, expected, strict=True))


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_promised_motion_phrases(motion):
    phrase = motion if motion in ("growing", "shrinking") else f"moving {motion}"
    assert parse(f"red circle {phrase}")["motion"] == motion


def test_words_cover_the_shapes():
    assert tuple(SHAPE_WORDS) == SHAPES
