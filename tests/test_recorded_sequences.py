"Expression sequences of recordings: which frames they are made of, where the apex lies, who is left out and who is on which side."
import dataclasses, warnings
from types import SimpleNamespace
import numpy as np, pandas as pd, pytest
from hypothesis import given, settings, strategies as st
from mespot.core import MespotError
from mespot.data.phantom import phantom, stored
from mespot.data.phantom_sequences import amplitudes, apex_field, expression_sequences
from mespot.data.recorded_sequences import _places, _span, measured_field, recorded_sequences, split_people
from mespot.data.recordings import of_phantom
from mespot.train.sequence import completed

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def rec(cache):
    ph = phantom("tiny", subjects=3)
    return of_phantom(ph, stored(ph, workers=1, progress=False))


def annotated(rec, **columns): return dataclasses.replace(rec, annotations=rec.annotations.assign(**columns))


def faceless(rec, video, frame):
    "The recordings with one frame of one video without a face."
    store = rec.stores[video]
    ok = store.ok.copy(); ok[frame] = False
    return dataclasses.replace(rec, stores=rec.stores | {video: SimpleNamespace(frames=store.frames, ok=ok)})


def test_frames_are_those_of_the_video_nearest_in_time(rec):
    found = recorded_sequences(rec, kinds=("micro", "macro"), size=112, rest=0)
    assert len(found) == len(rec.annotations) and found.strength.shape == (len(found), 24) and np.isnan(found.strength).all() and found.table.peak.isna().all()
    for k, (r, a) in enumerate(zip(found.table.itertuples(), rec.annotations.itertuples())):
        assert (r.person, r.video, r.emotion, r.onset, r.offset) == (a.subject, a.video, a.emotion, 0, 23)
        times = a.onset + np.arange(24)*a.fps/r.fps                                # where the effective frame rate says that they are
        assert abs(times[-1] - a.offset) < 1e-9 and abs(times[r.apex] - a.apex) <= a.fps/r.fps*1.001
        for f, t in zip(found.frames[k], times): assert any(np.array_equal(f, rec.stores[a.video].frames[i]) for i in range(int(np.ceil(t - .5 - 1e-9)), int(t + .5 + 1e-9) + 1))


def test_rest_lies_around_and_is_at_rest(rec):
    found, bare = (recorded_sequences(rec, rest=share, size=112) for share in (.2, 0))
    macro = rec.annotations[rec.annotations.kind == "macro"]
    for k, (r, a) in enumerate(zip(found.table.itertuples(), macro.itertuples())):
        labels = np.zeros(600, bool)
        for other in rec.annotations[rec.annotations.video == a.video].itertuples(): labels[other.onset:other.offset + 1] = True
        share = int(np.ceil(.2*(a.offset - a.onset + 1)))
        before = next((i for i in range(share) if labels[a.onset - 1 - i]), share)
        assert np.array_equal(found.frames[k, 0], rec.stores[a.video].frames[a.onset - before])
        assert r.fps <= bare.table.fps[k] and (r.onset == 0) == (before == 0)


def test_no_frame_without_a_face_and_none_past_the_end(rec):
    a = rec.annotations[rec.annotations.kind == "macro"].iloc[0]
    with pytest.warns(UserWarning, match="1 of .* left out, 1 because of a frame without a face"): less = recorded_sequences(faceless(rec, a.video, a.offset))
    assert len(less) == len(recorded_sequences(rec)) - 1 and less.table.attrs["left_out"] == {"a frame without a face": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        near = recorded_sequences(faceless(rec, a.video, a.onset - 2), rest=.2, size=112)
    assert np.array_equal(near.frames[0, 0], rec.stores[a.video].frames[a.onset - 1])
    n = rec.stores[a.video].frames.shape[0]
    whole = annotated(rec, onset=0, apex=9, offset=n - 1)                          # nothing before, nothing after
    assert (recorded_sequences(whole).table.offset == 23).all()


def test_an_apex_that_is_not_annotated_is_estimated_from_movement(rec):
    known, guessed = recorded_sequences(rec), recorded_sequences(annotated(rec, apex=pd.NA))
    assert (known.table.attrs["apex_estimated"], guessed.table.attrs["apex_estimated"]) == (0, len(known))
    assert (known.table.apex - guessed.table.apex).abs().median() <= 1 and np.array_equal(known.frames, guessed.frames)


def test_emotions_and_kinds_are_chosen(rec):
    assert set(recorded_sequences(rec, kinds=("micro",)).table.emotion) == set(rec.annotations[rec.annotations.kind == "micro"].emotion)
    assert set(recorded_sequences(rec, emotions=("happiness",)).table.emotion) == {"happiness"}
    nameless = annotated(rec, emotion=rec.annotations.emotion.where(rec.annotations.emotion != "happiness"))
    assert sorted(recorded_sequences(nameless, emotions=("other",)).table.video) == sorted(recorded_sequences(rec, emotions=("happiness",)).table.video)


@settings(deadline=None, max_examples=200)
@given(st.integers(3, 300), st.integers(8, 40), st.floats(0, .5), st.integers(0, 20), st.integers(0, 2**32), st.floats(0, 1))
def test_onset_apex_and_offset_stay_in_order(n, length, rest, onset, seed, at):
    offset = onset + n - 1
    rng = np.random.default_rng(seed)
    calm = rng.random(onset + n + rng.integers(40)) < rng.choice([.5, .95, 1])
    calm[onset:offset + 1] = False
    first, last = _span(onset, offset, calm, rest)
    assert 0 <= first <= onset and offset <= last < len(calm) and calm[first:onset].all() and calm[offset + 1:last + 1].all()
    a, b, c = _places((onset, round(onset + at*(offset - onset)), offset), first, last, length)
    assert 0 <= a < b < c < length


def test_the_measured_field_stands_in_for_the_true_one(rec):
    drawn = expression_sequences(1, ("surprise",), seed=3)
    true, field = apex_field(drawn, 0), measured_field(drawn, 0)
    assert field.shape == true.shape == (112, 112, 2) and (true*field).sum()/np.sqrt((true**2).sum()*(field**2).sum()) > .5
    real = recorded_sequences(rec)
    at = real.frames[0, [0, real.table.apex[0]]]
    assert np.allclose(amplitudes(at, real.frames[0, 0], measured_field(real, 0)), [0, 1], atol=.02)


def test_completion_of_recorded_sequences_needs_the_measured_field(rec, monkeypatch):
    real = recorded_sequences(rec, emotions=("happiness", "contempt"))
    net = SimpleNamespace(config=SimpleNamespace(phase=0, label=0))
    with pytest.raises(MespotError, match="measured_field"): completed(net, real)
    monkeypatch.setattr("mespot.train.sequence.generate", lambda net, neutral, steps, **given: real.frames[:, 1:1 + steps])
    found, curves = completed(net, real, field=measured_field)
    assert (found.error == 0).all() and np.allclose([c[a] for c, a in zip(curves, real.table.apex)], 1, atol=.01) and (found.peak >= 1).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 12), st.integers(0, 4), st.integers(0, 4), st.integers(0, 99))
def test_nobody_is_on_two_sides(n, validation, test, seed):
    every = dataclasses.replace(EVERY, frames=EVERY.frames[:2*n], table=EVERY.table[:2*n], strength=EVERY.strength[:2*n])
    if validation + test >= n:
        with pytest.raises(MespotError, match=f"{n} people"): split_people(every, validation, test, seed)
        return
    parts = split_people(every, validation, test, seed)
    people = [set(p.table.person) for p in parts]
    assert [len(p) for p in people] == [n - validation - test, validation, test] and sum(map(len, parts)) == len(every) and len(set.union(*people)) == n
    for p in parts:                                                                # each keeps its frames and its strength
        assert list(p.table.index) == list(range(len(p))) and (p.frames[:, 0, 0, 0] == p.table.peak).all() and (p.strength[:, 0] == p.table.peak).all()


def test_the_seed_chooses_who_is_tested():
    who = [tuple(sorted(set(split_people(EVERY, 2, 3, seed)[2].table.person))) for seed in range(8)]
    assert len(set(who)) > 1 and who[0] == tuple(sorted(set(split_people(EVERY, 2, 3, 0)[2].table.person)))


EVERY = dataclasses.replace(expression_sequences(1, length=8, size=16), frames=np.arange(24, dtype=np.uint8)[:, None, None, None]*np.ones((1, 8, 16, 16), np.uint8),
                            table=pd.DataFrame(dict(person=[f"s{i//2:02}" for i in range(24)], peak=np.arange(24.))), strength=np.arange(24.)[:, None]*np.ones((1, 8)))


@pytest.mark.parametrize("given, says", [(dict(length=7), "at least 8 frames"), (dict(size=128), "16 to 112"), (dict(rest=.6), "rest from 0 to .5"), (dict(kinds=("large",)), "micro, macro"), (dict(kinds="macro"), "a tuple"),
                                         (dict(emotions=("boredom",)), "of boredom .* annotated are .* macro contempt")])
def test_what_is_refused(rec, given, says):
    with pytest.raises(MespotError, match=says): recorded_sequences(rec, **given)


def test_nothing_left_says_why(rec):
    none = annotated(rec, onset=5, apex=pd.NA, offset=6)
    with pytest.raises(MespotError, match=r"because of fewer than three frames; prepare"): recorded_sequences(none)
    with pytest.raises(MespotError, match="annotated are nothing"): recorded_sequences(dataclasses.replace(rec, annotations=rec.annotations[:0]))
