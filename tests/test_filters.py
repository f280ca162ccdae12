"Filters: against SciPy, scikit-learn and plain loops; short, constant and gappy signals; refusals."

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import signal
from sklearn.metrics import roc_curve

from mespot.core import MespotError
from mespot.signal.filters import (butterworth, limit_durations, merge_near, normalise, psd_cutoff, savitzky_golay, to_intervals, youden_threshold)

pytestmark = pytest.mark.filterwarnings("error")
rng = np.random.default_rng(0)
numbers = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), max_size=40)
spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 8)).map(lambda p: (p[0], p[0] + p[1])), max_size=8)


@given(numbers)
def test_normalise_spans_0_to_1_keeps_order_and_nan(x):
    x, y = np.array(x, float), normalise(x)
    assert (np.isnan(x) == np.isnan(y)).all()
    v, u = x[~np.isnan(x)], y[~np.isnan(x)]
    assert ((u >= 0) & (u <= 1)).all() and (np.diff(u[np.argsort(v)]) >= 0).all()
    if len(v) and np.ptp(v) > 0: assert u.min() == 0 and u.max() == 1
    else: assert not u.any()


@pytest.mark.parametrize("f", [.5, 1.5, 3, 6])
def test_cutoff_of_a_sine_is_its_frequency(f):
    t = np.arange(3000) / 30
    assert psd_cutoff(5 + np.sin(2*np.pi*f*t), 30, bounds=(.1, 14)) == pytest.approx(f, abs=.15)


def test_cutoff_is_the_lowest_that_holds_the_power():
    x = np.cumsum(rng.normal(size=4000))
    f, p = signal.welch(x, 50, nperseg=500)
    for power in (.3, .8, .99):
        c = psd_cutoff(x, 50, power, bounds=(1e-6, 25))
        at = np.flatnonzero(f == c)[0] if c in f else len(f)
        assert c == 1e-6 and p[0] >= power*p.sum() or p[:at + 1].sum() >= power*p.sum() > p[:at].sum()
    assert psd_cutoff(x, 50, 1., bounds=(.1, 100)) == 22.5


@pytest.mark.parametrize("x", [[], [1], [1, 2], [1, 2, 1], [.1]*500, [np.nan]*5, [np.nan, 3, np.nan]])
def test_cutoff_of_short_constant_and_missing_signals_is_usable(x):
    for fps in (1, 10, 30, 200):
        c = psd_cutoff(x, fps)
        assert 0 < c < fps/2 and c <= 8
    assert psd_cutoff([.1]*500, 30) == psd_cutoff([], 30) == 1


def test_cutoff_ignores_offset_and_scale():
    x = np.cumsum(rng.normal(size=900))
    assert psd_cutoff(x, 30, .9) == psd_cutoff(100*x - 7, 30, .9)


@pytest.mark.parametrize("order", [1, 2, 5])
@pytest.mark.parametrize("ratio", [.3, 1, 2.5])
def test_butterworth_gain_is_squared_once(order, ratio):
    t = np.arange(8000) / 200
    y = butterworth(np.sin(2*np.pi*4*ratio*t), 200, cutoff=4, order=order)[2000:6000]
    assert np.ptp(y)/2 == pytest.approx(1/(1 + ratio**(2*order)), abs=.02)


def test_butterworth_equals_scipy_away_from_the_ends():
    x = rng.normal(size=2000)
    want = signal.sosfiltfilt(signal.butter(2, 3, fs=30, output="sos"), x)
    assert np.abs(butterworth(x, 30, cutoff=3) - want)[100:-100].max() < 1e-6


@given(numbers.filter(len), st.sampled_from([1., 8., 30., 200.]), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_butterworth_takes_any_signal(x, fps, order):
    x = np.array(x, float)
    cutoff = psd_cutoff(x, fps)
    y = butterworth(x, fps, order=order)
    assert y.shape == x.shape and (np.isnan(y) == np.isnan(x)).all()
    scale = np.nanmax(np.abs(x), initial=1)
    assert np.nanmax(np.abs(y), initial=0) <= 3*scale
    assert np.allclose(butterworth(x[::-1], fps, cutoff, order)[::-1], y, atol=2e-3*scale, equal_nan=True)   # no direction of time


@pytest.mark.parametrize("n", [1, 2, 5, 40, 3000])
def test_a_constant_passes_every_smoother(n):
    x = np.full(n, .3)
    assert np.allclose(butterworth(x, 30, cutoff=.2), x) and np.allclose(butterworth(x, 30), x) and np.allclose(savitzky_golay(x, 9, 3), x)


def test_a_gap_is_bridged_by_a_line_and_put_back():
    x = rng.normal(size=300)
    bridged, gappy = x.copy(), x.copy()
    bridged[100:110] = np.interp(np.arange(100, 110), [99, 110], x[[99, 110]])
    gappy[100:110] = np.nan
    for smooth in (lambda s: butterworth(s, 30, cutoff=3), lambda s: savitzky_golay(s, 7, 2)):
        y = smooth(gappy)
        assert np.isnan(y[100:110]).all() and np.isnan(y).sum() == 10
        keep = ~np.isnan(y)
        assert np.allclose(y[keep], smooth(bridged)[keep])
    assert psd_cutoff(gappy, 30, .5) == psd_cutoff(bridged, 30, .5)


def test_smoothers_leave_their_argument_alone():
    x = rng.normal(size=50); x[3] = np.nan
    before = x.copy()
    for f in (normalise, lambda s: butterworth(s, 30), lambda s: savitzky_golay(s, 5, 2)): f(x)
    assert np.array_equal(x, before, equal_nan=True)


def test_savitzky_golay_is_a_local_fit():
    x = rng.normal(size=60)
    y = savitzky_golay(x, 11, 3)
    for t in range(5, 55): assert y[t] == pytest.approx(np.polyval(np.polyfit(np.arange(-5, 6), x[t-5:t+6], 3), 0))
    for n in range(1, 11):      # shorter than the window: one polynomial through the largest odd number of frames
        got, w = savitzky_golay(x[:n], 11, 3), n - 1 + n % 2
        fit = np.polyfit(np.arange(w), x[:w], min(3, w - 1))
        assert len(got) == n and got[0] == pytest.approx(np.polyval(fit, 0), abs=1e-6)
    assert len(savitzky_golay([], 11, 3)) == 0


@given(numbers, st.floats(-100, 100))
def test_intervals_are_the_runs_above(x, threshold):
    found = to_intervals(x, threshold)
    frames = [t for a, b in found for t in range(a, b + 1)]
    assert found.shape[1] == 2 and frames == [t for t, v in enumerate(x) if v >= threshold]
    assert (found[1:, 0] - found[:-1, 1] > 1).all()


@given(spans, st.integers(0, 6))
def test_merging_fills_gaps_up_to_the_limit(intervals, gap):
    covered = set().union(*(range(a, b + 1) for a, b in intervals))
    merged = merge_near(intervals, gap)
    inside = {t for a, b in merged for t in range(a, b + 1)}
    assert covered <= inside and (merged[1:, 0] - merged[:-1, 1] - 1 > gap).all()
    assert {x for a, b in merged for x in (a, b)} <= {x for i in intervals for x in i}
    edges = sorted(covered)
    assert inside - covered == {t for a, b in zip(edges, edges[1:]) if b - a - 1 <= gap for t in range(a + 1, b)}
    assert (merge_near(merged, gap) == merged).all()


@given(spans, st.integers(0, 6), st.one_of(st.none(), st.integers(1, 9)))
def test_durations_are_limited_both_ways(intervals, shortest, longest):
    want = [i for i in intervals if shortest <= i[1] - i[0] + 1 <= (longest or 99)]
    assert [tuple(i) for i in limit_durations(intervals, shortest, longest)] == want


def rates(labels, scores, t): return (scores[labels == 1] >= t).mean() - (scores[labels == 0] >= t).mean()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 12)), min_size=2, max_size=60).filter(lambda r: 0 < sum(y for y, _ in r) < len(r)))
def test_youden_is_that_of_sklearn(rows):
    labels, scores = np.array(rows).T
    scores = scores / 12
    t = youden_threshold(labels, scores)
    fpr, tpr, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    J = tpr - fpr
    assert rates(labels, scores, t) == pytest.approx(J.max(), abs=1e-12)
    equal = thresholds[J > J.max() - 1e-9]
    assert t == (max(equal) if J.max() > 1e-9 else np.inf)


def test_youden_on_many_scores():
    y = rng.integers(0, 2, 20_000)
    s = rng.normal(size=len(y)) + y
    fpr, tpr, thresholds = roc_curve(y, s)
    assert youden_threshold(y, s) == thresholds[np.argmax(tpr - fpr)] == pytest.approx(.5, abs=.15)
    gappy = s.copy(); gappy[:500] = np.nan
    assert youden_threshold(y, gappy) == youden_threshold(y[500:], s[500:])
    assert youden_threshold(y.astype(bool), s.astype(np.float32)) == pytest.approx(youden_threshold(y, s), abs=1e-6)
    assert youden_threshold(y, -s) == np.inf and youden_threshold(y, np.ones(len(y))) == np.inf


def test_scores_at_the_chosen_threshold_count_as_spotted():
    x = np.float32([.1, .3, .7, .7, .2])
    assert to_intervals(x, youden_threshold([0, 0, 1, 1, 0], x)).tolist() == [[2, 3]]


@pytest.mark.parametrize("call, words", [
    (lambda: normalise(np.zeros((3, 2))), "(3, 2)"), (lambda: normalise([1, np.inf]), "frame 1"), (lambda: butterworth([1, 2], 0), "fps"),
    (lambda: butterworth([1, 2], 30, cutoff=15), "15 Hz"), (lambda: butterworth([1, 2], 30, cutoff=0), "cut-off"), (lambda: butterworth([1, 2], 30, cutoff=np.nan), "cut-off"),
    (lambda: butterworth([1, 2], 30, order=0), "order"), (lambda: psd_cutoff([1, 2], 30, power=0), "power"), (lambda: psd_cutoff([1, 2], 30, bounds=(3, 1)), "bounds"),
    (lambda: savitzky_golay([1, 2, 3], 4, 2), "odd"), (lambda: savitzky_golay([1, 2, 3], 3, 3), "order"), (lambda: to_intervals([1, 2], np.nan), "threshold"),
    (lambda: merge_near([[3, 1]], 1), "interval 0"), (lambda: merge_near([1, 2], 1), "(2,)"), (lambda: merge_near([[1, 2]], -1), "gap"),
    (lambda: youden_threshold([1, 1], [.1, .2]), "both classes"), (lambda: youden_threshold([0, 2], [.1, .2]), "0 or 1"), (lambda: youden_threshold([0, 1], [.1]), "shape")])
def test_what_cannot_be_done_is_refused(call, words):
    with pytest.raises(MespotError) as e: call()
    assert words in str(e.value)


def test_the_ends_are_continued_by_reflection():
    x = np.cumsum(rng.normal(size=200))
    mirrored = np.concatenate([x[:0:-1], x, x[-2::-1]])
    assert np.abs(butterworth(mirrored, 30, cutoff=1)[199:399] - butterworth(x, 30, cutoff=1)).max() < 1e-6
