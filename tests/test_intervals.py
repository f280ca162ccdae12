"Intervals: properties (hypothesis), oracles (sets of frames, matching by brute force), and refusals."
from fractions import Fraction
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from mespot.core import MespotError
from mespot.measure.intervals import (KINDS, check_annotations, check_predictions, check_videos, count, durations, frame_labels, iou, k_frame,
                                      k_of_mean, match, move_to_neutral, pool, precision_recall_f1, score_intervals)

interval = st.tuples(st.integers(0, 25), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1]))
intervals = st.lists(interval, max_size=5)
thresholds = st.sampled_from([.1, .25, 3*.1, 1/3, .5, .6, 2/3, .75, 1.])
rows = st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from("xy"), interval, st.sampled_from(KINDS)), max_size=14)


def table(rows, **columns):
    df = pd.DataFrame([(s, v, *i, k) for s, v, i, k in rows], columns=["subject", "video", "onset", "offset", "kind"])
    return df.assign(fps=30., score=1., **columns)


def exact_iou(a, b):
    "Intersection over union by sets of frames, as a fraction."
    a, b = (set(range(x[0], x[1] + 1)) for x in (a, b))
    return Fraction(len(a & b), len(a | b))


def best_matching(pred, gt, threshold):
    "(number of pairs, total IoU) of the best one-to-one matching, by trying all of them."
    threshold = Fraction(threshold).limit_denominator(10_000)
    pred = [p for i, p in enumerate(pred) if pred[:i].count(p) < max(1, gt.count(p))]   # a repeated prediction matches nothing
    if len(pred) > len(gt): pred, gt = gt, pred
    best = 0, Fraction(0)
    for order in permutations(range(len(gt)), len(pred)):
        ious = [u for p, j in zip(pred, order) if (u := exact_iou(p, gt[j])) >= threshold and u > 0]
        best = max(best, (len(ious), sum(ious, Fraction(0))))
    return best


@given(intervals, intervals)
def test_iou_is_that_of_sets_of_frames(a, b):
    got = iou(a, b)
    assert got.shape == (len(a), len(b))
    assert all(got[i, j] == float(exact_iou(p, q)) for i, p in enumerate(a) for j, q in enumerate(b))
    assert np.array_equal(got, iou(b, a).T)


@settings(max_examples=300, deadline=None)
@given(intervals, intervals, thresholds)
def test_match_is_the_best_of_all_matchings(pred, gt, threshold):
    pairs = match(pred, gt, threshold)
    ious = [exact_iou(pred[i], gt[j]) for i, j in pairs]
    n, total = best_matching(pred, gt, threshold)
    assert len(pairs) == n <= min(len(pred), len(gt))
    assert all(u >= Fraction(threshold).limit_denominator(10_000) for u in ious)
    assert float(sum(ious)) == pytest.approx(float(total), abs=1e-9)
    assert all(len(set(column)) == n for column in pairs.T)          # one to one


@pytest.mark.parametrize("threshold", [.1, 3*.1, .3, 1/3, .5, .7, 1.])
def test_a_threshold_reached_exactly_is_reached(threshold):
    exact = Fraction(threshold).limit_denominator(10_000)
    for length in range(1, 121):
        for part in range(1, length + 1):
            assert len(match([(0, part - 1)], [(0, length - 1)], threshold)) == (Fraction(part, length) >= exact), (part, length)


@pytest.mark.parametrize("threshold", [0, -.5, 1.01, float("nan")])
def test_a_threshold_outside_0_to_1_is_refused(threshold):
    with pytest.raises(MespotError, match="threshold"): match([(0, 1)], [(0, 1)], threshold)


def test_disjoint_intervals_never_match_however_low_the_threshold():
    assert len(match([(0, 4)], [(5, 9)], 1e-9)) == 0


def test_long_videos_do_not_overflow():
    last = 10**9
    assert iou([(0, last)], [(0, last)]) == 1 and len(match([(0, last)], [(0, last // 2)], .5)) == 1


@settings(max_examples=60, deadline=None)
@given(rows.filter(len))
def test_a_perfect_prediction_scores_one(rows):
    df = table(rows)
    for by in (None, "subject", "video"):
        scores = score_intervals(df, df, by=by)
        found = scores[scores.TP > 0]
        assert (found[["precision", "recall", "f1"]] == 1).all(axis=None)
        assert scores[["FP", "FN"]].to_numpy().sum() == 0 and scores[scores.kind == "overall"].TP.sum() == len(df)


@settings(max_examples=60, deadline=None)
@given(rows, rows, thresholds, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(pred, gt, threshold, random):
    one = score_intervals(table(pred), table(gt), threshold, by="video")
    random.shuffle(pred), random.shuffle(gt)
    pd.testing.assert_frame_equal(one, score_intervals(table(pred), table(gt), threshold, by="video"))


@settings(max_examples=60, deadline=None)
@given(rows.filter(len), st.lists(st.sampled_from(range(8)), max_size=6), rows, thresholds)
def test_repeating_a_prediction_never_adds_a_tp(pred, again, gt, threshold):
    gt = [*dict.fromkeys(gt)]
    repeats = [pred[i % len(pred)] for i in again]
    once, more = (count(table(p), table(gt), threshold)[["TP", "FP", "FN"]].sum() for p in (pred, pred + repeats))
    assert (more - once).tolist() == [0, len(repeats), 0]


def test_a_repeated_prediction_is_no_second_find_even_where_it_fits_a_second_annotation():
    assert len(match([(0, 9)]*2, [(0, 4), (5, 9)])) == 1          # IoU exactly 1/2 with both
    assert len(match([(0, 9)]*3, [(0, 9)]*2)) == 2                # annotated twice: may be predicted twice
    assert len(match([(0, 9), (1, 9)], [(0, 8), (1, 8)])) == 2    # not a copy


@settings(max_examples=60, deadline=None)
@given(rows, rows, thresholds)
def test_counts_add_up_per_video_and_kind(pred, gt, threshold):
    counts = count(table(pred), table(gt), threshold)
    for (s, v, k), cell in counts.set_index(["subject", "video", "kind"]).iterrows():
        p, t = ([r[2] for r in side if (r[0], r[1], r[3]) == (s, v, k)] for side in (pred, gt))
        assert cell.TP == best_matching(p, t, threshold)[0]
        assert (cell.TP + cell.FP, cell.TP + cell.FN) == (len(p), len(t))
    pooled = score_intervals(table(pred), table(gt), threshold).set_index("kind")
    for kind in KINDS: assert pooled.loc[kind, ["TP", "FP", "FN"]].tolist() == counts[counts.kind == kind][["TP", "FP", "FN"]].sum().tolist()
    assert pooled.loc["overall", ["TP", "FP", "FN"]].tolist() == counts[["TP", "FP", "FN"]].sum().tolist()
    for by in ("subject", "video"):
        parts = score_intervals(table(pred), table(gt), threshold, by=by)
        assert parts[parts.kind == "overall"][["TP", "FP", "FN"]].sum().tolist() == counts[["TP", "FP", "FN"]].sum().tolist()


def test_a_video_name_used_by_two_subjects_is_two_videos():
    gt, pred = table([("A", "x", (0, 9), "micro")]), table([("B", "x", (0, 9), "micro")])
    assert score_intervals(pred, gt).iloc[2][["TP", "FP", "FN"]].tolist() == [0, 1, 1]
    assert len(score_intervals(pred, gt, by="video")) == 6


def test_kinds_are_not_mixed():
    gt, pred = table([("A", "x", (0, 9), "micro")]), table([("A", "x", (0, 9), "macro")])
    assert score_intervals(pred, gt).set_index("kind").loc["overall", ["TP", "FP", "FN"]].tolist() == [0, 1, 1]


@pytest.mark.parametrize("by", [None, "subject", "video"])
def test_empty_tables_work_everywhere(by):
    empty, some = table([]), table([("A", "x", (0, 9), "micro")])
    videos = pd.DataFrame(dict(subject=["A"], video=["x"], fps=[30.], n_frames=[40]))
    for e in (empty, pd.DataFrame()):
        nothing = score_intervals(e, e, by=by)
        assert nothing.columns.tolist() == score_intervals(some, some, by=by).columns.tolist()
        assert len(nothing) == (0 if by else 3) and not nothing.isna().any(axis=None)
        assert (score_intervals(e, some, by=by).f1 == 0).all() and (score_intervals(some, e, by=by).f1 == 0).all()
        assert score_intervals(e, some, by=by).FN.sum() == 2 and score_intervals(some, e, by=by).FP.sum() == 2
        assert frame_labels(e, 5).shape == (5, 2) and len(durations(e)) == 0 and len(count(e, e)) == 0
        assert move_to_neutral(e, videos, by=by)[["moving", "neutral"]].to_numpy().tolist() == [[0, 40]]
        assert len(check_annotations(e)) == len(check_predictions(e)) == len(check_videos(e)) == 0
    assert len(frame_labels(empty, 0)) == 0


def test_ratios_of_nothing_are_zero():
    assert [float(x) for x in precision_recall_f1(0, 0, 0)] == [0, 0, 0]
    p, r, f1 = precision_recall_f1([1, 0], [1, 0], [0, 3])
    assert (p.tolist(), r.tolist()) == ([.5, 0], [1, 0]) and f1 == pytest.approx([2/3, 0])


def test_pooled_folds_are_not_averaged():
    folds = [pd.DataFrame([("A", "x", "micro", 1, 0, 0)], columns=["subject", "video", "kind", "TP", "FP", "FN"]),
             pd.DataFrame([("B", "x", "micro", 0, 8, 1)], columns=["subject", "video", "kind", "TP", "FP", "FN"])]
    assert pool(pd.concat(folds)).f1.tolist() == pytest.approx([2/11, 0, 2/11])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(interval, st.sampled_from(KINDS)), max_size=8))
def test_frame_labels_are_sets_of_frames(rows):
    labels = frame_labels(table([("A", "x", i, k) for i, k in rows]), 40)
    assert labels.dtype == np.uint8
    for column, kind in zip(labels.T, KINDS):
        frames = set().union(*(range(i[0], i[1] + 1) for i, k in rows if k == kind))
        assert set(np.flatnonzero(column)) == frames


def test_frame_labels_refuse_what_leaves_the_video():
    df = table([("A", "x", (0, 9), "micro"), ("A", "x", (30, 40), "macro")])
    assert frame_labels(df, 41)[40].tolist() == [0, 1]
    with pytest.raises(MespotError, match="row 1.*offset 40.*39"): frame_labels(df, 40)
    with pytest.raises(MespotError, match="one video"): frame_labels(df.assign(video=["x", "y"]), 41)


good = table([("006", "x", (3, 9), "micro"), ("007", "y", (5, 8), "macro")], apex=[pd.NA, 6])

@pytest.mark.parametrize("column, value, words", [
    ("offset", 4, "offset 4 lies before onset 5"), ("onset", 5.5, "onset 5.5 is not a frame"), ("onset", -1, "onset -1"), ("onset", None, "onset"),
    ("offset", "late", "offset late"), ("offset", float("inf"), "offset inf"), ("kind", "Micro - 1/2", "neither"), ("kind", None, "neither"),
    ("apex", 20, "apex 20"), ("apex", -1, "apex -1"), ("apex", "?", "apex"), ("subject", 7, "subject 7"), ("subject", None, "subject"),
    ("video", "", "video"), ("fps", 0., "fps 0"), ("fps", None, "fps"), ("score", float("nan"), "score nan")])
def test_a_wrong_value_is_refused_and_its_row_named(column, value, words):
    df = good.astype(object)
    df.index = ["first", "second"]
    df.loc["second", column] = value
    with pytest.raises(MespotError, match="row second") as e: (check_predictions if column == "score" else check_annotations)(df)
    assert words in str(e.value) and "\n" not in str(e.value)
    assert "np." not in str(e.value) and "{" not in str(e.value.args[0].replace("{'subject': str, 'video': str}", ""))


@pytest.mark.parametrize("column", ["video", "subject", "onset", "offset", "kind"])
def test_a_missing_column_is_refused_by_name(column):
    for check in (check_annotations, check_predictions):
        with pytest.raises(MespotError, match=column): check(good.drop(columns=column))
    with pytest.raises(MespotError, match="fps"): check_annotations(good.drop(columns="fps"))
    with pytest.raises(MespotError, match="score"): check_predictions(good.drop(columns="score"))


def test_what_is_not_a_table_is_refused():
    with pytest.raises(MespotError, match="DataFrame"): count([(0, 3)], good)
    with pytest.raises(MespotError, match="by must be"): score_intervals(good, good, by="day")


def test_a_checked_table_is_a_canonical_copy():
    df = good.astype(object)
    df.insert(0, "note", ["a", "b"])
    before = df.copy()
    out = check_annotations(df)
    pd.testing.assert_frame_equal(df, before)
    pd.testing.assert_frame_equal(out, check_annotations(out))
    assert out.columns.tolist() == ["video", "subject", "onset", "apex", "offset", "kind", "aus", "emotion", "fps", "note", "score"]
    assert out.onset.dtype == out.offset.dtype == np.int64 and out.apex.dtype == pd.Int64Dtype() and out.fps.dtype == float
    assert out.aus.tolist() == ["", ""] and out.emotion.isna().all()


def test_a_table_survives_a_csv_file(tmp_path):
    check_annotations(good).to_csv(tmp_path/"a.csv", index=False)
    back = check_annotations(pd.read_csv(tmp_path/"a.csv", dtype={"subject": str, "video": str}))
    pd.testing.assert_frame_equal(back, check_annotations(good), check_dtype=True)
    with pytest.raises(MespotError, match="subject 6 "): check_annotations(pd.read_csv(tmp_path/"a.csv"))


def test_intervals_must_lie_in_a_known_video():
    videos = pd.DataFrame(dict(subject=["006", "007"], video=["x", "y"], fps=30., n_frames=[10, 9]))
    assert len(check_annotations(good, videos)) == 2
    with pytest.raises(MespotError, match="row 1.*offset 8.*last frame, 7"): check_predictions(good, videos.assign(n_frames=[10, 8]))
    with pytest.raises(MespotError, match="row 1.*does not have"): move_to_neutral(good, videos[:1])
    with pytest.raises(MespotError, match="twice"): check_videos(pd.concat([videos, videos]))
    with pytest.raises(MespotError, match="n_frames"): check_videos(videos.assign(n_frames=[10, 0]))


@given(st.integers(1, 3000))
def test_k_is_half_the_mean_length_rounded_with_halves_down(frames):
    odd = frames if frames % 2 else frames + 1
    assert k_of_mean(frames, 1) == max(1, (odd - 1) // 2) == max(1, -((1 - frames) // 2))


def test_k_frame_of_a_table_with_the_published_means():
    "100 expressions whose durations average .37 s at 200 fps, or .42 s at 30 fps, give thesis Table 5.5."
    def annotated(lengths, fps): return table([("A", "x", (0, n - 1), "micro") for n in lengths]).assign(fps=fps)
    assert k_frame(annotated([64, 84]*50, 200), "micro") == 37
    assert k_frame(annotated([12]*40 + [13]*60, 30), "micro") == 6
    mixed = pd.concat([annotated([74], 200), annotated([12], 30)])
    with pytest.raises(MespotError, match="frame rates"): k_frame(mixed, "micro")
    assert k_frame(mixed, "micro", fps=200) == k_of_mean((.37 + .4)/2, 200)
    assert k_frame(annotated([1], 30), "micro") == 1
    with pytest.raises(MespotError, match="macro"): k_frame(mixed, "macro", fps=30)


def test_move_to_neutral_counts_frames_once_and_all_videos():
    df = table([("A", "x", (0, 9), "micro"), ("A", "x", (5, 19), "macro"), ("B", "x", (0, 9), "macro")])
    videos = pd.DataFrame(dict(subject=["A", "A", "B"], video=["x", "y", "x"], fps=30., n_frames=[40, 20, 10]))
    by_subject = move_to_neutral(df, videos)
    assert by_subject.subject.tolist() == ["A", "B"]
    assert by_subject.moving.tolist() == [20, 10] and by_subject.neutral.tolist() == [40, 0]
    assert by_subject.ratio.tolist() == [.5, np.inf]
    assert move_to_neutral(df, videos, by=None).ratio.tolist() == [30/40]
    assert move_to_neutral(df, videos, by="video").ratio.tolist() == [1, 0, np.inf]
