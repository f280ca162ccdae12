"Scores to predictions, and settings chosen without a look at the test subjects."
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from mespot.core import MespotError
from mespot.data.phantom import phantom
from mespot.measure.intervals import check_predictions, score_intervals
from mespot.signal.postprocess import PostProcessing, find_intervals, smooth_scores
from mespot.train.thresholds import choose_postprocessing, frame_auc, labels_of, pooled_auc, predictions_of

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
