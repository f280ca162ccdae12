"Chapter 7: a run folder of clips, the ratings beside it, and what is measured of recognisers whose errors are known."
import json
from dataclasses import replace
import numpy as np
import pandas as pd
import pytest
from mespot.core import MespotError
from mespot.data.phantom_sequences import Sequences
from mespot.fer import agreement_rows, agreement_summary, apex_table, clip_truth, in_a_row, lags_by_share, paired_table, ratings_in, read_generated, right_of, smile_table, truths, with_class
from mespot.generate import write_clip

def sequences(emotions=("happiness", "anger", "surprise"), people=3, n=40):
    "Sequences without pictures: a straight rise from 10 to 20 and a fall from 25 to 35."
    k = len(emotions)*people
    table = pd.DataFrame(dict(person=np.repeat(range(people), len(emotions)), emotion=list(emotions)*people, onset=10, apex=20, offset=34, peak=4.))
    strength = np.tile(4*np.interp(np.arange(n), (9, 20, 24, 35), (0, 1, 1, 0)), (k, 1))
    return with_class(Sequences(np.zeros((k, n, 8, 8), np.uint8), table, strength, 0, 8))

def perfect(s): return dict(classification=[np.eye(3)[np.where(abs(t) < .5, 1, 1 + np.sign(t)).astype(int)] for t in truths(s)], regression=[.5 + .5*t for t in truths(s)])

def clip(emotion, frames=None, n=12):
    frames = np.random.default_rng(0).integers(0, 256, (n, 112, 112), np.uint8) if frames is None else frames
    return dict(frames=frames, manifest=dict(expression=emotion, seconds=n/30, fps=30., onset=2, apex=5, offset=9, neutral="0123456789abcdef"))

def test_an_emotion_without_a_class_is_left_out_with_its_frames():
    s = sequences()
    s = replace(s, table=s.table.drop(columns="class").assign(emotion=["other", "anger", "surprise"]*3), frames=s.frames + np.arange(9, dtype=np.uint8)[:, None, None, None])
    kept = with_class(s)
    assert kept.frames[:, 0, 0, 0].tolist() == [1, 2, 4, 5, 7, 8] and kept.table["class"].tolist() == [0, 1]*3 and len(kept.strength) == 6

def test_without_a_true_intensity_the_marks_are_the_truth():
    s = sequences()
    recorded = replace(s, strength=np.full_like(s.strength, np.nan))
    assert all((a == b).all() for a, b in zip(truths(recorded), truths(s, marks=True)))
    assert truths(recorded)[1].tolist() == [1]*10 + [0]*25 + [1]*5 and truths(s)[1].min() == -1

@pytest.mark.parametrize("late", [-3, 0, 4])
def test_a_recogniser_that_is_late_has_that_lag(late):
    s = sequences(("happiness", "anger"))
    outputs = {name: [np.roll(o, late, axis=0) for o in outs] for name, outs in perfect(s).items()}
    rows = agreement_summary(agreement_rows(outputs, s))
    assert (rows.found == 6).all() and (rows.onset_lag == late).all() and (rows.offset_off == abs(late)).all()

def test_one_reading_is_better_by_what_it_is_nearer():
    s = sequences(("happiness", "anger"))
    outputs = perfect(s) | dict(classification=[np.roll(o, 3, axis=0) for o in perfect(s)["classification"]])
    better = paired_table(agreement_rows(outputs, s)).set_index(["other", "measure"])
    steps = better.loc["classification, steps"]
    assert steps.better[["onset", "offset"]].tolist() == [3, 3] and steps.low["onset"] == pytest.approx(3) and (steps.people == 3).all() and better.better["regression, steps", "onset"] == 0

def test_where_only_one_finds_something_there_is_no_pair():
    s = sequences(("happiness",))
    outputs = perfect(s)
    outputs["classification"][0] = np.tile([0., 1, 0], (40, 1))
    better = paired_table(agreement_rows(outputs, s)).set_index(["other", "measure"])
    assert better.sequences["classification, steps", "onset"] == 2 and better.sequences["classification, steps", "frame_accuracy"] == 3
    assert (lags_by_share(outputs, s, (.5,)).sequences == 2).all()

def test_a_person_with_two_sequences_of_an_emotion_has_two_pairs():
    s = sequences(("happiness", "happiness"))
    assert (paired_table(agreement_rows(perfect(s), s)).sequences == 6).all()

def test_a_lower_share_comes_nearer_to_the_marks_and_does_not_move_steps():
    s = sequences(("happiness", "anger"))
    lags = lags_by_share(perfect(s), s, (.1, .5)).set_index(["reading", "share"])
    assert lags.onset["regression, value", .1] < 2 < lags.onset["regression, value", .5] and lags.onset["regression, steps", .1] == lags.onset["regression, steps", .5]

def test_a_frame_without_a_face_at_the_apex_is_not_right():
    s = sequences(("happiness",))
    outputs = perfect(s)
    outputs["regression"][0][20] = np.nan
    table = apex_table(outputs, s)
    assert right_of(table)["regression"] == pytest.approx(2/3) and right_of(table)["classification"] == 1

def test_clips_come_back_as_they_were_written(tmp_path):
    still = np.repeat(np.random.default_rng(1).integers(0, 256, (1, 112, 112), np.uint8), 12, 0)
    for name, c in (("p2_joy", clip("happiness")), ("p10_anger", clip("anger", still))): write_clip(c, tmp_path/"clips"/f"{name}.gif")
    got = read_generated(tmp_path)
    assert [c["clip"] for c in got] == ["p2_joy.gif", "p10_anger.gif"] and (got[0]["frames"] == clip("happiness")["frames"]).all() and (got[1]["frames"] == still).all()
    assert got[0]["person"] == got[1]["person"] and in_a_row(got)["names"] == ["happiness", "anger"]

@pytest.mark.parametrize("harm,says", [(lambda d: (d/"a.json").write_text("{}"), "not the manifest"), (lambda d: (d/"a.gif").write_bytes(b"GIF89a"), "a.gif"),
                                       (lambda d: (d/"a.json").write_text(json.dumps(clip("anger")["manifest"] | dict(offset=12))), "offset at 12"),
                                       (lambda d: write_clip(clip("anger", np.zeros((12, 64, 64), np.uint8)), d/"a.gif"), "112 by 112")])
def test_damaged_clips_are_named(tmp_path, harm, says):
    write_clip(clip("anger"), tmp_path/"a.gif")
    harm(tmp_path)
    with pytest.raises(MespotError, match=says): read_generated(tmp_path)

def test_ratings_decide_and_ties_do_not(tmp_path):
    (tmp_path/"clips").mkdir()
    pd.DataFrame(dict(clip=["a.gif", "b.gif"], rater="anna", rating=["negative", "positive"])).to_csv(tmp_path/"ratings_anna.csv", index=False)
    pd.DataFrame(dict(clip=["a.gif", "b.gif"], rater="ben", rating=["negative", "neutral"])).to_csv(tmp_path/"clips"/"ratings_ben.csv", index=False)
    held = clip_truth([dict(clip=f"{n}.gif", emotion="happiness") for n in "abc"], ratings_in(tmp_path))
    assert held.truth.fillna(-1).tolist() == [0, -1, -1] and held.tie.tolist() == ["", "neutral/positive", ""] and held.asked.tolist() == ["positive"]*3

def test_a_smile_that_is_missed_has_no_lag():
    row = smile_table(dict(never=np.full(72, .5))).iloc[0]
    assert row.neutral_before == 1 and row.positive_during == 0 and np.isnan(row.onset_lag)
