"The chapter's functions: splits that stay apart, tables that add up."
import numpy as np
import pytest
from mespot.core import MespotError
from mespot.data.phantom import phantom, stored
from mespot.measure.intervals import durations, score_intervals
from mespot.nets.spotter import SpotterConfig
from mespot.signal.postprocess import PostProcessing
from mespot.spotting import CAUSES, auc_table, false_positive_causes, interval_table, mean_skips, of, only, score_videos, split_table, train_spotters, typical_video
from mespot.train.folds import holdout
from mespot.train.thresholds import labels_of, predictions_of

@pytest.fixture(scope="module")
def ph(): return phantom("tiny", subjects=5, seconds=8., seed=4)

@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as m:
        m.setenv("MESPOT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield

def test_skips_are_half_the_mean_duration_of_the_rows_given(ph):
    rows = of(ph.annotations, ["p001", "p002", "p003"])
    for kind, skip in zip(("micro", "macro"), mean_skips(rows)):
        assert skip == pytest.approx(durations(rows[rows.kind == kind]).mean()/2)
    with pytest.raises(MespotError, match="micro"): mean_skips(rows[rows.kind == "macro"])

def test_a_split_holds_everyone_once(ph):
    split = holdout(ph.videos.subject.unique(), 1, 2, 0)
    table = split_table(ph, split)
    assert table.subjects.tolist() == [2, 1, 2] and table.videos.sum() == len(ph.videos)
    assert (table.micro + table.macro).sum() == len(ph.annotations)

def test_networks_trained_side_by_side_repeat_and_differ_only_by_lcn(ph, cache):
    split, stores = holdout(ph.videos.subject.unique(), 1, 1, 0), stored(ph, workers=2, progress=False)
    options = dict(config=SpotterConfig(channels=(4, 4), kernels=(5, 3), strides=(4, 2)), epochs=1, frames_per_epoch=64, seed=3)
    two = train_spotters(ph, stores, split, {"a": True, "b": False}, **options)
    one = train_spotters(ph, stores, split, {"a": True}, **options)
    for x, y in zip(two["a"][0].state_dict().values(), one["a"][0].state_dict().values()): assert (x == y).all()
    assert any((x != y).any() for x, y in zip(two["a"][0].state_dict().values(), two["b"][0].state_dict().values()))
    scores = score_videos(two["a"][0], ph, stores, split.test, (.2, 1.))
    assert list(scores) == of(ph.videos, split.test).video.tolist() and all(s.shape == (240, 2) and np.isfinite(s).all() for s in scores.values())

def test_tables_count_what_score_intervals_counts(ph):
    truth = labels_of(ph.annotations, ph.videos)
    rng, post = np.random.default_rng(0), PostProcessing()
    scores = {"noisy": {v: np.clip(.5*y + .25*rng.standard_normal(y.shape) + .25, 0, 1) for v, y in truth.items()}}
    subjects = ["p002", "p003"]
    videos = of(ph.videos, subjects)
    found = predictions_of(only(scores["noisy"], videos), videos, post)
    table = interval_table(ph, {"noisy": found}, subjects)
    expected = score_intervals(found, of(ph.annotations, subjects))
    assert table[["TP", "FP", "FN"]].to_numpy().tolist() == expected[["TP", "FP", "FN"]].to_numpy().tolist()
    assert false_positive_causes(ph, found).sum(axis=1).tolist() == expected.FP.tolist()[:2]
    assert typical_video(ph, found, subjects) in set(videos.video)
    aucs = auc_table(ph, scores, {"noisy": post}, subjects)
    assert aucs.micro_smoothed.item() > aucs.micro.item() > .7

def test_a_false_alarm_on_a_blink_is_put_down_to_the_blink():
    p = phantom("tiny", subjects=1, seconds=30., micro_per_minute=.001, macro_per_minute=.001, speech_per_minute=0, seed=1)
    shut = np.flatnonzero(p.script("p001_1")["au"][:, -1] > 0)
    found = predictions_of({"p001_1": np.zeros((900, 2))}, p.videos, PostProcessing())
    found.loc[0] = ["p001_1", "p001", shut[0], shut[0] + 6, "micro", .9, 30.]
    causes = false_positive_causes(p, found)
    assert len(p.annotations) == 0 and causes.loc["micro", "blink"] == 1 and causes.to_numpy().sum() == 1 and tuple(causes) == CAUSES
