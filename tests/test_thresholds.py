"Scores to predictions, and settings chosen without a look at the test subjects."
from itertools import product
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import roc_auc_score
from mespot.core import MespotError
from mespot.data.phantom import phantom
from mespot.measure.intervals import check_predictions, match, score_intervals
from mespot.signal.filters import butterworth, normalise, psd_cutoff, to_intervals, youden_threshold
from mespot.signal.multi_scale import MultiScale
from mespot.signal.postprocess import PostProcessing, cut, find_intervals, smooth_scores
from mespot.train import thresholds
from mespot.train.thresholds import choose_multi_scale, choose_postprocessing, frame_auc, interval_f1, labels_of, pooled_auc, predictions_of

@pytest.fixture(scope="module")
def ph(): return phantom("tiny", subjects=6, seed=2)

@pytest.fixture(scope="module")
def noisy(ph):
    rng = np.random.default_rng(1)
    return {v: np.clip(.55*y + .2*rng.standard_normal(y.shape) + .2, 0, 1) for v, y in labels_of(ph.annotations, ph.videos).items()}

def test_auc_is_that_of_scikit_learn_on_the_frames_with_a_face():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, (200, 2)), rng.random((200, 2)).round(1)      # ties included
    scores[50:70] = np.nan
    seen = np.r_[0:50, 70:200]
    assert np.allclose(frame_auc(labels, scores), [roc_auc_score(labels[seen, k], scores[seen, k]) for k in (0, 1)])

def test_pooling_is_over_frames_not_a_mean_of_videos(ph, noisy):
    labels = labels_of(ph.annotations, ph.videos)
    pooled = pooled_auc(noisy, labels)["micro"]
    flat = [np.concatenate([d[v][:, 0] for v in labels]) for d in (labels, noisy)]
    assert pooled == pytest.approx(roc_auc_score(*flat))

def test_predictions_are_a_valid_table_within_the_videos(ph, noisy):
    found = predictions_of(noisy, ph.videos, PostProcessing())
    assert len(found) and check_predictions(found, ph.videos)[["onset", "offset"]].equals(found[["onset", "offset"]])
    empty = predictions_of({v: np.zeros((450, 2)) for v in noisy}, ph.videos, PostProcessing())
    assert list(empty) == list(found) and not len(empty)

def test_settings_that_are_chosen_beat_the_defaults_where_they_were_chosen(ph, noisy):
    chosen = choose_postprocessing(noisy, ph.annotations, ph.videos)
    f1 = lambda post: score_intervals(predictions_of(noisy, ph.videos, post), ph.annotations).f1.iloc[-1]
    assert f1(chosen) >= f1(PostProcessing()) - .02

def test_only_the_videos_handed_over_count(ph, noisy):
    val = ph.videos.iloc[:3]
    rows = ph.annotations[ph.annotations.video.isin(val.video)]
    alone = choose_postprocessing({v: noisy[v] for v in val.video}, rows, val)
    assert alone == choose_postprocessing({v: noisy[v].copy() for v in val.video}, rows.sample(frac=1, random_state=0), val)
    spoiled = {v: noisy[v] if v in set(val.video) else 1 - noisy[v] for v in noisy}   # whatever the others hold
    assert alone == choose_postprocessing({v: spoiled[v] for v in val.video}, rows, val)

def test_youden_takes_the_threshold_of_the_smoothed_frames(ph, noisy):
    post = choose_postprocessing(noisy, ph.annotations, ph.videos, rule="youden")
    y = np.concatenate(list(labels_of(ph.annotations, ph.videos).values()))
    s = np.concatenate([smooth_scores(noisy[v], 30., post) for v in noisy])
    for k in (0, 1):
        j = lambda t: (s[y[:, k] == 1, k] >= t).mean() - (s[y[:, k] == 0, k] >= t).mean()
        assert j(post.threshold[k]) >= max(j(t) for t in np.linspace(0, 1, 101)) - 1e-9

def test_worse_than_chance_is_spotted_as_nothing_by_youden(ph):
    against = {v: 1. - y for v, y in labels_of(ph.annotations, ph.videos).items()}     # worse than chance
    post = choose_postprocessing(against, ph.annotations, ph.videos, rule="youden")
    assert not len(predictions_of(against, ph.videos, post))

def test_what_a_user_gets_wrong_is_said(ph, noisy):
    with pytest.raises(MespotError, match="rule"): choose_postprocessing(noisy, ph.annotations, ph.videos, rule="best")
    with pytest.raises(MespotError, match="no annotation"): choose_postprocessing(noisy, ph.annotations[:0], ph.videos)
    with pytest.raises(MespotError, match="twice"): labels_of(ph.annotations, pd.concat([ph.videos, ph.videos[:1]]))
    with pytest.raises(MespotError, match="cut-off"): PostProcessing(cutoff=(1, -1))
    with pytest.raises(MespotError, match="pair"): PostProcessing(threshold=(.5,))

@pytest.mark.parametrize("fps", (25., 30., 200.))
def test_durations_and_gaps_are_in_seconds(fps):
    t = np.arange(int(12*fps))/fps
    macro = ((t > 3) & (t < 4.5)) | ((t > 4.7) & (t < 6))                              # 0.2 s apart
    scores = np.stack([(t > 9) & (t < 9.05), macro], 1).astype(float)                  # and a flash of 0.05 s
    for gap, n in ((.3, 1), (.1, 2)):
        micro, spans = find_intervals(scores, fps, PostProcessing(gap=(0, gap)))
        assert len(spans) == n and len(micro) == 0

# ---- from level to intervals, and the count of all settings at once, against the definitions

signal = st.lists(st.sampled_from([np.nan, .1, .3, .5, .5, .7, .9]), min_size=1, max_size=40).map(np.array)
spans = st.lists(st.tuples(st.integers(0, 39), st.integers(0, 12)), max_size=6)
seconds = st.sampled_from([0., .1, .15, .25, .3, .5])

@settings(deadline=None)
@given(signal, seconds, seconds, seconds, st.sampled_from([10., 25.]))
def test_cutting_by_walking_along_the_frames(x, gap, shortest, extra, fps):
    found, dip = [], None                                                               # dip: frames since the last one above; None across a missing frame
    for t, v in enumerate(x):
        if np.isnan(v): dip = None
        elif v >= .5:
            if dip is not None and dip <= round(gap*fps): found[-1][1] = t
            else: found.append([t, t])
            dip = 0
        elif dip is not None: dip += 1
    want = [s for s in found if round(shortest*fps) <= s[1] - s[0] + 1 <= round((shortest + extra)*fps)]
    assert cut(x, fps, .5, gap, shortest, shortest + extra).tolist() == want

@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(signal, spans, st.sampled_from([10., 25.])), min_size=1, max_size=4), st.sampled_from([np.inf, 1.2]))
def test_all_settings_at_once_are_the_definition_one_by_one(videos, longest):
    levels, truth, fps = zip(*videos)
    truth = [np.array([(min(a, len(x) - 1), min(a + n, len(x) - 1)) for a, n in r]).reshape(-1, 2) for x, r in zip(levels, truth)]    # may overlap or repeat
    ts, gaps, shortests = (.2, .5, .6, .95), (0., .15), (.1, .3)
    f1 = interval_f1(levels, truth, fps, ts, gaps, shortests, longest)
    for (i, gap), (j, shortest), (k, t) in product(*map(enumerate, (gaps, shortests, ts))):
        found = [cut(x, f, t, gap, shortest, longest) for x, f in zip(levels, fps)]
        hits, n = sum(len(match(p, g)) for p, g in zip(found, truth)), sum(map(len, found)) + sum(map(len, truth))
        assert f1[i, j, k] == (2*hits/n if n else 0)

def test_exact_halves_count():
    halves = interval_f1([np.repeat([0, 1, 0, 1], 4)], [[[4, 11], [12, 13], [14, 15]]], [10], [.5], [0], [0])
    assert halves.item() == 2*2/(2 + 3)                                                 # [4, 7] is half of the first, [12, 15] twice each of the others

@pytest.mark.parametrize("choose, field", [(choose_postprocessing, "cutoff"), (choose_multi_scale, "window")])
def test_the_choice_is_that_of_trying_each_setting(ph, noisy, monkeypatch, choose, field):
    grid = {field: ((.4, 3.), (.8, 1.5)), "gap": ((0., .1), (0., .5)), "shortest": ((.1, .2), (.5, .9))}
    for name in ("GRID", "MULTI_SCALE_GRID"): monkeypatch.setattr(thresholds, name, grid)
    monkeypatch.setattr(thresholds, "THRESHOLDS", ts := np.array([.3, .5, .6, .7]))
    videos, best = ph.videos.iloc[:3], {}
    rows = ph.annotations[ph.annotations.video.isin(videos.video)]
    for value, gap, shortest in product(range(2), range(2), range(2)):
        pick = lambda n, i: tuple(g[i] for g in grid[n])
        make = PostProcessing if field == "cutoff" else MultiScale
        tables = [score_intervals(predictions_of(noisy, videos, make(**{field: pick(field, value)}, gap=pick("gap", gap), shortest=pick("shortest", shortest), threshold=(t, t))), rows) for t in ts]
        for k in (0, 1):
            f1 = np.array([t.f1.iloc[k] for t in tables])
            for i, mean in enumerate([(2*f1[0] + f1[1])/3, f1[:3].mean(), f1[1:].mean(), (f1[2] + 2*f1[3])/3]): best.setdefault(k, {})[value, gap, shortest, i] = mean
    chosen = choose(noisy, rows, videos)
    for k in (0, 1):
        at = tuple(list(values).index(getattr(chosen, n)[k]) for n, values in ((field, grid[field][k]), ("gap", grid["gap"][k]), ("shortest", grid["shortest"][k]), ("threshold", ts)))
        assert best[k][at] == pytest.approx(max(best[k].values())) and best[k][at] > 0

def test_what_the_longest_duration_forbids_is_not_counted_as_found(ph):
    rows = ph.annotations[:1].assign(onset=100, offset=160, apex=pd.NA, kind="micro")   # two seconds: longer than a micro-expression may be
    scores = {v.video: np.zeros((v.n_frames, 2)) for v in ph.videos.itertuples()}
    scores[rows.video.iloc[0]][100:161] = 1
    assert choose_postprocessing(scores, rows, ph.videos) == PostProcessing() and choose_multi_scale(scores, rows, ph.videos) == MultiScale()

# ---- the rules

def test_any_object_that_spots_is_a_decoder(ph):
    class Always:
        def spotted(self, scores, fps): return np.array([[2., 5., .25]]), np.zeros((0, 3))
    found = predictions_of({v: None for v in ph.videos.video}, ph.videos, Always())
    assert found[["onset", "offset", "kind", "score"]].drop_duplicates().values.tolist() == [[2, 5, "micro", .25]] and list(found.video) == list(ph.videos.video)
    assert len(check_predictions(found, ph.videos)) == len(ph.videos)

def test_the_thesis_rule_is_its_printed_steps_and_nothing_else(ph, noisy):
    post = choose_postprocessing(noisy, ph.annotations, ph.videos, rule="thesis")
    labels, spotted = labels_of(ph.annotations, ph.videos), {v: post.spotted(s, 30.) for v, s in noisy.items()}
    for k in (0, 1):
        cutoff = np.median([psd_cutoff(s[:, k], 30.) for s in noisy.values()])
        smooth = {v: butterworth(normalise(s[:, k]), 30., cutoff).clip(0, 1) for v, s in noisy.items()}
        t = youden_threshold(np.concatenate([labels[v][:, k] for v in smooth]), np.concatenate(list(smooth.values())))
        for v, x in smooth.items():
            assert spotted[v][k][:, :2].tolist() == to_intervals(x, t).tolist()
            assert spotted[v][k][:, 2].tolist() == [x[a:b+1].max() for a, b in to_intervals(x, t)]
    assert any((s[0][:, 1] == s[0][:, 0]).any() for s in spotted.values()) and post.longest == (np.inf, np.inf)   # single frames are kept

@pytest.mark.parametrize("choose", [choose_postprocessing, choose_multi_scale, lambda s, a, v: choose_postprocessing(s, a, v, "thesis")])
def test_chosen_on_some_videos_and_used_unchanged_on_others(ph, noisy, choose):
    val, test = ph.videos.iloc[:3], ph.videos.iloc[3:]
    a = [ph.annotations[ph.annotations.video.isin(t.video)] for t in (val, test)]
    post = choose(noisy, a[0], val)
    assert post == choose({v: s if v in set(val.video) else 1 - s for v, s in noisy.items()}, a[0], val)
    together = predictions_of(noisy, test, post)
    alone = pd.concat([predictions_of(noisy, test.iloc[[i]], post) for i in range(len(test))], ignore_index=True)
    assert together.equals(alone) and score_intervals(together, a[1]).f1.iloc[-1] > .15
    assert type(post)(**post.to_dict()) == post

def test_the_kinds_are_chosen_independently_and_without_annotations_stay_as_they_were(ph, noisy):
    rng = np.random.default_rng(3)
    other = {v: np.stack([s[:, 0], rng.random(len(s))], 1) for v, s in noisy.items()}
    for choose in (choose_postprocessing, choose_multi_scale):
        assert choose(noisy, ph.annotations, ph.videos).threshold[0] == choose(other, ph.annotations, ph.videos).threshold[0]
    micro = ph.annotations[ph.annotations.kind == "micro"]
    for rule in ("f1", "youden", "thesis"):
        post = choose_postprocessing(noisy, micro, ph.videos, rule)
        assert post.threshold[1] == .5 and post.threshold[0] == choose_postprocessing(noisy, ph.annotations, ph.videos, rule).threshold[0]
