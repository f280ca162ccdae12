"Micro-expressions: the clips, the frames around the apex, the measures on sequences whose movement is known, and what is refused."
from dataclasses import replace
import numpy as np
import pytest
import torch
from mespot.core import MespotError
from mespot.nets.sequence import SequenceConfig, to_frames
from mespot.train import micro_sequence as m
from mespot.train.sequence import SequenceOptions, phase_course

MICRO = m.micro_sequences(2, seed=31)
MACRO = m.macro_sequences(MICRO)
NET = SequenceConfig(width=4, levels=2)


class _Plays:
    "In the place of a network: `frames(steps)` is what it makes."
    config = NET
    def __init__(self, monkeypatch, frames):
        monkeypatch.setattr(m, "generate", lambda net, neutral, steps, **given: frames(steps))


def test_clips_are_micro_and_the_same_people_when_large():
    seconds = (MICRO.table.offset - MICRO.table.onset + 1)/m.FPS
    assert seconds.between(.15, .5).all() and MICRO.table.peak.between(1.4, 2.6).all() and MACRO.table.peak.between(2.2, 4.6).all()
    assert (MICRO.strength[:, [0, -1]] == 0).all()
    for a, b in zip(MICRO.frames[:, 0], MACRO.frames[:, 0]): assert np.abs(a.astype(float) - b).mean() < 1.5                  # one face in one light but for noise
    assert np.abs(MICRO.frames[0, 0].astype(float) - MACRO.frames[1, 0]).mean() > 5


@pytest.mark.parametrize("ratio", [.4, .1, .05])
def test_long_sequences_rest_as_much_as_they_should(monkeypatch, ratio):
    monkeypatch.setattr(m, "expression_sequences", lambda people, emotions, length, size, seed, peak, rest, progress: (length, rest))
    length, (fewest, most) = m.micro_sequences(move_to_neutral=ratio)
    moving = np.array([length - 2*most, length - fewest - most, length - 2*fewest])                     # the shortest, the mean, the longest
    assert (moving[[0, 2]]/m.FPS).tolist() == [.15, .5] and moving[1]/(length - moving[1]) == pytest.approx(ratio, rel=.02)


@pytest.mark.parametrize("ahead, first, second", [(3, 5, 8), (6, 2, 10), (1, 0, 3)])
def test_a_batch_holds_frames_of_one_clip_around_its_apex(ahead, first, second):
    config = SequenceConfig(phase=2, label=1)
    batches = m.ApexBatches(MICRO, config, SequenceOptions(batch=6, steps=2, ahead=ahead), first, second)
    skips = set()
    for batch in batches:
        for i in range(6):
            k = next(k for k in range(2) if np.array_equal(to_frames(batch["constant"][i]), MICRO.frames[k, 0]))
            drawn = [*to_frames(batch["previous"][i:i + 1]), *to_frames(batch["current"][i:i + 1]), *to_frames(batch["true"][i])]
            at = [next(j for j in range(len(MICRO.frames[k])) if np.array_equal(f, MICRO.frames[k, j])) for f in drawn]
            r = MICRO.table.iloc[k]
            assert len(at) == 2 + ahead and (np.diff(at) > 0).all() and max(at) - min(at) <= 2*second
            assert any(abs(j - r.apex) <= first and max(at) - j <= second and j - min(at) <= second for j in at)
            course = phase_course(MICRO.frames.shape[1], r.onset, r.apex, r.offset)
            assert np.array_equal(batch["phase"][i], course[at[2:]])
            skips |= set(np.diff(at).tolist())
    assert len(skips) > 2


def test_batches_repeat_by_seed():
    draw = lambda seed: [b["true"] for b in m.ApexBatches(MICRO, NET, SequenceOptions(steps=2, batch=3, seed=seed))]
    batches = m.ApexBatches(MICRO, NET, SequenceOptions(steps=2, batch=3))
    assert all(torch.equal(*pair) for other in ([b["true"] for b in batches], [b["true"] for b in batches]) for pair in zip(draw(0), other))
    assert not torch.equal(draw(0)[0], draw(1)[0]) and not torch.equal(*draw(0))


def test_rollouts_may_grow():
    _, history = m.train_micro(MICRO, NET, SequenceOptions(steps=6, batch=1, ahead=1, ahead_last=3))
    assert history.ahead.tolist() == [1, 1, 2, 2, 3, 3]


def test_training_learns_and_repeats():
    options = SequenceOptions(steps=15, batch=2, lr=.005, loss=dict(mae=1.))
    (net, history), (again, _), (other, _) = (m.train_micro(MICRO, NET, o) for o in (options, options, replace(options, seed=1)))
    same = lambda a, b: all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))
    assert same(net, again) and not same(net, other) and not net.training
    assert history.loss.tail(5).mean() < .9*history.loss.head(3).mean()


def test_clips_go_on_with_the_phase_at_rest(monkeypatch):
    given = {}
    monkeypatch.setattr(m, "generate", lambda net, neutral, steps, **kw: given.update(kw, steps=steps) or np.repeat(neutral[:, None], steps, 1))
    net = type("Net", (), dict(config=SequenceConfig(phase=2, label=1)))()
    n, r = MICRO.frames.shape[1], MICRO.table.iloc[0]
    clips = m.micro_clips(net, MICRO, every=4, times=2)
    assert clips.shape[:2] == (2, len(range(0, 2*n, 4))) and given["phase"].shape == (2, clips.shape[1] - 1, 2)
    course = phase_course(2*n, r.onset, r.apex, r.offset)
    assert np.array_equal(given["phase"][0], course[4::4]) and np.allclose(given["phase"][:, -1], [0, 1], atol=1e-6) and given["label"].tolist() == [0, 0]


def test_flow_follows_a_known_shift():
    "A face that is shifted by 2 of its 64 pixels moves by 3.5 of the view."
    face = MICRO.frames[0, 0]
    region = np.zeros((112, 112), bool); region[30:90, 30:90] = True
    mean, most = m.flow_magnitudes(np.roll(face, 2, 1)[None], face, region)[0]
    assert mean == pytest.approx(3.5, abs=.35) and mean <= most < 4.5
    dim = np.rint(face*.7).astype(np.uint8)                                     # a weaker lamp is no movement
    assert m.flow_magnitudes(dim[None], face, region).max() < .2


def test_region_is_where_the_face_moves():
    from mespot.data.phantom_sequences import apex_field
    region, length = m.moving_region(MICRO, 0), np.hypot(*np.moveaxis(apex_field(MICRO, 0), -1, 0))
    assert .02 < region.mean() < .6 and length[region].min() > length[~region].max() and np.array_equal(region, m.moving_region(MACRO, 0))
    assert m.moving_region(MICRO, 0, .6).sum() < region.sum()


def test_the_truth_is_in_range_comes_back_and_neither_stands_still_nor_loops(monkeypatch):
    true = MICRO.frames[:, ::3]
    rest = lambda steps: np.concatenate([true[:, 1:], np.repeat(true[:, :1], steps, 1)], 1)[:, :steps]
    table = m.micro_table(_Plays(monkeypatch, rest), MICRO, MACRO)
    s = m.micro_summary(table)
    assert np.allclose(table.generated, table.true) and np.allclose(table.generated_95, table.true_95) and np.allclose(table.stillness, table.true_stillness)
    assert s["in_range"] == s["below_macro"] == 1 and s["along"] == pytest.approx(1, abs=.05) and abs(s["end"]) < .15 and s["static"] == s["loops"] == 0
    assert (table.floor < .5*table.true).all() and (table.true < .85*table.macro).all() and (table.true < table.true_95).all()


def test_the_failures_are_seen(monkeypatch):
    "Standing still, staying at the apex, going round, moving far too much."
    first = MICRO.frames[:, :1]
    judged = lambda frames: m.micro_summary(m.micro_table(_Plays(monkeypatch, frames), MICRO, MACRO, every=6))
    still = judged(lambda steps: np.repeat(first, steps, 1))
    assert still["static"] == 1 and still["generated"] == 0 and still["in_range"] == 0 and still["loops"] == 0
    stuck = judged(lambda steps: np.stack([np.r_[f[6:a + 1:6], np.repeat(f[[a]], steps, 0)][:steps] for f, a in zip(MICRO.frames, MICRO.table.apex)]))
    assert stuck["along"] > .9 and stuck["end"] > .9 and stuck["in_range"] > .5
    loop = judged(lambda steps: np.tile(MICRO.frames[:, ::6], (1, 4, 1, 1))[:, 1:steps + 1])
    assert loop["loops"] == 1 and loop["in_range"] == 1
    large = judged(lambda steps: np.concatenate([MACRO.frames, np.repeat(MACRO.frames[:, :1], steps, 1)], 1)[:, 1:steps + 1])
    assert large["along"] > 1.2 and large["generated"] == pytest.approx(large["macro"], rel=.15)


@pytest.mark.parametrize("make, says", [
    (lambda: m.micro_sequences(1, move_to_neutral=0), "ratio of 0"), (lambda: m.micro_sequences(1, move_to_neutral=5), "ratio of 5"), (lambda: m.micro_sequences(1, ("boredom",)), "boredom"),
    (lambda: m.ApexBatches(MICRO, NET, SequenceOptions(ahead=9), 5, 4), "apex window"), (lambda: m.ApexBatches(MICRO, SequenceConfig(size=32), SequenceOptions()), "64 pixels"),
    (lambda: m.train_micro(MICRO, NET, device="tpu"), "device 'tpu'"), (lambda: m.micro_table(None, MICRO, replace(MACRO, seed=30)), "macro_sequences")])
def test_what_is_refused(make, says):
    with pytest.raises(MespotError, match=says): make()


def test_the_sheet_shows_the_farthest_frame_on_one_scale():
    fig = m.plot_micro(dict(micro=MICRO.frames[0, ::10], still=np.repeat(MICRO.frames[0, :1], 3, 0), macro=MACRO.frames[0, ::3]))
    shown = [[im.get_array() for im in ax.images] for ax in fig.axes[:15]]
    rows = [shown[i:i + 5] for i in (0, 5, 10)]
    assert all(ax.images[-1].get_clim() == fig.axes[3].images[-1].get_clim() for i in (0, 5, 10) for ax in fig.axes[i + 3:i + 5])
    assert rows[1][3][-1].max() == 0 < rows[0][3][-1].max() < rows[2][3][-1].max() and rows[2][4][-1].mean() < .5*rows[2][3][-1].mean()
    apex = next(i for i in range(24) if np.array_equal(rows[2][1][0], MACRO.frames[0, i]))
    assert abs(apex - MACRO.table.apex[0]) <= 4
