"Intervals from windows that a small forest judges."
import json, warnings
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from mespot.core import MespotError
from mespot.measure.intervals import check_predictions, score_intervals
from mespot.train import proposals
from mespot.train.proposals import RATE, Proposals, best_apart, describe, fit_proposals, log_odds, windows
from mespot.train.thresholds import choose_postprocessing, predictions_of

FPS, SECONDS = 30, 30

def people(n, fps=FPS, seed=0, merged=True):
    "Videos, annotations and scores of `n` subjects: micro-expressions with a notch, macros seen only where they begin and end, some of them neighbours that run together."
    rng, videos, rows, scores = np.random.default_rng(seed), [], [], {}
    for i in range(n):
        t, s, video = np.arange(SECONDS*fps)/fps, np.full((SECONDS*fps, 2), .06), f"s{i}_1"
        at = 1 + rng.random()
        while at < SECONDS - 6:
            kind, near = ("micro", False) if rng.random() < .6 else ("macro", merged)
            for _ in range(2 if near else 1):
                long = rng.uniform(.3, .45) if kind == "micro" else rng.uniform(1., 2.)
                rows.append((video, f"s{i}", round(at*fps), round((at + long)*fps), kind, float(fps)))
                if kind == "micro": s[(abs(t - at - long/2) < long/2 + .05) & (abs(t - at - long/2) > .04), 0] = .7
                else: s[(abs(t - at) < .45) | (abs(t - at - long) < .45), 1] = .8
                at += long + (.5 if near else 0)
            at += 1.5 + 2*rng.random()
        videos.append((video, f"s{i}", float(fps), len(t)))
        noise = np.stack([np.interp(t, np.arange(0, SECONDS + 1, 1/30), rng.standard_normal(SECONDS*30 + 30)) for _ in (0, 1)], 1)
        scores[video] = np.clip(s + .06*noise, 0, 1)
    return (pd.DataFrame(videos, columns=["video", "subject", "fps", "n_frames"]), pd.DataFrame(rows, columns=["video", "subject", "onset", "offset", "kind", "fps"]), scores)

@pytest.fixture(scope="module")
def known(): return people(8)

@pytest.fixture(scope="module")
def others():
    videos, annotations, scores = people(4, seed=1)
    return videos, annotations, scores

@pytest.fixture(scope="module")
def decoder(known):
    videos, annotations, scores = known
    return fit_proposals(scores, annotations, videos)

def same(a, b): return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

def test_neighbours_that_run_together_are_told_apart(known, others, decoder):
    videos, annotations, scores = known
    post = choose_postprocessing(scores, annotations, videos)
    f1 = [score_intervals(predictions_of(others[2], others[0], d), others[1]).set_index("kind").f1 for d in (decoder, post)]
    assert f1[0].min() > .85
    assert f1[0].overall > f1[1].overall + .1 and f1[0].macro > f1[1].macro + .2

def test_predictions_keep_the_conventions(others, decoder):
    found = predictions_of(others[2], others[0], decoder)
    assert len(check_predictions(found, others[0])) == len(found) > 20
    assert found.score.between(0, 1).all()
    for _, one in found.groupby(["video", "kind"]): assert one.onset.is_monotonic_increasing

@pytest.mark.parametrize("times", [2, 4])
def test_a_multiple_of_the_frame_rate_gives_the_same_intervals(decoder, others, times):
    for s in others[2].values():
        for a, b in zip(decoder.spotted(s, FPS), decoder.spotted(np.repeat(s, times, 0), times*FPS)):
            assert np.array_equal(b, np.column_stack([times*a[:, 0], times*a[:, 1] + times - 1, a[:, 2]]))

@pytest.mark.parametrize("fps", [25., 200.])
def test_another_frame_rate_is_decoded_as_well(decoder, others, fps):
    videos, annotations, scores = others
    t = (np.arange(round(SECONDS*fps)) + .5)/fps
    again = {v: np.stack([np.interp(t, (np.arange(SECONDS*FPS) + .5)/FPS, c) for c in s.T], 1) for v, s in scores.items()}
    truth = annotations.assign(onset=(annotations.onset*fps/FPS).round().astype(int), offset=(annotations.offset*fps/FPS).round().astype(int), fps=fps)
    assert score_intervals(predictions_of(again, videos.assign(fps=fps, n_frames=len(t)), decoder), truth).f1.min() > .8

def test_fitted_at_one_frame_rate_used_at_another(others):
    videos, annotations, scores = people(8, fps=100, seed=2)
    found = predictions_of(others[2], others[0], fit_proposals(scores, annotations, videos))
    assert score_intervals(found, others[1]).f1.min() > .75

def test_the_same_data_give_the_same_decoder(known, decoder):
    videos, annotations, scores = known
    assert fit_proposals(scores, annotations, videos).to_dict() == decoder.to_dict()

def test_nothing_but_the_given_videos_counts(known, others, decoder):
    "Annotations and scores of other videos change nothing, even if they are in the tables."
    both = pd.concat([known[1], others[1].assign(video="x" + others[1].video, onset=0, offset=9)])
    again = fit_proposals({**known[2], "xs0_1": np.ones((900, 2))}, both, known[0])
    assert again.to_dict() == decoder.to_dict()

def test_the_threshold_comes_from_forests_that_did_not_see_the_subject(known, monkeypatch):
    videos, annotations, scores = known
    two_each, judged = videos.assign(subject=[f"s{i//2}" for i in range(8)]), []
    seen_by, subject_of = {}, {}                                   # forest -> subjects; features of windows -> subject
    real_fit, real_judge, real_describe = proposals._fit, proposals.judge, proposals.describe
    order = iter(2*list(two_each.subject))
    def describe_(*args):
        X = real_describe(*args)
        subject_of[id(X)] = next(order), X                         # kept, so that no id is used twice
        return X
    def fit_(parts, seed):
        forest = real_fit(parts, seed)
        seen_by[id(forest)] = {subject_of[id(p[1])][0] for p in parts}, forest
        return forest
    def judge_(forest, X):
        judged.append(subject_of[id(X)][0])
        assert judged[-1] not in seen_by[id(forest)][0]
        return real_judge(forest, X)
    for name, f in dict(_fit=fit_, judge=judge_, describe=describe_).items(): monkeypatch.setattr(proposals, name, f)
    fit_proposals(scores, annotations.drop(columns="subject").merge(two_each[["video", "subject"]], on="video"), two_each)
    assert sorted(judged) == sorted(2*list(two_each.subject))

def test_it_survives_being_written_down(decoder, others):
    again = Proposals.from_dict(json.loads(json.dumps(decoder.to_dict())))
    for s in others[2].values(): assert same(again.spotted(s, FPS), decoder.spotted(s, FPS))

def test_no_interval_touches_a_frame_without_a_face(decoder, others):
    for fps in (30, 200):
        s = np.repeat(next(iter(others[2].values())), fps//30, 0)
        lost = np.random.default_rng(0).random(len(s)) < .004
        lost[300:400] = True
        s[lost] = np.nan
        found = np.concatenate(decoder.spotted(s, fps)).astype(int)
        assert len(found) and not any(lost[a:b+1].any() for a, b, _ in found[:, :3])

@pytest.mark.parametrize("scores", [np.full((300, 2), np.nan), np.full((300, 2), .05), np.zeros((3, 2)), np.zeros((0, 2))])
def test_nothing_is_found_where_there_is_nothing(decoder, scores):
    assert [x.shape for x in decoder.spotted(scores, 30)] == [(0, 3), (0, 3)]

def test_scores_of_another_shape_are_refused(decoder):
    with pytest.raises(MespotError, match="shape"): decoder.spotted(np.zeros((90, 3)), 30)

def test_further_signals_may_be_added(known):
    videos, annotations, scores = known
    more = {v: np.column_stack([s, s[:, 1]]) for v, s in scores.items()}
    decoder = fit_proposals(more, annotations, videos)
    assert sum(map(len, decoder.spotted(more["s0_1"], 30)))

def test_one_subject_is_fitted_with_a_fixed_threshold_and_a_warning(known, others):
    videos, annotations, scores = known
    with pytest.warns(UserWarning, match="too few"): decoder = fit_proposals(scores, annotations[annotations.subject == "s0"], videos[:1])
    assert score_intervals(predictions_of(others[2], others[0], decoder), others[1]).f1.iloc[2] > .5

def test_a_kind_that_does_not_occur_is_not_spotted(known):
    videos, annotations, scores = known
    with pytest.warns(UserWarning, match="no micro"): decoder = fit_proposals(scores, annotations[annotations.kind == "macro"], videos)
    micro, macro = Proposals.from_dict(json.loads(json.dumps(decoder.to_dict()))).spotted(scores["s0_1"], 30)
    assert len(micro) == 0 and len(macro) > 0

def test_annotations_are_needed(known):
    with pytest.raises(MespotError, match="no annotation"): fit_proposals(known[2], known[1].iloc[:0], known[0])

def test_videos_without_a_face_or_an_expression_do_no_harm(known, others):
    videos, annotations, scores = known
    more = pd.concat([videos, pd.DataFrame([("empty", "e", 30., 900), ("calm", "c", 30., 900)], columns=videos.columns)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoder = fit_proposals({**scores, "empty": np.full((900, 2), np.nan), "calm": np.full((900, 2), .06)}, annotations, more)
    assert score_intervals(predictions_of(others[2], others[0], decoder), others[1]).f1.min() > .8

@given(n=st.integers(1, 400), fps=st.sampled_from([23.976, 25., 30., 100., 200.]), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_log_odds_keep_the_mean_and_the_missing(n, fps, seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(.1, .9, (n, 2))
    p = 1/(1 + np.exp(-log_odds(x, fps)))
    assert len(p) == int(np.ceil(round(n*RATE/fps, 6)))
    edges = np.minimum(np.arange(len(p) + 1)/RATE, n/fps)
    assert np.allclose((p*np.diff(edges)[:, None]).sum(0), x.sum(0)/fps)
    i = rng.integers(n)
    x[i] = np.nan
    touched = (edges[:-1] < (i + 1)/fps - 1e-6) & (edges[1:] > i/fps + 1e-6)
    assert np.array_equal(np.isnan(log_odds(x, fps)[:, 0]), touched)

def test_what_a_window_sees_moves_with_it():
    z = np.random.default_rng(0).standard_normal((400, 2))
    spans = np.array([[100, 112], [150, 210]])
    for k in (0, 1): assert np.allclose(describe(z, spans, k)[:, 1:], describe(np.roll(z, 37, 0), spans + 37, k)[:, 1:], atol=1e-4)

@given(st.integers(0, 999))
@settings(max_examples=40, deadline=None)
def test_best_apart_is_greedy(seed):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 60, 30)
    spans, p = np.stack([first, first + rng.integers(3, 20, 30)], 1), rng.random(30)
    clash = lambda i, j: min(spans[i, 1], spans[j, 1]) - max(spans[i, 0], spans[j, 0]) > .2*min(np.diff(spans[i]), np.diff(spans[j]))
    expected = []
    for i in sorted(range(30), key=lambda i: -p[i]):
        if p[i] >= .3 and not any(clash(i, j) for j in expected): expected.append(i)
    assert best_apart(spans, p, .3).tolist() == expected

def test_windows_hold_no_missing_value_and_something_above_quiet():
    z = np.full((200, 2), -3.)
    z[60:70], z[80], z[150] = 1, np.nan, np.nan
    spans = windows(z, [9, 15])
    assert len(spans) and all(not np.isnan(z[a:b]).any() and a < 72 and b > 58 for a, b in spans)
    assert len(windows(z, [])) == len(windows(z*np.nan, [9])) == len(windows(z, [300])) == 0
