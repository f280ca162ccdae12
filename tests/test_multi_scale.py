"The Multi-Scale Filter, and what it shares with the Automated IoU method: seconds, gaps without a face, merging."
import json
import numpy as np
import pytest
from dataclasses import replace
from mespot.core import MespotError
from mespot.signal.filters import savitzky_golay
from mespot.signal.multi_scale import MultiScale, relative_level
from mespot.signal.postprocess import PostProcessing, smooth_scores

free = dict(shortest=(0, 0), longest=(None, None))

def bumps(fps, seconds=20):
    "Scores with a micro-expression about 4 s and macro-expressions about 8 and 15 s, smooth enough to look the same at any frame rate."
    t = np.arange(int(seconds*fps))/fps
    bump = lambda at, width: np.exp(-((t - at)/width)**4)
    return np.stack([.8*bump(4, .15), .7*bump(8, 1) + .6*bump(15, .8)], 1) + .05

decoders = [PostProcessing(), PostProcessing(normalise_scores=True), MultiScale(), MultiScale(mode="absolute", threshold=(.4, .3))]

@pytest.mark.parametrize("post", decoders)
def test_the_same_signal_gives_the_same_seconds_at_any_frame_rate(post):
    slow, fast = post.spotted(bumps(30), 30), post.spotted(bumps(60), 60)
    assert [len(x) for x in slow] == [len(x) for x in fast] == [1, 2]
    for a, b in zip(slow, fast):
        assert np.allclose(a[:, 0]/30, b[:, 0]/60, atol=1.5/30) and np.allclose((a[:, 1] + 1)/30, (b[:, 1] + 1)/60, atol=1.5/30)
        assert np.allclose(a[:, 2], b[:, 2], atol=.05)

@pytest.mark.parametrize("post", decoders)
def test_scores_are_the_highest_smoothed_inside(post):
    scores = np.clip(bumps(30) + .05*np.random.default_rng(0).standard_normal((600, 2)), 0, 1)
    smoothed = smooth_scores(scores, 30, post)
    for k, found in enumerate(post.spotted(scores, 30)):
        assert found.dtype == float and found.shape == (len(found), 3) and len(found)
        assert found[:, 2].tolist() == [smoothed[int(a):int(b) + 1, k].max() for a, b, _ in found] and found[:, 2].max() <= 1

@pytest.mark.parametrize("fps, seconds, frames", [(30, .3, 9), (30, .1, 3), (30, .01, 3), (200, .3, 61), (25, 1., 25), (60, .05, 3)])
def test_the_window_is_the_odd_number_of_frames_nearest(fps, seconds, frames):
    x = np.random.default_rng(0).random(300)
    assert np.array_equal(MultiScale(window=(seconds, 1)).smooth(x, fps, 0), savitzky_golay(x, frames, 2).clip(0, 1))

@pytest.mark.parametrize("n", [1, 2, 5, 40])
def test_a_window_longer_than_the_video(n):
    scores = np.random.default_rng(n).random((n, 2))
    post = MultiScale(window=(3, 10), order=3, **free)
    assert post.smoothed(scores, 30).shape == (n, 2)
    for found in post.spotted(scores, 30): assert ((0 <= found[:, 0]) & (found[:, 0] <= found[:, 1]) & (found[:, 1] < n)).all()

@pytest.mark.parametrize("post", [PostProcessing(gap=(1, 1), **free), MultiScale(gap=(1, 1), **free)])
@pytest.mark.parametrize("missing", [1, 4, 20])
def test_no_interval_reaches_across_a_missing_frame(post, missing):
    scores = bumps(30)
    scores[240:240 + missing] = np.nan                                                  # in the middle of the first macro-expression
    macro = post.spotted(scores, 30)[1]
    assert len(macro) == 3 and not ((macro[:, 0] <= 240 + missing - 1) & (macro[:, 1] >= 240)).any() and np.isfinite(macro).all()

def test_a_video_without_a_face_at_all():
    for post in decoders: assert [len(x) for x in post.spotted(np.full((50, 2), np.nan), 30)] == [0, 0]

def test_near_intervals_merge_up_to_the_gap_before_short_ones_are_dropped():
    x = np.zeros((300, 2)); x[100:110, 1] = x[115:125, 1] = .8                          # 1/3 s each, 1/6 s apart
    post = MultiScale(window=(.1, .1), order=0, mode="absolute", threshold=(.7, .7), shortest=(.1, .5), gap=(0, .25))
    (a, b, _), = post.spotted(x, 30)[1]
    assert 100 <= a <= 101 and 123 <= b <= 124
    assert not len(replace(post, gap=(0, .1)).spotted(x, 30)[1])
    assert len(replace(post, gap=(0, .1), shortest=(0, 0)).spotted(x, 30)[1]) == 2

def test_the_relative_threshold_is_part_of_the_way_from_mean_to_maximum():
    x = bumps(30)
    for p in (.1, .5, .9):
        post = MultiScale(threshold=(p, p), gap=(0, 0), **free)
        s = post.smoothed(x, 30)
        absolute = replace(post, mode="absolute", threshold=tuple(s.mean(0) + p*(s.max(0) - s.mean(0))))
        assert all(np.allclose(a, b) for a, b in zip(post.spotted(x, 30), absolute.spotted(x, 30)))
    fainter = MultiScale().spotted(.3*x + .2, 30)
    assert all(np.array_equal(a[:, :2], b[:, :2]) for a, b in zip(fainter, MultiScale().spotted(x, 30)))

@pytest.mark.parametrize("value", [0., .1, .3, 1.])
def test_a_flat_video_has_nothing_above_a_relative_threshold(value):
    for p in (0, .5, 1):
        assert [len(x) for x in MultiScale(threshold=(p, p), **free).spotted(np.full((300, 2), value), 30)] == [0, 0]
    gappy = np.full(60, value); gappy[20:30] = np.nan
    assert np.isnan(relative_level(gappy)).all()

def test_settings_survive_json():
    for post in (MultiScale(longest=(.5, None), mode="absolute", order=3), PostProcessing(longest=(None, None))):
        assert type(post)(**json.loads(json.dumps(post.to_dict(), allow_nan=False))) == post

@pytest.mark.parametrize("wrong, words", [(dict(window=(0, 1)), "window"), (dict(order=1.5), "order"), (dict(mode="peak"), "relative or absolute"), (dict(gap=(-1, 0)), "gap"),
    (dict(threshold=(.1, .2, .3)), "pair"), (dict(threshold=.5), "pair"), (dict(shortest=(2, 2), longest=(1, 3)), "exceeds"), (dict(shortest=(-1, 0)), "shortest")])
def test_what_makes_no_sense_is_refused(wrong, words):
    with pytest.raises(MespotError, match=words): MultiScale(**wrong)
