"Ratings of several people: kappa against scikit-learn, by counting pairs and by published examples; the table of ratings, its majority, and the agreement of raters."
import warnings
from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.metrics import cohen_kappa_score

from mespot.core import MespotError
from mespot.measure.raters import COLUMNS, RATINGS, check_ratings, cohen_kappa, fleiss_kappa, kappa_interval, majority, rater_table

labels = st.sampled_from(RATINGS)


def table(*rows, columns=("clip", "rater", "rating", "onset", "offset")): return pd.DataFrame(rows, columns=list(columns))


# ---- kappa

@settings(deadline=None)
@given(st.lists(st.tuples(labels, labels), min_size=1, max_size=40))
def test_cohen_is_scikit_learns(pairs):
    a, b = zip(*pairs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = cohen_kappa_score(a, b)
    if len({*a, *b}) == 1: assert np.isnan(cohen_kappa(a, b))
    else: assert cohen_kappa(a, b) == pytest.approx(theirs, abs=1e-12)


@given(st.integers(2, 5).flatmap(lambda raters: st.lists(st.lists(st.integers(0, 2), min_size=raters, max_size=raters), min_size=1, max_size=15)))
def test_fleiss_is_what_counting_pairs_gives(clips):
    counts = [[said.count(c) for c in range(3)] for said in clips]
    pairs = [(x, y) for said in clips for x, y in combinations(said, 2)]
    every = [x for said in clips for x in said]
    chance = sum((n/len(every))**2 for n in Counter(every).values())
    if len({*every}) == 1: assert np.isnan(fleiss_kappa(counts))
    else: assert fleiss_kappa(counts) == pytest.approx((sum(x == y for x, y in pairs)/len(pairs) - chance)/(1 - chance), abs=1e-12)


def test_fleiss_of_14_raters_and_10_subjects():
    "A worked example that goes round in textbooks: kappa .210."
    counts = [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1], [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
    assert fleiss_kappa(counts) == pytest.approx(.210, abs=5e-4)


def test_stacks_give_what_single_samples_give():
    rng = np.random.default_rng(0)
    a, b = rng.choice(RATINGS, (2, 7, 12))
    counts = rng.multinomial(4, [.2, .3, .5], (7, 12))
    assert cohen_kappa(a, b) == pytest.approx([cohen_kappa(x, y) for x, y in zip(a, b)])
    assert fleiss_kappa(counts) == pytest.approx([fleiss_kappa(c) for c in counts])


@pytest.mark.parametrize("call, says", [
    (lambda: cohen_kappa([], []), "at least one"), (lambda: cohen_kappa(["neutral"], ["neutral", "positive"]), "same clips"), (lambda: cohen_kappa([1, None], [1, 1]), "a class is missing"),
    (lambda: fleiss_kappa([[1, 0, 0]]), "at least two"), (lambda: fleiss_kappa([[2, 0], [2, 1]]), "from 2 to 3"), (lambda: fleiss_kappa([3, 4]), "clips by classes"), (lambda: fleiss_kappa([[3, -1]]), "ratings")])
def test_kappa_refuses(call, says):
    with pytest.raises(MespotError, match=says): call()


@pytest.mark.parametrize("kappa", [cohen_kappa, fleiss_kappa])
def test_the_interval_covers_the_kappa_of_endless_clips(kappa):
    "Two raters who see the truth with probability .8 and else guess, on evenly spread truths: kappa is .64 for both."
    covered, widths = 0, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = rng.integers(3, size=120)
        a, b = (np.where(rng.random(120) < .8, truth, rng.integers(3, size=120)) for _ in range(2))
        data = (a, b) if kappa is cohen_kappa else (np.eye(3)[a] + np.eye(3)[b],)
        low, high = kappa_interval(kappa, *data, n=300)
        covered += low <= .64 <= high
        widths.append(high - low)
    assert 50 <= covered and .15 < np.mean(widths) < .35


def test_the_interval_is_reproducible_and_not_defined_without_kappa():
    a, b = np.random.default_rng(1).choice(RATINGS, (2, 20))
    assert kappa_interval(cohen_kappa, a, b) == kappa_interval(cohen_kappa, a, b) != kappa_interval(cohen_kappa, a, b, seed=1)
    for none in ((["neutral"]*4,)*2, (["neutral"], ["positive"])): assert np.isnan(kappa_interval(cohen_kappa, *none)).all()


# ---- the table

def test_a_table_is_made_canonical_and_left_as_it_was():
    given_ = pd.DataFrame(dict(rater="a", notes=[None, "blinks"], clip=["x", "y"], rating="neutral", onset=["3", ""], offset=["", None], fps=30), index=[4, 9])
    before, got = given_.copy(), check_ratings(given_)
    pd.testing.assert_frame_equal(given_, before)
    assert list(got.columns) == [*COLUMNS, "fps"] and list(got.index) == [4, 9]
    assert got.onset.tolist()[0] == 3 and got.onset.isna().tolist() == [False, True] and got.offset.isna().all() and got.onset.dtype == got.offset.dtype == "Int64"
    assert got.notes.tolist() == ["", "blinks"] and got.time.tolist() == ["", ""]
    pd.testing.assert_frame_equal(check_ratings(got), got)
    assert list(check_ratings(pd.DataFrame()).columns) == COLUMNS


@pytest.mark.parametrize("change, says", [
    (dict(rating="happy"), r"ratings row 1: rating 'happy' of clip y is none of"), (dict(rating=None), "row 1: rating"), (dict(clip=""), "row 1: clip"), (dict(rater=6), "row 1: rater 6 is a number"),
    (dict(onset="3.5"), "onset 3.5 of clip y is not a frame"), (dict(offset=-1), "offset -1"), (dict(onset="soon"), "onset soon"), (dict(onset=9, offset=8), "offset 8 of clip y lies before onset 9"),
    (dict(clip="x"), "row 1: rater a has rated clip x before")])
def test_a_wrong_row_is_named(change, says):
    rows = [dict(clip="x", rater="a", rating="neutral", onset=1, offset=4), dict(clip="y", rater="a", rating="positive", onset=2, offset=5) | change]
    with pytest.raises(MespotError, match=says): check_ratings(pd.DataFrame(rows))


def test_a_missing_column_is_named():
    with pytest.raises(MespotError, match="column rating is missing"): check_ratings(pd.DataFrame(dict(clip=["x"], rater=["a"])))


# ---- majority

@settings(deadline=None, max_examples=25)
@given(st.dictionaries(st.sampled_from("pqrs"), st.lists(labels, min_size=1, max_size=6), min_size=1))
def test_the_majority_is_that_of_a_count_and_ties_are_named(said):
    got = majority(table(*((clip, f"r{i}", r, None, None) for clip, rs in said.items() for i, r in enumerate(rs)))).set_index("clip")
    assert list(got.index) == sorted(said)
    for clip, rs in said.items():
        votes, row = Counter(rs), got.loc[clip]
        best = [r for r in RATINGS if votes[r] == max(votes.values())]
        assert [row[r] for r in RATINGS] == [votes[r] for r in RATINGS] and row.raters == len(rs) and row.share == pytest.approx(max(votes.values())/len(rs))
        assert (row.rating, row.tie) == (best[0], "") if len(best) == 1 else pd.isna(row.rating) and row.tie == "/".join(best)


def test_marks_of_the_majority():
    got = majority(table(("x", "a", "positive", 4, 20), ("x", "b", "positive", 7, None), ("x", "c", "negative", 90, 99),       # c is outvoted
                         ("y", "a", "neutral", None, None), ("y", "b", "neutral", None, None),                                # nobody marked
                         ("z", "a", "neutral", 30, None), ("z", "b", "neutral", None, 10),                                    # each a part, and they contradict
                         ("t", "a", "neutral", 2, 8), ("t", "b", "positive", 4, 10))).set_index("clip")
    assert (got.onset["x"], got.offset["x"]) == (6, 20) and got.loc[["y", "z"], ["onset", "offset"]].isna().all(axis=None) and (got.onset["t"], got.offset["t"]) == (3, 9)
    assert got.onset.dtype == got.offset.dtype == "Int64"


# ---- agreement

def test_agreement_by_pair_and_of_all():
    rows = [(c, r, s, *m) for c, said in dict(p=("positive", "positive", "neutral"), q=("negative", "negative", "negative"), r=("neutral", "positive", "neutral")).items()
            for r, s, m in zip("abc", said, ((2, 11), (4, 11), (None, 12)))] + [("only-a", "a", "neutral", 0, 1)]
    got = rater_table(table(*rows[::-1]), n=50).set_index("raters")
    assert list(got.index) == ["a, b", "a, c", "b, c", "all 3"] and got.clips.tolist() == [3]*4
    assert got.share.tolist() == pytest.approx([2/3, 2/3, 1/3, 5/9])
    assert got.kappa["a, b"] == pytest.approx(cohen_kappa(["positive", "negative", "neutral"], ["positive", "negative", "positive"]))
    assert got.kappa["all 3"] == pytest.approx(fleiss_kappa([[0, 1, 2], [3, 0, 0], [0, 2, 1]]))
    assert got.onset_apart["a, b"] == 2 and np.isnan(got.onset_apart["a, c"]) and got.offset_apart.tolist() == pytest.approx([0, 1, 1, 2/3])
    assert got.iou["a, b"] == pytest.approx(8/10) and got.intervals.tolist() == [3, 0, 0, 3] and np.isnan(got.iou["b, c"])


def test_raters_without_a_clip_in_common_have_no_agreement():
    got = rater_table(table(("x", "a", "neutral", 1, 2), ("y", "b", "neutral", 1, 2), ("y", "c", "neutral", 1, 2)))
    assert got.clips.tolist() == [0, 0, 1, 0] and got[["kappa", "low", "high"]].isna().all(axis=None) and got.share.tolist()[2:] == [1, 1]
    with pytest.raises(MespotError, match="these ratings are of nobody"): rater_table(pd.DataFrame())
