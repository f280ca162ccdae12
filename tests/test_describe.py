"""What a data set is like: durations, skips, ratios and folds against counts made by hand."""
import matplotlib
matplotlib.use("Agg")
import numpy as np
import pandas as pd
import pytest

from mespot.core import MespotError
from mespot.data.phantom import phantom
from mespot.describe import PUBLISHED, duration_table, loso_table, plot_loso, plot_move_to_neutral
from mespot.measure.intervals import k_of_mean


def annotated(fps, **frames):
    "Expressions of each kind that last the given numbers of frames."
    return pd.DataFrame([dict(video="v", subject="s", onset=3, offset=3 + n - 1, kind=kind, fps=fps) for kind, ns in frames.items() for n in ns])


@pytest.mark.parametrize("name, fps", [("samm-lv", 200), ("cas-me2", 30)])
def test_the_published_means_give_the_published_skips(name, fps):
    for row in PUBLISHED[name].itertuples(): assert k_of_mean(row.mean, fps) == row.k


def test_known_durations_give_exact_numbers():
    table = duration_table(annotated(200., micro=[40, 74, 108], macro=[200, 668])).set_index("kind")
    assert table.loc["micro", ["count", "min", "mean", "max", "k"]].tolist() == pytest.approx([3, .2, .37, .54, 37])
    assert table.loc["macro", ["count", "min", "mean", "max", "k"]].tolist() == pytest.approx([2, 1., 2.17, 3.34, 217])


def test_a_phantom_with_known_durations():
    ph = phantom("tiny", fps=200.)
    n = (ph.annotations.offset - ph.annotations.onset + 1)/200
    table = duration_table(ph.annotations).set_index("kind")
    for kind in ("micro", "macro"):
        mine = n[ph.annotations.kind == kind]
        assert table.loc[kind, ["count", "min", "mean", "max"]].tolist() == pytest.approx([len(mine), mine.min(), mine.mean(), mine.max()])
        assert abs(table.k[kind] - mine.mean()*200/2) <= .5


def test_a_kind_that_is_absent_has_no_skip():
    table = duration_table(annotated(30., macro=[60])).set_index("kind")
    assert table.loc["micro", "count"] == 0 and pd.isna(table.k["micro"]) and np.isnan(table.loc["micro", "mean"])
    with pytest.raises(MespotError, match="at which fps"): duration_table(pd.concat([annotated(30., macro=[60]), annotated(200., macro=[400])]))


@pytest.mark.parametrize("subjects", [4, 5])
def test_every_frame_is_in_one_part_and_every_subject_is_tested_once(subjects):
    ph = phantom("tiny", subjects=subjects)
    table, total = loso_table(ph.annotations, ph.videos), ph.videos.n_frames.sum()
    assert sorted(table.test) == sorted(ph.videos.subject.unique()) and (table.test != table.val).all()
    assert (table[["train frames", "val frames", "test frames"]].sum(axis=1) == total).all()
    for kind in ("micro", "macro"):
        assert table[f"test {kind}"].sum() == (ph.annotations.kind == kind).sum()
        assert table[f"test {kind}"].tolist() == [((ph.annotations.subject == s) & (ph.annotations.kind == kind)).sum() for s in table.test]


def test_two_subjects_cannot_be_held_out_of_two():
    ph = phantom("tiny", subjects=2)
    with pytest.raises(MespotError, match="at least 3 subjects"): loso_table(ph.annotations, ph.videos)


def test_the_figures_show_every_subject():
    ph = phantom("tiny")
    for figure in (plot_move_to_neutral(ph.annotations, ph.videos), plot_loso(loso_table(ph.annotations, ph.videos))):
        assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == sorted(ph.videos.subject)
    bars = plot_loso(loso_table(ph.annotations, ph.videos)).axes[0].patches
    assert sum(b.get_height() for b in bars) == pytest.approx(100*6)
    still = ph.videos.assign(n_frames=ph.annotations.offset.max() + 1)
    moving = pd.DataFrame([dict(video=v.video, subject=v.subject, onset=0, offset=v.n_frames - 1, kind="macro", fps=30.) for v in still.itertuples()])
    assert plot_move_to_neutral(moving, still).axes[0].texts[0].get_text() == "∞"
