"Peaks, wavelet smoothing, onset and offset: against brute force, and what must hold for any signal."
import numpy as np
import pytest
import pywt
from hypothesis import given, settings, strategies as st
from mespot.core import MespotError
from mespot.samm_lv import AUBaseline, smoothed
from mespot.signal.peaks import at_frame_rate, find_peaks, intervals_around, level_at, wavelet_smooth

BASELINE = AUBaseline()

def spotted(x, fps, settings=BASELINE):
    y = smoothed(np.asarray(x, float), fps, settings)
    return intervals_around(y, find_peaks(y, settings.at(fps)[2], settings.percentile, settings.least), settings.share)

def brute(x, k, percentile, least):
    "The definition, frame by frame; a plateau is one point."
    low = max(np.percentile(x, percentile), np.median(x) + least*np.ptp(x))
    edges, out = np.flatnonzero(np.append(True, np.diff(x) != 0)), []
    for a, b in zip(edges, [*edges[1:] - 1, len(x) - 1]):
        before, after = x[max(a - k, 0):a], x[b + 1:b + 1 + k]
        if len(before) == k == len(after) and before.max() < x[a] > after.max() and x[a] >= low: out.append((a + b)//2)
    return out if np.ptp(x) else []

@settings(max_examples=300)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=80), st.integers(1, 9), st.sampled_from([0, 50, 75, 100]), st.sampled_from([0., .05, .6]))
def test_peaks_are_those_of_the_definition(x, k, percentile, least):
    assert find_peaks(np.array(x, float), k, percentile, least).tolist() == brute(np.array(x, float), k, percentile, least)

@given(st.integers(1, 400), st.floats(-1e6, 1e6), st.sampled_from([30., 200.]))
def test_a_neutral_signal_gives_no_interval(n, value, fps):
    assert len(spotted(np.full(n, value), fps)) == 0

BUMPS = dict(cosine=lambda t: .5 - .5*np.cos(2*np.pi*t), smoothstep=lambda t: (s := np.clip(np.minimum(t, 1 - t)/.3, 0, 1))*s*(3 - 2*s), triangle=lambda t: 1 - abs(2*t - 1))

@settings(max_examples=400, deadline=None)
@given(st.sampled_from(list(BUMPS)), st.floats(.3, 4), st.floats(.2, .8), st.sampled_from([60., 100., 200.]), st.floats(.01, 100))
def test_one_clean_bump_gives_one_interval_with_its_ends(shape, seconds, place, fps, height):
    n, total = round(seconds*fps), round(20*fps)
    x, a = np.zeros(total), round(place*(20 - seconds)*fps)
    x[a:a + n] = height*BUMPS[shape]((np.arange(n) + .5)/n)
    (found,) = spotted(x, fps)
    most = .05*n if fps == 200 else max(.05*n, 2)                                                     # two frames, where frames are few
    assert abs(found[0] - a) <= most and abs(found[1] - (a + n - 1)) <= most

@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.floats(.01, 1e3), st.floats(-10, 10))
def test_scaling_and_shifting_a_signal_change_nothing(seed, scale, shift):
    x = np.cumsum(np.random.default_rng(seed).standard_normal(800))
    assert np.array_equal(spotted(x, 200), spotted(scale*x + shift*scale, 200))

@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_nothing_reaches_across_frames_without_a_face(seed, gap):
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.standard_normal(600)); a = int(rng.integers(0, 600 - gap)); x[a:a + gap] = np.nan
    y = smoothed(x, 200)
    assert np.array_equal(np.isnan(y), np.isnan(x))
    for on, off in spotted(x, 200): assert not np.isnan(x[on:off + 1]).any()

def test_every_peak_lies_in_an_interval_and_intervals_do_not_overlap():
    rng = np.random.default_rng(1)
    for _ in range(20):
        y = smoothed(np.cumsum(rng.standard_normal(700)), 200)
        peaks = find_peaks(y)
        found = intervals_around(y, peaks)
        assert all(any(a <= p <= b for a, b in found) for p in peaks) and (found[1:, 0] > found[:-1, 1] + 1).all() and len(found) <= len(peaks)

def test_ends_lie_where_the_signal_has_come_down():
    x = np.zeros(300); x[100:200] = np.hanning(102)[1:-1]
    for share in (.05, .2, .5):
        ((a, b),) = intervals_around(x, [150], share)
        assert x[a] > share*x[150] >= x[a - 1] and x[b] > share*x[150] >= x[b + 1]
    assert len(intervals_around(x, [50])) == 0 and len(intervals_around(np.full(9, np.nan), [3])) == 0

def test_an_interval_may_begin_or_end_with_the_video():
    x = np.r_[np.hanning(40)[15:], np.zeros(100), np.hanning(40)[:25]]
    assert [f.tolist() for f in intervals_around(x, find_peaks(x, 3))] == [[0, 22], [127, 149]]

# wavelets

@pytest.mark.parametrize("hertz, passes", [(.5, 1), (2, 1), (30, 0), (60, 0)])
def test_level_three_at_200_frames_a_second_passes_what_is_slow(hertz, passes):
    x = np.sin(2*np.pi*hertz*np.arange(2000)/200)
    assert abs(np.std(wavelet_smooth(x)[200:-200])/np.std(x) - passes) < .12

@given(st.integers(0, 200), st.integers(0, 8))
def test_smoothing_keeps_length_and_constants(n, level):
    assert wavelet_smooth(np.full(n, 2.5), level=level) == pytest.approx(np.full(n, 2.5))
    x = np.random.default_rng(n).standard_normal(n)
    assert len(wavelet_smooth(x, level=level)) == n and np.array_equal(wavelet_smooth(x, level=0), x)

@given(st.integers(1, 300), st.integers(1, 3), st.sampled_from(["db2", "db1", "sym4"]))
def test_spinning_is_the_mean_over_all_places_to_begin(n, level, wavelet):
    x, k = np.random.default_rng(n).standard_normal(n), 2**level
    if pywt.dwt_max_level(n, wavelet) < level: return
    ways = []
    for s in range(k):
        y = np.pad(x, k, mode="symmetric")[s:s + n + k]
        c = pywt.wavedec(y, wavelet, level=level)
        ways.append(pywt.waverec([c[0]] + [0*d for d in c[1:]], wavelet)[k - s:k - s + n])
    assert wavelet_smooth(x, wavelet, level) == pytest.approx(np.mean(ways, axis=0))
    c = pywt.wavedec(x, wavelet, level=level)
    assert wavelet_smooth(x, wavelet, level, spin=False) == pytest.approx(pywt.waverec([c[0]] + [0*d for d in c[1:]], wavelet)[:n])

def test_an_interval_does_not_depend_on_where_the_video_was_cut():
    x = np.zeros(3000); x[1000:1070] = np.hanning(70); x[1500:1900] = np.hanning(400)
    for cut in range(1, 9): assert np.array_equal(spotted(x[cut:], 200) + cut, spotted(x, 200))

def test_frames_and_levels_follow_the_frame_rate():
    assert [at_frame_rate(7, f) for f in (200, 100, 60, 30, 25)] == [7, 4, 2, 1, 1] and [level_at(3, f) for f in (400, 200, 100, 60, 30)] == [4, 3, 2, 1, 0]
    assert AUBaseline().at(200) == (11, 3, 7) and AUBaseline().at(30) == (3, 0, 1) and AUBaseline(scaled=False).at(30) == (11, 3, 7)

def test_mistakes():
    x = np.zeros(9)
    for call, says in ((lambda: wavelet_smooth(x, "haaar"), "unknown"), (lambda: wavelet_smooth(x, level=1.5), "whole number"), (lambda: find_peaks(x, 0), "from 1 on"), (lambda: find_peaks(x, percentile=101), "0–100"),
                       (lambda: find_peaks(x, least=2), "0–1"), (lambda: intervals_around(x, [1], 1), "below 1"), (lambda: find_peaks(np.zeros((2, 2))), "shape")):
        with pytest.raises(MespotError, match=says): call()
