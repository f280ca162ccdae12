"Spotters without training: what moves is found where and when it moves, and nothing else is."
from time import process_time
import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mespot.core import MespotError
from mespot.data.phantom import phantom
from mespot.measure.intervals import frame_labels
from mespot.signal.baselines import (MDMD_SKIPS, difference_scores, maximal_difference, mdmd_scores, relative_difference, strongest_third, to_unit, unit_range,
                                     usable_towards)
from mespot.train.thresholds import frame_auc

SPOTTERS = [lambda *a, **kw: mdmd_scores(*a, **{"skips": MDMD_SKIPS, **kw}), lambda *a, **kw: difference_scores(*a, **{"skips": (.2, .6), **kw})]
both = pytest.mark.parametrize("spot", SPOTTERS, ids=["mdmd", "difference"])
SKIN = cv2.GaussianBlur(np.random.default_rng(0).normal(0, 400, (112, 112)).astype(np.float32), None, 3) + 128

def moving(shift, centre=(56, 56), radius=9.):
    "A still texture (n, 112, 112) uint8 whose surroundings of `centre` (x, y) move obliquely by `shift` (n,) pixels."
    y, x = np.mgrid[:112, :112].astype(np.float32)
    near = np.exp(-((x - centre[0])**2 + (y - centre[1])**2)/(2*radius**2)).astype(np.float32)
    views = [cv2.remap(SKIN, x - .8*s*near, y - .6*s*near, cv2.INTER_CUBIC) for s in np.asarray(shift, np.float32)]
    return np.array(views).reshape(-1, 112, 112).round().clip(0, 255).astype(np.uint8)

def twitch(n, fps, at, seconds=.12, pixels=2.):
    "A movement there and back, strongest at the second `at`: (n,) pixels."
    return pixels*np.exp(-.5*((np.arange(n)/fps - at)/seconds)**2)

def test_mdmd_peaks_at_the_frame_where_the_patch_is_furthest():
    micro = mdmd_scores(moving(twitch(90, 30, 1.5)), 30.)[:, 0]
    assert abs(micro.argmax() - 45) <= 1 and micro[:30].max() < .1*micro[45] > micro[60:].max()
    slow = mdmd_scores(moving(twitch(150, 30, 2.5, seconds=.45)), 30., rate=15.)
    assert abs(slow[:, 1].argmax() - 75) <= 3 and slow[75, 0] < .6*slow[75, 1]          # too slow for the micro window to see all of it

def test_differences_peak_on_both_sides_of_a_movement_that_comes_and_goes():
    micro = difference_scores(moving(twitch(150, 30, 2.5)), 30., (.2, .6))[:, 0]
    assert all(abs(t - 75) <= 7 for t in np.argsort(micro)[-6:]) and micro[:60].max() == 0 == micro[90:].max()

def test_what_stays_where_it_went_is_a_difference_once_and_for_mdmd_no_return():
    step = moving(2.*(np.arange(60) >= 30))
    assert np.array_equal(np.flatnonzero(difference_scores(step, 30., (.2, .6))[:, 0]), np.arange(27, 33))        # the pairs t - 3, t + 3 astride it
    there_and_back = moving(twitch(60, 30, 1.))
    assert mdmd_scores(step, 30.)[:, 0].max() < .6*mdmd_scores(there_and_back, 30.)[:, 0].max()

@both
def test_a_still_face_scores_exactly_nothing(spot):
    assert (spot(moving(np.zeros(40)), 30.) == 0).all()

def test_light_hardly_moves_the_differences():
    frames = moving(twitch(90, 30, 1.5), radius=30.)
    lamp = np.linspace(.6, 1., 90)[:, None, None]*frames + np.linspace(25, 0, 90)[:, None, None]        # gain and offset
    a, b = (difference_scores(f, 30., (.2, .6)) for f in (frames, lamp.round().astype(np.uint8)))
    assert abs(a - b).max() < .15*a.max()
    assert difference_scores((lamp[:, :1, :1] + 0*frames).round().astype(np.uint8), 30., (.2, .6)).max() == 0           # nothing but light

@both
@pytest.mark.parametrize("centre", [(14, 14), (98, 98)])
def test_movement_in_one_corner_is_found(spot, centre):
    s = spot(moving(twitch(60, 30, 1.), centre, radius=6.), 30.)[:, 0]
    assert abs(s.argmax() - 30) <= 7 and s.argmax() > 0 and s.max() > 5*np.median(s)

@both
def test_the_same_movement_peaks_at_the_same_second_at_any_rate(spot):
    slow, fast = spot(moving(twitch(60, 30, 1.)), 30.), spot(moving(twitch(120, 60, 1.)), 60.)
    centre = lambda s, fps: (np.arange(len(s))*s[:, 0]).sum()/s[:, 0].sum()/fps
    assert fast.shape == (120, 2) and centre(slow, 30) == pytest.approx(centre(fast, 60), abs=.04) and slow.max(0) == pytest.approx(fast.max(0), rel=.15)

@both
def test_coarser_sampling_only_interpolates(spot):
    frames = moving(twitch(60, 30, 1.))
    fine, coarse = spot(frames, 30.), spot(frames, 30., rate=15.)
    assert abs(fine - coarse).max() < .12*fine.max() and abs(fine - coarse).max() > 0

@both
def test_frames_without_a_face_have_no_score_and_are_never_compared(spot):
    frames, ok = moving(twitch(60, 30, 1.)), np.ones(60, bool)
    ok[[0, 59]], ok[12:20], ok[35:38] = False, False, False
    black, noisy = frames.copy(), frames.copy()
    black[~ok], noisy[~ok] = 0, np.random.default_rng(1).integers(0, 256, (int((~ok).sum()), 112, 112))
    a, b = spot(black, 30., ok=ok), spot(noisy, 30., ok=ok)
    assert np.isnan(a[~ok]).all() and np.isfinite(a[ok]).all() and np.array_equal(a, b, equal_nan=True)
    assert np.isnan(spot(black, 30., ok=np.zeros(60, bool))).all()

@both
@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_videos_shorter_than_the_skip(spot, n):
    s = spot(moving(twitch(n, 30, .1)), 30.)
    assert s.shape == (n, 2) and s.dtype == np.float32 and np.isfinite(s).all() and (s >= 0).all()

@given(st.data())
@settings(max_examples=60, deadline=None)
def test_the_nearest_usable_frame_towards_now(data):
    ok = np.array(data.draw(st.lists(st.booleans(), min_size=1, max_size=30).filter(any)))
    t, offset = data.draw(st.sampled_from(list(np.flatnonzero(ok)))), data.draw(st.integers(-40, 40))
    way = range(t + offset, t + (1 if offset < 0 else -1), 1 if offset < 0 else -1)
    assert usable_towards(t, offset, ok) == next(i for i in way if 0 <= i < len(ok) and ok[i])

@given(st.integers(0, 2**31), st.sampled_from([2, 4, 6]), st.sampled_from([(24, 24), (27, 31)]))
@settings(max_examples=30, deadline=None)
def test_maximal_difference_is_its_definition(seed, blocks, shape):
    hc, ht = np.random.default_rng(seed).normal(0, 2, (2, *shape, 2))
    got, (h, w) = maximal_difference(hc, ht, blocks), (s//blocks for s in shape)
    top, left = (shape[0] - h*blocks)//2, (shape[1] - w*blocks)//2
    for r in range(blocks):
        for c in range(blocks):
            a, b = (f[top + r*h:top + r*h + h, left + c*w:left + c*w + w].reshape(-1, 2) for f in (hc, ht))
            angle = np.rad2deg(np.arctan2(a[:, 1], a[:, 0])) % 360//90
            groups = [np.linalg.norm(a[angle == q], axis=1) - np.linalg.norm(b[angle == q], axis=1) for q in range(4)]
            most = max(map(len, groups))
            allowed = [np.sort(g)[::-1][:max(1, round(most/3))].mean() for g in groups if len(g) == most]          # a draw may go either way
            assert np.isclose(allowed, got[r, c]).any()

def test_the_strongest_third_of_36_blocks_is_12(): assert strongest_third(np.arange(36).reshape(6, 6)) == np.arange(24, 36).mean()

def test_relative_difference_ignores_a_level_and_a_ramp_and_is_never_negative():
    ok, t = np.ones(60, bool), np.arange(60.)
    assert np.allclose(relative_difference(3 + .2*t, 8, ok)[7:-7], 0)
    r = relative_difference(np.where(t == 30, 1., 0), 8, ok)
    assert r[30] == 1 and r[23] == 0 == r[37] and r.min() == 0

@given(st.integers(0, 2**31), st.floats(-5, 5), st.floats(.01, 5))
@settings(max_examples=30, deadline=None)
def test_the_map_to_0_1_keeps_the_order_and_nothing_else(seed, low, width):
    s = np.random.default_rng(seed).normal(0, 4, (50, 2)); s[7] = np.nan
    u = to_unit(s, low, low + width)
    assert np.isnan(u[7]).all() and np.nanmin(u) >= 0 and np.nanmax(u) <= 1
    kept = np.delete(np.arange(50), 7)
    for k in (0, 1): assert (np.diff(u[kept, k][np.argsort(s[kept, k])]) >= 0).all()
    assert np.allclose(to_unit(s, low, low + width)[10:20], to_unit(s[10:20], low, low + width))                   # no look at the other scores

def test_the_range_is_that_of_the_pooled_frames_of_each_kind():
    rng = np.random.default_rng(0)
    videos = [rng.normal((0, 10), (1, 3), (n, 2)) for n in (30, 300)]; videos[0][:5] = np.nan
    low, high = unit_range(videos)
    flat = np.concatenate([videos[0][5:], videos[1]])
    assert np.allclose([low, high], np.percentile(flat, (5, 99), axis=0)) and low[1] > high[0]

@pytest.mark.parametrize("wrong, said", [
    (lambda f: mdmd_scores(f.astype(float), 30.), "uint8"), (lambda f: mdmd_scores(f, 30., (.4, 0)), "skips"), (lambda f: mdmd_scores(f, 30., (.4,)), "skips"),
    (lambda f: mdmd_scores(f, 0.), "fps"), (lambda f: mdmd_scores(f, 30., rate=0), "rate"), (lambda f: mdmd_scores(f, 30., blocks=0), "blocks"),
    (lambda f: difference_scores(f, 30., (.2, .6), ok=np.ones(3, bool)), "mask"), (lambda f: to_unit(np.zeros((4, 2)), 1, 1), "range"),
    (lambda f: unit_range([]), "validation"), (lambda f: unit_range([np.full((3, 2), np.nan)]), "validation")])
def test_what_does_not_fit_is_said(wrong, said):
    with pytest.raises(MespotError, match=said): wrong(np.zeros((4, 112, 112), np.uint8))

@both
def test_expressions_of_a_phantom_are_spotted_better_than_by_chance_and_fast(spot):
    ph = phantom("tiny")
    video = ph.videos.iloc[2]
    frames = ph.frames(video.video)
    labels = frame_labels(ph.annotations[ph.annotations.video == video.video], video.n_frames)
    start = process_time()
    scores = spot(frames, video.fps, rate=10.)
    assert (process_time() - start)/len(frames) < .02 and frame_auc(labels, scores).min() > .55

def test_the_last_frame_is_looked_at_at_any_rate():
    frames = moving(2.*np.arange(24)**2/24**2)
    fine, coarse = (difference_scores(frames, 30., (.2, .6), rate=rate) for rate in (30., 3.))
    assert np.array_equal(fine[[0, 10, 20, 23]], coarse[[0, 10, 20, 23]])
