"""The collectives in the text of compiled programs."""

import pytest

from videogen_jax.training.planning.hlo import Traffic, collectives

HLO = """\
HloModule jit_step

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %s = f32[] add(%x, %y)
}

%all-reduce-scatter.1.body (p: f32[64]) -> f32[16] {
  %r = f32[64]{0} all-reduce(%p), channel_id=7, replica_groups=[2,4]<=[8], to_apply=%add
  ROOT %d = f32[16]{0} dynamic-slice(%r, %i), dynamic_slice_sizes={16}
}

%body (t: (s32[], f32[8])) -> (s32[], f32[8]) {
  %g = bf16[8,128]{1,0:T(8,128)(2,1)} all-gather(%x), replica_groups={{0,1},{2,3},{4,5},{6,7}}
  ROOT %t2 = (s32[], /*index=1*/f32[8]) tuple(%i, %y)
}

%cond (t: (s32[], f32[8])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

%window (t: (s32[], f32[8])) -> (s32[], f32[8]) {
  %cp = (f32[10]{0}, f32[10]{0}, u32[], u32[]) collective-permute-start(%q), source_target_pairs={{0,1}}
  ROOT %t3 = (s32[], f32[8]) tuple(%i, %y)
}

%bound (t: (s32[], f32[8])) -> pred[] {
  %n = u32[]{:T(128)} constant(4), metadata={op_name="to_k"}
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (p: f32[64]) -> f32[16] {
  %v = (s32[], f32[8]{0}) while(%t), condition=%bound, body=%window
  %w = (s32[], f32[8]{0}) while(%t), condition=%cond, body=%body, backend_config=FIVE_TIMES
  %fused = f32[16]{0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.1.body
  %all-reduce-scatter.9 = f32[16]{0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.1.body
  %st = (f32[4]{0}, f32[32]{0}) all-gather-start(%q), replica_groups=[1,8]<=[8], dimensions={0}
  %en = f32[32]{0} all-gather-done(%st)
  %m = f32[100]{0} all-reduce(%p), replica_groups=mesh['a'=4,'b'=2], device_ids=([8]) {'a'}
  ROOT %a = (f32[8]{0}, f32[8]{0}) all-to-all(%q, %z), replica_groups={}
}
""".replace("FIVE_TIMES", '{"known_trip_count":{"n":"5"}}')  # noqa: E501 -- as XLA prints it


def test_collectives_are_counted_as_often_as_their_loops_run():
    found = collectives(HLO, devices=8)
    gathers = 5 * 8 * 128 * 2 * 1 / 2 + 32 * 4 * 7 / 8  # of two in the loop, of eight outside
    reduces = 2 * 64 * 4 * 3 / 4 + 2 * 100 * 4 * 3 / 4  # in a fusion, and over the axis of four
    assert found == {
        "all-reduce": Traffic(2, reduces),
        "all-gather": Traffic(6, gathers),
        "reduce-scatter": Traffic(1, 16 * 4 * 3),
        "all-to-all": Traffic(1, 2 * 8 * 4 * 7 / 8),
        "collective-permute": Traffic(4, 4 * 10 * 4),
    }


@pytest.mark.parametrize(
    ("shape", "kind", "sent"),
    [
        ("((f32[8,4]{1,0}), f32[1,4]{1,0})", "reduce-scatter", 4 * 4 * 7),
        ("((bf16[3]{0}, f32[2]{0}), (bf16[24]{0}, f32[16]{0}))", "all-gather", (48 + 64) * 7 / 8),
        ("((bf16[8,2]{1,0}), bf16[8,2]{1,0})", "all-to-all", 32 * 7 / 8),
        ("bf16[100]{0}", "all-reduce", 2 * 200 * 7 / 8),
        ("((f32[4]{0}, s8[4]{0}), (f32[4]{0}, s8[4]{0}), u32[], u32[])", "collective-permute", 20),
    ],
)
def test_asynchronous_collectives_as_a_gpu_has_them(shape, kind, sent):
    start = f"  %s = {shape} {kind}-start(%x), replica_groups=mesh['a'=8] {{'a'}}"
    text = f"ENTRY %main (p: f32[8]) -> f32[8] {{\n{start}\n}}\n"
    assert collectives(text, devices=8) == {kind: Traffic(1, sent)}


def test_other_text_than_a_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        collectives("HloModule nothing", devices=8)
