"The phantom's copy of known loss: a correlation that is exactly what was asked for, and nothing else that changes."
import json, pickle
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st
from mespot.core import MespotError
from mespot.data.phantom import phantom, stored
from mespot.data.phantom_face import ACTION_UNITS, identity
from mespot.data.phantom_transfer import UPPER_FACE, Transferred, mixed, transferred
from mespot.data.phantom_variants import restyled
from mespot.measure.agreement import au_correlations
from mespot.measure.intervals import check_annotations, check_videos

KEEPS = {12: .74, 4: .25, 45: .92, 1: .05, 25: 1.}
r_of = lambda a, b: float(np.corrcoef(a, b)[0, 1])

@pytest.fixture(scope="module")
def ph(): return phantom("tiny", subjects=4, seconds=10., seed=3)

@pytest.fixture(scope="module")
def copy(ph): return transferred(ph, KEEPS)

# one course

@st.composite
def courses(draw):
    "Bumps of 0 to 5 on a face at rest, now and then on a level of its own: (n,) float."
    n = draw(st.integers(20, 300))
    x = np.zeros(n)
    for _ in range(draw(st.integers(1, 4))):
        at, length, height = draw(st.integers(0, n - 1)), draw(st.integers(1, max(1, n//6))), draw(st.floats(.1, 5))
        bump = height*np.hanning(length + 2)[1:-1]
        x[at:at + length] += bump[:n - at]
    return np.clip(x + draw(st.sampled_from([0, 0, .3])), 0, 5)

@settings(max_examples=150, deadline=None)
@given(courses(), st.floats(.05, 1))
def test_any_correlation_is_met_exactly(x, r):
    assume(np.ptp(x) > 1e-3)
    before = x.copy()
    y = mixed(x, r)
    assert y.shape == x.shape and np.isfinite(y).all()
    assert abs(r_of(x, y) - r) < 1e-6
    assert y.min() >= 0 and y.max() <= 5 + 1e-9 and y.std() <= x.std()*(1 + 1e-9)
    assert y.max() > 4.9999 or y.std() == pytest.approx(x.std())                           # weaker only where it would pass 5
    np.testing.assert_array_equal(x, before)

@settings(max_examples=60, deadline=None)
@given(courses(), st.floats(.05, .95), st.floats(.01, .04))
def test_less_kept_is_less_alike_and_nothing_is_left_to_chance(x, r, less):
    assume(np.ptp(x) > 1e-3)
    y = mixed(x, r)
    np.testing.assert_array_equal(y, mixed(x.copy(), r))
    assert r_of(x, mixed(x, r - less)) < r_of(x, y)

def test_it_moves_where_the_original_does_not():
    "A single smile: what is mixed in lies elsewhere, and what was there is weaker."
    x = np.r_[np.zeros(50), 3*np.hanning(30), np.zeros(120)]
    y = mixed(x, .6)
    assert y[(x == 0)].max() > 1 and y[64] < x[64]

def test_all_of_it_is_the_original():
    x = np.r_[0., 1, 5, 2, 0, 0]
    y = mixed(x, 1)
    np.testing.assert_array_equal(y, x); y[0] = 9
    assert x[0] == 0                                                                       # a copy, not the same array

@pytest.mark.parametrize("x", [np.zeros(30), np.full(30, 2.5), np.zeros(1)])
@pytest.mark.parametrize("r", [.05, .5, 1.])
def test_what_never_changes_stays(x, r): np.testing.assert_array_equal(mixed(x, r), x)

@pytest.mark.parametrize("r", [0., -.3, 1.0001, 2, np.nan, np.inf])
@pytest.mark.parametrize("x", [np.zeros(9), np.arange(9.)])
def test_a_correlation_that_there_is_not(x, r):
    with pytest.raises(MespotError, match="above 0 and up to 1"): mixed(x, r)

@pytest.mark.parametrize("x", [[0, 1], [0, 1, 0, 1], [1, 2]*20, [3, 0, 0, 3, 0, 0]*4, np.sin(np.arange(100)*np.pi/25) + 1])
def test_a_course_whose_shifts_are_itself_or_its_mirror_image(x):
    "Where every shift is the same course again, or the opposite, which only cancels, a smaller correlation is refused or met, and never something else."
    x = np.array(x, float)
    for r in (.1, .5, .9):
        try: assert abs(r_of(x, mixed(x, r)) - r) < 1e-6
        except MespotError as e: assert "no shift" in str(e)

def test_a_course_without_an_opposite():
    "Of two values only their swap is left, of a spike in three frames no shift falls below -1/2; what can be had is had."
    with pytest.raises(MespotError, match="no shift"): mixed(np.array([0., 4.]), .5)
    spike = np.array([0., 0, 3])
    assert r_of(spike, mixed(spike, .05)) == pytest.approx(.05, abs=1e-9)
    slow = 1 + np.cos(np.linspace(0, 2*np.pi, 400, endpoint=False))*.5                     # its shifts take every correlation
    assert r_of(slow, mixed(slow, .3)) == pytest.approx(.3, abs=1e-9)

# a whole phantom

def test_every_unit_keeps_what_was_asked_and_the_others_all(ph, copy):
    seen = set()
    for v in ph.videos.video:
        a, b = ph.au_table(v), copy.au_table(f"{v}s1")
        for au in ACTION_UNITS:
            x, y = a[f"AU{au:02d}_r"], b[f"AU{au:02d}_r"]
            if KEEPS.get(au, 1) == 1: assert x.equals(y), (v, au)
            elif np.ptp(x) > 0: assert abs(r_of(x, y) - KEEPS[au]) < 1e-3, (v, au); seen.add(au)
            else: assert (y == x).all(), (v, au)
        assert b[[c for c in b if c.endswith("_r")]].to_numpy().max() <= 5 and (b.AU10_r == 0).all()
        for au in KEEPS: assert ((b[f"AU{au:02d}_r"] >= .5) == (b[f"AU{au:02d}_c"] == 1)).all()
    assert {12, 4, 45} <= seen

def test_a_measurement_finds_the_loss(ph, copy):
    "The loss that the chapter will measure: by participant, without smoothing, it is what was made."
    rows = au_correlations({v: ph.au_table(v) for v in ph.videos.video}, {v: copy.au_table(f"{v}s1") for v in ph.videos.video}, ph.videos, smooth=False)
    ok = rows[rows.status == "ok"]
    kept = ok.au.str[2:].astype(int).map(KEEPS).fillna(1)
    assert len(ok) > 20 and np.abs(ok.pearson - kept).max() < 1e-3

def test_sides_move_alike_where_something_is_lost(copy):
    sc = copy.script("p001_1s1")["au"]
    for au in (4, 12, 45):
        i = 2*ACTION_UNITS.index(au)
        np.testing.assert_array_equal(sc[:, i], sc[:, i + 1])
    assert sc.dtype == np.float32 and sc.max() <= 5 and sc.min() >= 0

def test_a_script_is_made_anew_and_the_original_stays(ph, copy):
    before = ph.script("p001_1")
    first, second = copy.script("p001_1s1"), copy.script("p001_1s1")
    for k in ("au", "gaze", "gain", "shift"): np.testing.assert_array_equal(first[k], second[k])     # not mixed twice
    for k in ("gaze", "yaw", "gain", "shift", "slope"): np.testing.assert_array_equal(first[k], before[k])
    np.testing.assert_array_equal(before["au"], ph.script("p001_1")["au"])
    assert not np.array_equal(first["au"], before["au"])

def test_labels_and_people_are_the_originals(ph, copy):
    assert copy.annotations.drop(columns="video").equals(ph.annotations.drop(columns="video")) and len(copy.annotations)
    assert copy.annotations.video.tolist() == (ph.annotations.video + "s1").tolist()
    assert copy.videos.subject.equals(ph.videos.subject) and copy.videos.n_frames.equals(ph.videos.n_frames)
    assert len(check_annotations(copy.annotations, check_videos(copy.videos))) == len(ph.annotations)
    other = transferred(ph, KEEPS, style=2)
    assert other.videos.video.tolist() == (ph.videos.video + "s2").tolist()
    with pytest.raises(MespotError): copy.script("p001_1")

def test_frames_show_the_loss_on_the_other_face(ph, copy):
    "Where only what was lost differs, so do the frames; where it does not, they are the restyled phantom's, artefacts and all."
    plain, v = restyled(ph), "p001_1s1"
    at = 40
    np.testing.assert_array_equal(copy.frames(v, at, at + 12), copy.frames(v)[at:at + 12])
    changed = (plain.script(v)["au"] != copy.script(v)["au"]).any(1)
    assert 0 < changed.sum()
    same = transferred(ph, {12: 1.})
    np.testing.assert_array_equal(same.frames(v, 0, 20), plain.frames(v, 0, 20))
    most = int(np.abs(plain.script(v)["au"] - copy.script(v)["au"]).sum(1).argmax())
    a, b = (p.frames(v, most, most + 1)[0].astype(float) for p in (plain, copy))
    assert np.abs(a - b).max() > 15 and np.abs(a - b).mean() < 25                           # moved, and still the same face

# glasses

@pytest.fixture(scope="module")
def seeing():
    "A phantom with and without glasses, and the videos of those who wear them."
    ph = phantom("tiny", subjects=6, seconds=10., seed=3)
    worn = [v for v in ph.videos.video if identity(ph._seeds(v)[0])["glasses"]]
    assert 0 < len(worn) < 6
    return ph, worn

def test_only_wearers_lose_more_and_only_in_the_upper_face(seeing):
    ph, worn = seeing
    keeps = {4: .5, 12: .5, 45: .8}
    copy = transferred(ph, keeps, glasses=.6)
    for v in ph.videos.video:
        assert copy.kept(f"{v}s1") == pytest.approx({4: .3, 12: .5, 45: .48} if v in worn else keeps)
        a, b = ph.au_table(v), copy.au_table(f"{v}s1")
        for au, r in copy.kept(f"{v}s1").items():
            if np.ptp(a[f"AU{au:02d}_r"]): assert r_of(a[f"AU{au:02d}_r"], b[f"AU{au:02d}_r"]) == pytest.approx(r, abs=1e-3)
    assert copy.keeps == keeps and set(UPPER_FACE) & set(keeps) == {4, 45}

def test_it_is_the_original_who_wears_them(seeing):
    "Not the face of the copy, which is somebody else's."
    ph, worn = seeing
    for style in (1, 2, 3):
        copy = transferred(ph, {4: .5}, style=style, glasses=.5)
        assert [v.removesuffix(f"s{style}") for v in copy.videos.video if copy.kept(v)[4] == .25] == worn

def test_a_whole_upper_face_that_is_only_lost_behind_glasses(seeing):
    "r = 1 and glasses .6: everything is kept, but for wearers."
    ph, worn = seeing
    copy = transferred(ph, {45: 1.}, glasses=.6)
    for v in ph.videos.video: assert r_of(ph.au_table(v).AU45_r, copy.au_table(f"{v}s1").AU45_r) == pytest.approx(.6 if v in worn else 1, abs=1e-3)

# stores and mistakes

def test_records_tell_copies_apart(ph, copy):
    sets = [restyled(ph), copy, transferred(ph, {12: .74}), transferred(ph, {12: .5}), transferred(ph, {4: .74}), transferred(ph, {12: .74}, glasses=.5), transferred(ph, {12: .74}, style=2), transferred(ph, {12: .74}, artefacts=0.), transferred(ph, {})]
    assert len({json.dumps(s.made_by(), sort_keys=True) for s in sets}) == len(sets)
    assert copy.made_by()["keeps"]["AU04"] == .25 and copy.made_by()["glasses"] == 1

def test_stores_do_not_mix(tmp_path, monkeypatch):
    monkeypatch.setenv("MESPOT_CACHE", str(tmp_path))
    short = phantom("tiny", subjects=1, seconds=5., seed=3)
    sets = [restyled(short), transferred(short, {45: .5}), transferred(short, {45: .2})]
    stores = [next(iter(stored(s, workers=1, progress=False).values())) for s in sets]
    assert len({s.path for s in stores}) == 3
    for s, store in zip(sets, stores): np.testing.assert_array_equal(store.frames, s.frames(s.videos.video[0]))
    assert len({s.frames.tobytes() for s in stores}) == 3
    before = stores[1].path.stat().st_mtime_ns
    assert stored(transferred(short, {45: .5}), workers=1, progress=False)["p001_1s1"].path.stat().st_mtime_ns == before       # found, not drawn again

def test_it_can_be_sent_to_a_worker(copy):
    sent = pickle.loads(pickle.dumps(copy))
    assert isinstance(sent, Transferred) and sent.made_by() == copy.made_by()
    np.testing.assert_array_equal(sent.script("p002_1s1")["au"], copy.script("p002_1s1")["au"])
    np.testing.assert_array_equal(sent.frames("p002_1s1", 5, 7), copy.frames("p002_1s1", 5, 7))

def test_what_was_given_may_change_afterwards(ph):
    keeps = {12: .5}
    copy = transferred(ph, keeps); keeps[12] = .9
    assert copy.kept("p001_1s1") == {12: .5}

@pytest.mark.parametrize("how, says", [(dict(keeps={10: .5}), "no AU10"), (dict(keeps={12: .5, 99: .5}), "no AU99"), (dict(keeps={12: 0}), "AU12: 0"), (dict(keeps={4: .5, 12: 1.01}), "AU12: 1.01"), (dict(keeps={12: -.4}), "AU12: -0.4"),
                                       (dict(keeps={12: np.nan}), "AU12: nan"), (dict(keeps={12: .5}, glasses=0.), "glasses 0.0"), (dict(keeps={12: .5}, glasses=1.2), "glasses 1.2"), (dict(keeps={}, style=0), "style 0"),
                                       (dict(keeps={}, artefacts=-1.), "artefacts -1.0")])
def test_mistakes(ph, how, says):
    with pytest.raises(MespotError, match=says): transferred(ph, **how)

def test_a_copy_of_a_copy(copy):
    with pytest.raises(MespotError, match="restyled already"): transferred(copy, {12: .5})
