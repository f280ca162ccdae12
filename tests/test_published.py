"""Published numbers: the file agrees with itself and with what the thesis's text says, and never shares a column with a measurement."""
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from mespot.core import MespotError
from mespot.published import contradictions, printed, published

SHAPES = {("thesis", "4.1"): (1, 9), ("thesis", "4.2"): (1, 6), ("thesis", "4.3"): (2, 18), ("thesis", "text 4.2"): (2, 7), ("thesis", "4.4"): (17, 2), ("thesis", "4.5"): (32, 4), ("thesis", "5.1"): (4, 5), ("thesis", "5.2"): (5, 3), ("thesis", "5.5"): (3, 12), ("thesis", "5.6"): (1, 8), ("thesis", "5.7"): (3, 6), ("thesis", "5.8"): (4, 6),
          ("thesis", "5.9"): (8, 6), ("thesis", "5.10"): (7, 3), ("thesis", "5.11"): (4, 6), ("thesis", "5.12"): (1, 7), ("thesis", "B"): (1, 2),
          ("thesis", "7.1"): (2, 3), ("thesis", "7.2"): (2, 3), ("thesis", "text 7"): (2, 2),
          ("paper", "5"): (3, 6), ("paper", "6"): (4, 6), ("paper", "7"): (6, 6)}      # rows, columns with a number


def test_every_table_is_there_and_whole():
    numbers = printed()
    assert list(numbers.columns) == ["source", "table", "row", "data_set", "kind", "metric", "value", "spread", "note"]
    assert {k: published(k[1], k[0]).shape for k in SHAPES} == SHAPES and set(zip(numbers.source, numbers.table)) == set(SHAPES)
    holes = {k: int(published(k[1], k[0]).isna().sum().sum()) for k in SHAPES}
    assert {k: n for k, n in holes.items() if n} == {("thesis", "text 4.2"): 7, ("thesis", "4.4"): 5, ("thesis", "5.5"): 20, ("thesis", "5.7"): 4, ("thesis", "5.11"): 14, ("thesis", "text 7"): 2, ("paper", "5"): 4}
    assert not numbers.duplicated(["source", "table", "row", "data_set", "kind", "metric"]).any() and numbers.value.notna().all()


def test_values_are_in_their_ranges():
    numbers = printed()
    assert set(numbers.kind) == {"micro", "macro", "overall", "movement", "combined", "negative", "positive"}
    scores = numbers[numbers.metric.isin(["f1", "precision", "recall", "accuracy", "move_to_neutral", "frame_f1", "frame_precision", "frame_recall", "auc", "loss", "pearson", "spearman", "pearson_p", "spearman_p", "benchmark"])]
    counts = numbers[numbers.metric.isin(["TP", "FP", "FN", "matched", "annotated", "samples", "videos"])]
    assert len(scores) + len(counts) + numbers.metric.str.startswith("skip").sum() == len(numbers) and scores.value.between(0, 1).all()
    assert (counts.value % 1 == 0).all() and (counts.value > 0).all()
    assert (scores.value*1e4 % 1).round(6).isin([0, 1]).all()                          # printed to four decimals
    assert scores[(scores.metric == "f1") & ~scores.table.str.startswith("4.")].value.max() == .2222      # MEGC 2022; whatever is higher is a slip of the hand


@pytest.mark.parametrize("table, prefix", [("5.1", "frame_"), ("5.2", "")])
def test_a_mean_f1_does_not_exceed_that_of_mean_precision_and_recall(table, prefix):
    p, r, f1 = (published(table)[f"movement {prefix}{m}"] for m in ("precision", "recall", "f1"))
    bound = 2*p*r/(p + r)
    assert (f1 <= bound + 1e-4).all() and (f1 >= .9*bound).all()
    assert [n for n in f1.index if abs(f1[n] - bound[n]) < 1e-4] == ["Pan et al."]*(table == "5.2")      # one that is not a mean over folds


def test_one_published_triple_cannot_be_right():
    assert contradictions()[["source", "table", "row", "data_set"]].to_numpy().tolist() == [["paper", "7", "No Batch Norm", "SAMM-LV"]]


@given(*[st.integers(1, 300)]*6)
def test_no_triple_of_pooled_counts_is_called_impossible(tp1, fp1, fn1, tp2, fp2, fn2):
    f1 = lambda tp, fp, fn: round(2*tp/(2*tp + fp + fn), 4)
    found = dict(micro=f1(tp1, fp1, fn1), macro=f1(tp2, fp2, fn2), overall=f1(tp1 + tp2, fp1 + fp2, fn1 + fn2))
    triple = pd.DataFrame([dict(source="s", table="t", row="r", data_set="d", kind=k, metric="f1", value=v) for k, v in found.items()])
    assert contradictions(triple).empty
    outside = triple.assign(value=triple.value.where(triple.kind != "overall", max(found["micro"], found["macro"]) + .0003))
    assert len(contradictions(outside)) == 1


def test_numbers_that_are_printed_twice_are_the_same_twice():
    same = [(("5.7", "Ours, k-th frame skip"), ("5.9", "Proposed")), (("5.7", "Ours, manual frame skip"), ("5.9", "Manual Frame Skip")),
            (("5.9", "Proposed", "SAMM-LV"), ("5.10", "Proposed", "SAMM-LV")), (("5.10", "Proposed", "SAMM-LV"), ("5.11", "Ours (results from Chapter 5)", "SAMM-LV"))]
    for a, b in same: assert (published(a[0], data_set=(*a, None)[2]).loc[a[1]] == published(b[0], data_set=(*b, None)[2]).loc[b[1]]).all(), (a, b)
    paper5, paper7, thesis = published("5", "paper"), published("7", "paper"), published("5.9")
    assert (paper5.iloc[1:].to_numpy() == paper7.iloc[:2].to_numpy()).all()
    for who in ("He et al.", "Zhang et al."): assert (published("5.8").loc[who] == published("6", "paper").loc[who]).all()
    casme = [c for c in thesis if c.startswith("CAS")]               # the thesis trains CAS(ME)² without weights: its proposed network is the paper's unweighted one
    assert (thesis.loc["Proposed", casme] == paper7.loc["No Weighted Loss", casme]).all()


def test_what_the_text_of_the_thesis_quotes():
    assert published("5.7").loc["Ours, manual frame skip", "SAMM-LV: overall f1"] == .105 and published("5.8").loc["Ours, manual frame skip", "CAS(ME)²: overall f1"] == .1675
    assert published("5.12").filter(like="overall").loc["Ours"].tolist() == [.1176, .1739, .1351]
    assert published("B").loc["End-to-end, composite training"].tolist() == [.0952, .0816]
    best = published("5.10")["overall f1"]
    assert best.idxmax() == "Proposed"                               # "the setting of W as 3 achieves the best performance"


def test_table_5_10_carries_its_weights():
    notes = printed("5.10").drop_duplicates("row").set_index("row").note
    weights = [tuple(map(float, re.fullmatch(r"W = ([\d.]+), M_ME = ([\d.]+), M_MaE = ([\d.]+)", n).groups())) for n in notes]
    assert weights == [(3, .9, .1), (1, 1, 1), (3, 1, 1), (1, .9, .1), (6, .9, .1), (10, .9, .1), (.5, .9, .1)]


def test_skips_lie_in_the_ranges_they_were_trained_with():
    skips = published("5.5")
    for where in ("SAMM-LV: micro", "SAMM-LV: macro", "CAS(ME)²: micro", "CAS(ME)²: macro"):
        low, high = skips.loc["Random frame skip", [f"{where} skip_min", f"{where} skip_max"]]
        assert low < high and low <= skips.loc["k-th frame skip", f"{where} skip"] <= high, where
    assert skips.loc["Manual frame skip", ["SAMM-LV: micro skip", "SAMM-LV: macro skip"]].tolist() == [30, 310]


def test_table_5_1_is_not_table_5_10():
    assert list(published("5.1")) == [f"movement {m}" for m in ("loss", "frame_precision", "frame_recall", "frame_f1", "auc")] and list(published("5.10")) == [f"{k} f1" for k in ("micro", "macro", "overall")]


@pytest.mark.parametrize("ask, says", [(dict(table="5.13"), r"no published table '5.13'; there are: 4.1, 4.2, 4.3, text 4.2, 4.4, 4.5, 5.1, 5.2, 5.5,.* 5.10, 5.11, 5.12, B, 7.1, 7.2, text 7$"), (dict(table="7"), "no published table '7'"),
                                       (dict(table="5.9", source="book"), "no published source 'book'; there are: thesis, paper"),
                                       (dict(table="5.10", data_set="CAS(ME)²"), r"no published data set 'CAS\(ME\)²'; there are: SAMM-LV")])
def test_what_is_not_there_is_an_error_that_lists_what_is(ask, says):
    with pytest.raises(MespotError, match=says): published(**ask)


def test_the_means_of_the_participants_are_those_printed():
    "The last rows of Table 4.5 belong to its thirty: means of r by Fisher's z (plain ones would be .379 and .263), and spreads of z; of p plain ones."
    table = published("4.5").rename(columns=lambda c: c.removeprefix("overall "))
    r, p = table[["pearson", "spearman"]], table[["pearson_p", "spearman_p"]]
    z = np.arctanh(r.iloc[:30])
    assert np.tanh(z.mean()).round(2).equals(r.loc["Mean"]) and (z.std() - r.loc["Std. Dev."]).abs().max() < .01
    assert (p.iloc[:30].mean() - p.loc["Mean"]).abs().max() < .001 and (p.iloc[:30].std() - p.loc["Std. Dev."]).abs().max() < .001


@pytest.mark.parametrize("table, negative", [("7.1", 10), ("7.2", 13)])
def test_overall_accuracies_of_chapter_7_follow_from_those_of_the_classes(table, negative):
    "Whole numbers of the 13 negative and 7 positive videos (10 and 10) give what is printed, to two decimals."
    for _, row in published(table).iterrows():
        right = [round(row[f"{kind} accuracy"]*n) for kind, n in (("negative", negative), ("positive", 20 - negative))]
        again = right[0]/negative, right[1]/(20 - negative), sum(right)/20
        assert np.abs(np.array(again) - row[["negative accuracy", "positive accuracy", "overall accuracy"]].to_numpy()).max() <= .005


def test_the_text_of_chapter_7_contradicts_its_tables_and_both_are_kept():
    real, generated, said = published("7.1")["overall accuracy"], published("7.2"), printed("text 7").set_index("data_set").value
    assert said["MUG and MMI"] == .8 and real.tolist() == [.85, .8]                          # "0.80" for both
    assert said["generated"] == .5 and generated["overall accuracy"].tolist() == [.5, .55]
    a, b = generated.to_numpy()
    assert (a == b).tolist() == [True, False, False]                                         # "identical", says the caption
    notes = printed().query("source == 'thesis' and table in ('7.1', '7.2')").note
    assert notes.str.contains("the text says").sum() == 1 and notes.str.contains("the caption says").sum() == 2
