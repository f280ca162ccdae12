"Agreement of action units: against scipy, against simulation, and what must hold for any series."
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.signal import lfilter
from mespot.core import MespotError
from mespot.measure.agreement import (across_units, au_correlations, block_bootstrap, block_length, combined_p, correlation_table, correlations, disattenuated,
                                      effective_size, fisher_mean, p_value, plot_histograms, plot_upper_face, standardised)
from mespot.samm_lv import AUBaseline
from mespot.signal.filters import savitzky_golay
from figures import title_of

UNITS = ["AU04_r", "AU12_r", "AU45_r"]

def ar1(phi, n, k, seed):
    return lfilter([1], [1, -phi], np.random.default_rng(seed).standard_normal((n + 1000, k)), axis=0)[1000:]

def tables(n=400, seed=0):
    "Two participants with two videos each: originals, synthetic ones, table of videos."
    rng = np.random.default_rng(seed)
    videos = pd.DataFrame([dict(subject=s, video=f"{s}_{v}", fps=200.) for s in ("006", "007") for v in (1, 2)])
    a = {v: pd.DataFrame(ar1(.9, n, 3, rng.integers(99)).clip(0).round(2), columns=UNITS) for v in videos.video}
    b = {v: (.5*t + rng.standard_normal(t.shape).clip(0)).round(2) for v, t in a.items()}
    return a, b, videos

def sparse(k):
    "Integers of 0 to 3, mostly 0, as (n, k): heavy ties, now and then constant."
    return st.integers(4, 60).flatmap(lambda n: st.tuples(*[arrays(float, (n, k), elements=st.sampled_from([0., 0., 0., 0., 1., 2., 3.]))]*2))

# ---- coefficients and p

@pytest.mark.filterwarnings("ignore::scipy.stats.ConstantInputWarning")
@settings(max_examples=60, deadline=None)
@given(sparse(3), st.sampled_from([0., .1]), st.integers(0, 9))
def test_coefficients_and_p_are_scipys(pair, noise, seed):
    x, y = (a + noise*np.random.default_rng(seed + i).standard_normal(a.shape) for i, a in enumerate(pair))
    x[np.random.default_rng(seed).random(x.shape) < .1] = np.nan
    got = correlations(x, y)
    for i in range(3):
        both = np.isfinite(x[:, i])
        a, b, row = x[both, i], y[both, i], got.iloc[i]
        assert row.n == both.sum()
        if len(a) < 4: assert row.status in ("missing", "too few") and np.isnan(row.pearson); continue
        if not (np.ptp(a) and np.ptp(b)): assert row.status == "constant" and row[["pearson", "spearman", "pearson_p", "spearman_p_eff", "n_eff"]].isna().all(); continue
        for name, theirs in (("pearson", stats.pearsonr(a, b)), ("spearman", stats.spearmanr(a, b))):
            assert row[name] == pytest.approx(theirs.statistic, abs=1e-12)
            if abs(theirs.statistic) < 1 - 1e-6: assert row[f"{name}_p"] == pytest.approx(theirs.pvalue, rel=1e-9, abs=1e-12)

@given(st.floats(-.999, .999), st.integers(3, 400))
def test_p_is_that_of_pearsonr_for_whole_numbers(r, n):
    beta = stats.beta(n/2 - 1, n/2 - 1, loc=-1, scale=2)                       # the distribution that scipy's pearsonr uses
    assert p_value(r, n) == pytest.approx(2*beta.sf(abs(r)), rel=1e-9, abs=1e-12)

def test_p_is_monotone_in_a_size_that_is_not_whole_and_needs_more_than_two():
    p = p_value(.3, np.linspace(2.01, 60, 300))
    assert (np.diff(p) < 0).all() and np.isnan(p_value(.3, [2., 1., np.nan])).all() and p_value(1, 9.5) == 0

@settings(max_examples=30, deadline=None)
@given(sparse(2), st.integers(-50, 50), st.sampled_from([.01, 1., 300.]))
def test_shift_scale_sign_and_order_of_the_sides(pair, shift, scale):
    x, y = pair
    x, y = x + .1*np.random.default_rng(0).standard_normal(x.shape), y + .1*np.random.default_rng(1).standard_normal(y.shape)
    base, columns = correlations(x, y), ["pearson", "spearman", "n_eff"]
    assert (base[["pearson", "spearman"]].abs() <= 1).all(axis=None)
    np.testing.assert_allclose(correlations(scale*x + shift, y)[columns], base[columns], rtol=1e-6)
    np.testing.assert_allclose(correlations(y, x)[columns], base[columns], rtol=1e-9)
    np.testing.assert_allclose(correlations(-x, y)[columns], base[columns]*[-1, -1, 1], rtol=1e-9)
    np.testing.assert_allclose(correlations(np.exp(x), y**3).spearman, base.spearman, rtol=1e-12)

@pytest.mark.parametrize("value", [0., .1, 1e6/3])
def test_a_constant_series_is_not_defined_whatever_rounding_does(value):
    x, y = np.full(1000, value), np.random.default_rng(0).standard_normal(1000)
    x[::7] += value*1e-16
    for a, b in ((x, y), (y, x), (x, x)):
        row = correlations(a, b).iloc[0]
        assert row.status == "constant" and np.isnan(row.pearson) and np.isnan(row.spearman_p)
        assert np.isnan(effective_size(a, b)) and np.isnan(block_bootstrap(a, b)).all()

def test_shapes_must_agree():
    with pytest.raises(MespotError, match=r"\(3,\) and \(4,\)"): correlations(np.zeros(3), np.zeros(4))

# ---- effective size

def brute_size(x, y):
    "The formula, lag by lag, for series with missing frames."
    seen, n, total = np.isfinite(x), np.isfinite(x).sum(), 1.
    a, b = (np.where(seen, (s - s[seen].mean())/s[seen].std(), 0) for s in (x, y))
    for k in range(1, n//5 + 1):
        pairs = (seen[k:] & seen[:-k]).sum()
        product = (a[k:]*a[:-k]).sum()*(b[k:]*b[:-k]).sum()/pairs**2 if pairs else 0
        if not product > 0: break
        total += 2*pairs/n*product
    return min(max(n/total, 3), n)

@pytest.mark.parametrize("phi, gaps", [(0, False), (.8, False), (.97, True)])
def test_effective_size_is_that_of_the_formula(phi, gaps):
    x, y = ar1(phi, 600, 8, 1), ar1(phi, 600, 8, 2)
    if gaps: x[100:180] = y[100:180] = np.nan; x[300] = y[300] = np.nan
    want = [brute_size(*c) for c in zip(x.T, y.T)]
    np.testing.assert_allclose(effective_size(x, y), want, rtol=1e-9)
    assert isinstance(one := effective_size(x[:, 0], y[:, 0]), float) and one == pytest.approx(want[0])

@pytest.mark.parametrize("phi", [0, .5, .9])
def test_effective_size_of_known_processes(phi):
    sizes = effective_size(ar1(phi, 5000, 60, 3), ar1(phi, 5000, 60, 4))
    assert np.mean(sizes) == pytest.approx(5000*(1 - phi**2)/(1 + phi**2), rel=.08)
    assert (sizes >= 3).all() and (sizes <= 5000).all()

@pytest.mark.parametrize("phi, n", [(.9, 500), (.97, 2000)])
def test_unrelated_smooth_series_are_rejected_as_often_as_the_level_says(phi, n):
    rows = correlations(ar1(phi, n, 500, 5), ar1(phi, n, 500, 6))
    assert .025 < (rows.pearson_p_eff < .05).mean() < .085 and .025 < (rows.spearman_p_eff < .05).mean() < .085
    assert (rows.pearson_p < .05).mean() > .4 and (rows.spearman_p < .05).mean() > .4

# ---- means

@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_a_fisher_mean_lies_within_and_is_scipys_arctanh(r):
    mean = fisher_mean(r)
    assert min(r) - 2e-7 <= mean <= max(r) + 2e-7 and fisher_mean([*r, np.nan, np.inf]) == mean
    assert fisher_mean(-np.array(r)) == pytest.approx(-mean, abs=1e-12)
    if max(map(abs, r)) < .999: assert mean == pytest.approx(np.tanh(np.mean([np.log((1 + x)/(1 - x))/2 for x in r])), abs=1e-12)

def test_weights_of_a_mean():
    assert fisher_mean([.1, .5, .5], [2, 1, 1]) == pytest.approx(fisher_mean([.1, .1, .5, .5]), abs=1e-12)
    assert np.isnan(fisher_mean([])) and np.isnan(fisher_mean([.3], [0])) and fisher_mean([.3, .5], [1, np.nan]) == pytest.approx(.3)
    with pytest.raises(MespotError, match="-1"): fisher_mean([.3, .4], [1, -1])

def test_a_perfect_correlation_is_finite_and_counted():
    a, _, videos = tables()
    table = correlation_table(au_correlations(a, a, videos))
    assert (table.pearson > 1 - 2e-7).all() and (table.pearson < 1).all() and table.limited.tolist() == [2, 2, 2]

def test_combined_p_counts_the_direction():
    r, p = np.array([.3, .2, .5, np.nan]), np.array([.04, .2, .001, np.nan])
    z = stats.combine_pvalues(p[:3]/2, method="stouffer").statistic
    assert combined_p(r, p) == pytest.approx(2*stats.norm.sf(z), rel=1e-12)
    assert combined_p([.5, -.5], [.001, .001]) == pytest.approx(1) and np.isnan(combined_p([np.nan], [np.nan])) and combined_p([1, .9], [0, 0]) < 1e-100

def test_the_combined_p_of_unrelated_participants_is_uniform():
    rows = correlations(ar1(.9, 400, 2000, 7), ar1(.9, 400, 2000, 8))
    p = [combined_p(g.pearson, g.pearson_p_eff) for _, g in rows.groupby(np.arange(2000)//5)]
    assert .02 < np.mean(np.array(p) < .05) < .1 and .4 < np.mean(p) < .6

def test_what_is_not_defined_is_counted_and_goes_into_no_mean():
    a, b, videos = tables()
    for v in ("006_1", "006_2"): b[v] = b[v].assign(AU12_r=.3)
    for t in a.values(): t["AU45_r"] = 0.
    rows = au_correlations(a, b, videos)
    table, plain = correlation_table(rows, printed=True).set_index("au"), rows.set_index(["au", "subject"])
    assert rows.status.value_counts().to_dict() == {"ok": 3, "constant": 3}
    assert table.loc["AU12", ["defined", "undefined"]].tolist() == [1, 1] and table.pearson["AU12"] == pytest.approx(plain.pearson["AU12", "007"])
    assert table.defined["AU45"] == 0 and table.undefined["AU45"] == 2 and table.loc["AU45", ["pearson", "spearman", "pearson_p", "pearson_p_mean"]].isna().all()
    assert correlation_table(rows, "subject").undefined.tolist() == [2, 1] and "pearson_p" not in correlation_table(rows, "subject")
    z = np.arctanh(plain.loc["AU04"].pearson)
    assert table.pearson["AU04"] == pytest.approx(np.tanh(z.mean()), abs=1e-12) and table.pearson_se["AU04"] == pytest.approx(z.std()/np.sqrt(2))
    assert table.pearson_sd["AU04"] == pytest.approx(plain.loc["AU04"].pearson.std()) and table.pearson_p_mean["AU04"] == pytest.approx(plain.loc["AU04"].pearson_p.mean())

# ---- tables of videos

@pytest.mark.parametrize("fps", [25., 30., 60., 100., 200., 400.])
def test_the_window_of_smoothing_is_that_of_the_au_baseline(fps):
    x = pd.DataFrame(dict(AU12_r=np.random.default_rng(0).random(500)))
    np.testing.assert_allclose(standardised(x, ["AU12_r"], fps).AU12_r, savitzky_golay(x.AU12_r - x.AU12_r[0], AUBaseline().at(fps)[0], 2), atol=1e-14)

def test_standardising_starts_at_the_first_frame_with_a_face_and_keeps_ties():
    x = pd.DataFrame(dict(AU12_r=[np.nan, .37, *[0.]*300, 2., *[0.]*300]), index=range(40, 643))
    got = standardised(x, ["AU12_r", "AU99_r"], 200.)
    assert got.AU99_r.isna().all() and got.index.equals(x.index) and np.isnan(got.AU12_r.iloc[0])
    assert len(np.unique(got.AU12_r.iloc[20:280])) == 1 and got.AU12_r.iloc[100] == pytest.approx(-.37)
    assert standardised(x, ["AU12_r"], 200., window=None).AU12_r.iloc[[1, 302]].tolist() == pytest.approx([0, 1.63])
    assert len(standardised(x[:0], ["AU12_r"], 200.)) == 0

def test_videos_of_a_participant_are_standardised_each_and_joined():
    a, b, videos = tables()
    b["006_2"].iloc[50:80] = np.nan; a["006_1"].iloc[10, 0] = np.nan
    rows = au_correlations(a, b, videos, smooth=False).set_index(["subject", "au"])
    x, y = (np.concatenate([t[v].AU04_r - t[v].AU04_r.iloc[0] for v in ("006_1", "006_2")]) for t in (a, b))
    both = np.isfinite(x + y)
    row = rows.loc["006", "AU04"]
    assert (row.n, row.left_out) == (800 - 31, 31) and rows.loc["007", "AU12"].left_out == 0
    assert row.pearson == pytest.approx(stats.pearsonr(x[both], y[both]).statistic, abs=1e-12)
    assert row.spearman == pytest.approx(stats.spearmanr(x[both], y[both]).statistic, abs=1e-12)
    each = au_correlations(a, b, videos, smooth=False, by="video")
    assert each.columns[:5].tolist() == ["subject", "video", "au", "n", "left_out"] and len(each) == 12
    assert each.pearson[0] == pytest.approx(correlations(*(t["006_1"].AU04_r for t in (a, b))).pearson[0], abs=1e-12)

def test_no_autocorrelation_reaches_from_one_video_into_the_next():
    "Two videos, each a copy of the other, hold twice what one does; a join without a gap would find them periodic or pair the end of one with the start of the next."
    a, b, videos = tables(300)
    a["006_2"], b["006_2"] = a["006_1"], b["006_1"]
    one = {v: t for v, t in au_correlations(a, b, videos, smooth=False, by="video").groupby("video")}["006_1"].set_index("au")
    two = au_correlations(a, b, videos[:2], smooth=False).set_index("au")
    np.testing.assert_allclose(two.n_eff, 2*one.n_eff, rtol=.15)
    x, y = (pd.concat([t["006_1"], pd.DataFrame(np.nan, index=range(10_000), columns=UNITS), t["006_2"]]) for t in (a, b))
    for t in (x, y): t -= t.iloc[0]
    np.testing.assert_allclose(two.n_eff, effective_size(x, y), rtol=1e-9)

def test_a_missing_unit_or_face_is_said_to_be_missing():
    a, b, videos = tables()
    b = {v: t.drop(columns="AU12_r") for v, t in b.items()}
    for v in ("007_1", "007_2"): a[v].AU04_r = np.nan
    rows = au_correlations(a, b, videos).set_index(["subject", "au"])
    assert (rows.status.xs("AU12", level="au") == "missing").all() and rows.status["007", "AU04"] == "missing" and rows.left_out["007", "AU04"] == 800
    assert rows.status["006", "AU45"] == "ok" and set(rows.index.get_level_values("au")) == {"AU04", "AU12", "AU45"}

def test_what_a_user_can_get_wrong():
    a, b, videos = tables()
    with pytest.raises(MespotError, match="video 006_2: the original AU table has 400 frames, the synthetic 399"): au_correlations(a, b | {"006_2": b["006_2"][1:]}, videos)
    with pytest.raises(MespotError, match="video 007_1: there is no synthetic"): au_correlations(a, {v: t for v, t in b.items() if v != "007_1"}, videos)
    with pytest.raises(MespotError, match="'group'"): au_correlations(a, b, videos, by="group")
    with pytest.raises(MespotError, match="occurs twice"): au_correlations(a, b, pd.concat([videos, videos]))
    with pytest.raises(MespotError, match="no rows"): au_correlations(a, b, videos[:0])
    with pytest.raises(MespotError, match="'emotion'"): correlation_table(au_correlations(a, b, videos), "emotion")
    with pytest.raises(MespotError, match="'kendall'"): block_bootstrap([1, 2, 3], [3, 2, 1], method="kendall")
    with pytest.raises(MespotError, match="block of 9"): block_bootstrap(np.arange(8.), np.arange(8.)**2, block=9)

def test_across_units_correlates_their_means():
    a, b, videos = tables()
    b["006_1"].iloc[:40, 0] = np.nan                                 # left out of both sides
    got = across_units(a, b, videos).set_index("subject")
    assert got.n.tolist() == [3, 3] and (got.status == "too few").all()
    a, b = ({v: pd.concat([t, t.add_prefix("x")**2], axis=1) for v, t in s.items()} for s in (a, b))
    columns = [*UNITS, *("x" + u for u in UNITS)]
    got = across_units(a, b, videos, columns).set_index("subject")
    means = [np.nanmean(np.concatenate([(t[v] - t[v].bfill().iloc[0]).where(b[v].notna()) for v in ("006_1", "006_2")]), axis=0) for t in (a, b)]
    assert got.pearson["006"] == pytest.approx(stats.pearsonr(*means).statistic, abs=1e-9) and got.pearson_p["006"] == pytest.approx(stats.pearsonr(*means).pvalue, rel=1e-6)

# ---- intervals and attenuation

def test_an_interval_is_that_of_blocks_drawn_one_by_one():
    x, y = ar1(.8, 60, 2, 9).T
    y, x[20:23] = y + x, np.nan
    starts = np.random.default_rng(4).integers(60, size=(50, 9))
    places = [np.concatenate([(s + np.arange(7)) % 60 for s in row]) for row in starts]
    for method, r in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
        found = [r(*(s[p[np.isfinite(x[p])]] for s in (x, y))).statistic for p in places]
        np.testing.assert_allclose(block_bootstrap(x, y, 7, n=50, seed=4, level=.8, method=method), np.quantile(found, [.1, .9]), atol=1e-12)

def test_intervals_hold_the_truth_about_as_often_as_they_say():
    x, e = ar1(.9, 2000, 100, 10), ar1(.9, 2000, 100, 11)
    ends = np.array([block_bootstrap(a, b, n=300) for a, b in zip(x.T, (.5*x + .75**.5*e).T)])
    assert .88 < ((ends[:, 0] < .5) & (.5 < ends[:, 1])).mean() <= .99

def test_draws_in_which_nothing_moves_are_left_out():
    x, y = np.full(500, 1.7), np.random.default_rng(0).standard_normal(500)
    x[40] = 2.7
    places = [np.concatenate([(s + np.arange(9)) % 500 for s in row]) for row in np.random.default_rng(1).integers(500, size=(200, 56))]
    found = [stats.pearsonr(x[p], y[p]).statistic for p in places if (x[p] > 2).any()]
    assert 50 < len(found) < 190
    np.testing.assert_allclose(block_bootstrap(x, y, 9, n=200, seed=1), np.quantile(found, [.025, .975]), atol=1e-12)

def test_block_length_is_that_of_politis_and_white_for_an_ar1():
    blocks = [block_length(*pair.T) for pair in np.stack([ar1(.9, 2000, 30, 12), ar1(.9, 2000, 30, 13)], -1).swapaxes(0, 1)]
    rho = .9*.9                                                       # of the products; G/D of the paper is 2 rho/(1 - rho^2)
    assert np.median(blocks) == pytest.approx((1.5*(2*rho/(1 - rho**2))**2*2000)**(1/3), rel=.12)
    assert block_length(*np.random.default_rng(0).standard_normal((2, 2000))) <= 12

def test_correction_for_attenuation():
    rng = np.random.default_rng(0)
    true = rng.multivariate_normal([0, 0], [[1, .6], [.6, 1]], 200_000).T
    seen = true + rng.standard_normal(true.shape)*[[.7], [1.2]]
    r = lambda a, b: np.corrcoef(a, b)[0, 1]
    assert disattenuated(r(*seen), r(seen[0], true[0]), r(seen[1], true[1])) == pytest.approx(.6, abs=.01)
    np.testing.assert_array_equal(np.isnan(disattenuated(.3, [.4, .5, -.8, np.nan, .9], [.9, .5, .8, .9, .4])), [True, False, True, True, True])
    assert disattenuated(.3, .4, .9, least=.1) == pytest.approx(.3/.36)

# ---- pictures

def test_pictures_show_the_means_of_the_table():
    a, b, videos = tables()
    for t in a.values(): t["AU45_r"] = 0.
    rows = au_correlations(a, b, videos)
    axes = plot_histograms(rows).axes
    assert [sum(p.get_height() for p in ax.patches) for ax in axes] == [4, 4] and [len(ax.patches) for ax in axes] == [6, 6] and "2 not defined" in title_of(axes[0])
    assert axes[0].lines[0].get_xdata()[0] == pytest.approx(fisher_mean(rows.pearson))
    ax = plot_upper_face(rows, {"007"}, ["AU04", "AU45"]).axes[0]
    everyone, without = ax.containers[1], ax.containers[3]
    assert everyone[0].get_height() == pytest.approx(correlation_table(rows).pearson[0]) and without[0].get_height() == pytest.approx(rows.pearson[0])
    assert [t.get_text() for t in ax.texts] == ["n.d.", "n.d."] and [t.get_text() for t in ax.get_xticklabels()] == ["AU4", "AU45"]
    plt.close("all")
