"The phantom's counterparts of SAMM-SYNTH, of the uncropped picture and of composite sets: same events, other pictures."
import hashlib, subprocess, sys
import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mespot.core import MespotError
from mespot.data.phantom import phantom, render_view, stored
from mespot.data.phantom_face import LUMA, VIEW
from mespot.data.phantom_variants import camera_stored, grey_frames, joined, joined_stores, restyled, with_artefacts
from mespot.measure.intervals import check_annotations, check_videos

@pytest.fixture(scope="module")
def ph(): return phantom("tiny", subjects=2, seconds=5., seed=5, micro_per_minute=30.)

@pytest.fixture(scope="module")
def still():
    "Nothing happens: no expression, no drift, steady light, no noise; but for blinks and glances."
    return phantom("tiny", subjects=2, seconds=12., micro_per_minute=1e-6, macro_per_minute=1e-6, speech_per_minute=0., drift=0., jitter=0., illumination=0., noise=0.)

@pytest.fixture(scope="module")
def trace(still):
    "What artefacts of strength 1 add to the frames of a still face, (n, 112, 112)."
    plain, painted = (restyled(still, artefacts=a).frames("p001_1s1").astype(np.float32) for a in (0, 1))
    return painted - plain

rms = lambda a: float(np.sqrt(np.mean(np.square(a))))
alike = lambda a, b: np.corrcoef(a.ravel(), b.ravel())[0, 1]

def test_the_same_events_under_other_names(ph):
    other = restyled(ph, style=2)
    assert list(other.videos.video) == ["p001_1s2", "p002_1s2"] and list(other.videos.subject) == ["p001", "p002"]
    assert set(other.annotations.video) <= set(other.videos.video) and len(other.annotations)
    assert other.annotations.drop(columns="video").equals(ph.annotations.drop(columns="video"))
    assert other.au_table("p002_1s2").equals(ph.au_table("p002_1"))
    with pytest.raises(MespotError): other.frames("p002_1")

def test_other_faces(ph):
    "People of a style differ from their originals and from another style as strangers do, not as one person in two frames does."
    sets = ((ph, 0), (ph, 1), (restyled(ph, artefacts=0.), 0), (restyled(ph, style=2, artefacts=0.), 0))
    faces = [p.frames(p.videos.video[s], 0, 1)[0] for p, s in sets]
    same = alike(faces[0], ph.frames("p001_1", 20, 21)[0])
    assert all(alike(a, b) < .97 < same for k, a in enumerate(faces) for b in faces[:k])

def test_without_artefacts_it_is_the_plain_drawing(ph):
    plain = restyled(ph, artefacts=0.)
    face, _ = plain._seeds("p002_1s1")
    quiet = restyled(phantom("tiny", subjects=2, seconds=5., seed=5, micro_per_minute=30., noise=0.), artefacts=0.)
    np.testing.assert_array_equal(quiet.frames("p002_1s1", 10, 20), render_view(face, (0,), quiet.script("p002_1s1"), 10, 20))
    assert rms(plain.frames("p002_1s1", 10, 20).astype(float) - quiet.frames("p002_1s1", 10, 20)) < 4

def test_artefacts_are_faint_between_neighbours_and_plain_far_apart(trace):
    gaps = (1, 6, 33)
    apart = [np.median([rms(d) for d in (trace[g:] - trace[:-g])[::5]]) for g in gaps]
    assert apart[0] < .35*apart[1] < .35*.8*apart[2] and 1.5 < rms(trace) < 12

def test_artefacts_do_not_follow_anything_that_repeats(trace, still):
    other = restyled(still, style=2).frames("p001_1s2").astype(np.float32) - restyled(still, style=2, artefacts=0.).frames("p001_1s2")
    assert abs(alike(trace[::9], other[::9])) < .2

def test_a_patch_pops_now_and_then(trace):
    "The largest change between two neighbours is far above the usual one, in a small part of the picture."
    steps = np.abs(np.diff(trace, axis=0)).reshape(-1, 8, 14, 8, 14).mean((2, 4))                 # (n - 1, 8, 8) blocks
    peaks = steps.max((1, 2))
    assert 1 <= (peaks > 3*np.median(peaks)).sum() < 20
    assert np.median(steps[peaks.argmax()]) < .25*peaks.max()

FLAT = np.full((1, VIEW, VIEW), 128, np.uint8)

def test_pops_pass():
    "On a flat grey picture a pop is a patch that changes its shade from one frame to the next, and changes back at the same place within 0.8 s."
    n, fps = 1800, 30.
    steps = np.diff(with_artefacts(np.repeat(FLAT, n, 0), (1, 2), n, fps).astype(np.float32), axis=0)
    steps = np.stack([cv2.GaussianBlur(s, (0, 0), 6) for s in steps]).reshape(n - 1, -1)
    at = np.flatnonzero(np.abs(steps).max(1) > 5)
    place = np.abs(steps[at]).argmax(1)
    up = steps[at, place] > 0
    xy = np.stack([place % VIEW, place//VIEW], 1)
    partner = (up[:, None] != up) & (np.hypot(*np.moveaxis(xy[:, None] - xy, -1, 0)) < 8) & (np.abs(at[:, None] - at) <= .8*fps + 1)
    assert 4 <= len(at) <= 32 and len(at) == 2*up.sum() and partner.any(1).all()

def test_artefacts_keep_their_pace_at_any_frame_rate():
    "Frames a tenth of a second apart differ as much at 30 frames a second as at 200."
    def change(fps):
        at = lambda seconds: with_artefacts(FLAT, (3, 4), int(60*fps), fps, start=int(seconds*fps))[0].astype(float)
        return np.median([rms(at(t) - at(t + .1)) for t in range(58)])
    assert .75 < change(200.)/change(30.) < 1.33

def test_strength_scales_them(still):
    plain = restyled(still, artefacts=0.).frames("p001_1s1", 40, 70).astype(float)
    size = [rms(restyled(still, artefacts=a).frames("p001_1s1", 40, 70) - plain) for a in (.5, 1., 2.)]
    assert 1.5 < size[1]/size[0] < 2.6 and 1.5 < size[2]/size[1] < 2.6

@settings(max_examples=12, deadline=None)
@given(st.integers(0, 149), st.integers(1, 40))
def test_any_range_gives_the_same_frames(wholes, first, n):
    for whole, part in wholes: np.testing.assert_array_equal(part(first, first + n), whole[first:first + n])

@pytest.fixture(scope="module")
def wholes(ph):
    other, camera = restyled(ph), ph.camera("p002_1", size=(160, 160))
    return [(other.frames("p002_1s1"), lambda a, b: other.frames("p002_1s1", a, b)), (grey_frames(camera), lambda a, b: grey_frames(camera, a, b))]

def test_the_same_bytes_in_another_process(wholes):
    code = ("import hashlib; from mespot.data.phantom import phantom; from mespot.data.phantom_variants import grey_frames, restyled;"
            "p = phantom('tiny', subjects=2, seconds=5., seed=5, micro_per_minute=30.); c = p.camera('p002_1', size=(160, 160));"
            "print(*(hashlib.sha256(f.tobytes()).hexdigest() for f in (restyled(p).frames('p002_1s1'), grey_frames(c))))")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert out == [hashlib.sha256(whole.tobytes()).hexdigest() for whole, _ in wholes]

STYLED = [[96.7, 126.8, 152.9, 129.4], [124.3, 156.5, 184.3, 164.7], [127.4, 183.4, 192.7, 161.9], [114.0, 175.2, 189.4, 125.9]]
PICTURE = [[89.2, 126.7, 104.9, 93.5], [134.0, 145.4, 113.2, 148.9], [156.2, 138.7, 109.5, 135.1], [212.5, 225.5, 226.0, 212.1]]

def test_version_1_is_what_it_was(wholes):
    "If this fails, stores that are cached no longer match: raise STYLE_VERSION or CAMERA_VERSION and pin the new values."
    means = [whole[100].reshape(4, whole.shape[1]//4, 4, -1).mean((1, 3)).round(1).tolist() for whole, _ in wholes]
    np.testing.assert_allclose(means[0], STYLED, atol=1.5); np.testing.assert_allclose(means[1], PICTURE, atol=1.5)

def test_stores_do_not_mix(tmp_path, monkeypatch):
    monkeypatch.setenv("MESPOT_CACHE", str(tmp_path))
    short = phantom("tiny", subjects=1, seconds=1.)
    sets = [short, restyled(short), restyled(short, style=2), restyled(short, artefacts=.5)]
    made = [stored(s, workers=1, progress=False) for s in sets] + [camera_stored(s, size, workers=1, progress=False) for s in sets[:2] for size in (64, 160)]
    stores = [next(iter(m.values())) for m in made]
    assert len({s.path for s in stores}) == len({s.frames.tobytes() for s in stores}) == 8
    for s, store in zip(sets, stores): np.testing.assert_array_equal(store.frames, s.frames(s.videos.video[0]))
    before = stores[-1].path.stat().st_mtime_ns
    assert camera_stored(sets[1], workers=1, progress=False)["p001_1s1"].path.stat().st_mtime_ns == before            # found, not drawn again

def test_two_hundred_frames_a_second(tmp_path, monkeypatch):
    monkeypatch.setenv("MESPOT_CACHE", str(tmp_path))
    fast = phantom("tiny", subjects=1, seconds=1., fps=200.)
    store, styled = camera_stored(fast, workers=1, progress=False)["p001_1"], stored(restyled(fast), workers=1, progress=False)["p001_1s1"]
    assert store.frames.shape == (200, 160, 160) and styled.frames.shape == (200, VIEW, VIEW)
    np.testing.assert_array_equal(store.frames[90:100], grey_frames(fast.camera("p001_1", (160, 160)), 90, 100))
    assert store.fps == styled.fps == 200 and store.ok.all() and store.frames.dtype == np.uint8

def test_the_small_grey_picture_is_the_large_colour_one(ph):
    small, large = ph.camera("p001_1", size=(160, 160)), ph.camera("p001_1", size=(640, 640))
    for i in (0, 60, 149):
        colour, grey = cv2.resize(large.frames(i, i + 1)[0] @ LUMA, (160, 160), interpolation=cv2.INTER_AREA), grey_frames(small, i, i + 1)[0]
        shifted = cv2.warpAffine(colour, np.float32([[1, 0, .375], [0, 1, .375]]), (160, 160), borderMode=cv2.BORDER_REPLICATE)   # its pixels' centres lie there
        assert np.abs(shifted - grey)[2:, 2:].mean() < 4 and abs(shifted.mean() - grey.mean()) < 2 and alike(shifted[2:, 2:], grey[2:, 2:]) > .98

def test_expressions_show_in_the_small_picture_as_in_the_large():
    "Between rest and the apex of an expression the two drawings change alike."
    calm = phantom("tiny", subjects=1, seconds=12., macro_intensity=(4.5, 5.), macro_per_minute=20., drift=0., jitter=0., illumination=0., noise=0.)
    row = calm.annotations[calm.annotations.kind == "macro"].iloc[0]
    pair = (int(row.onset) - 1, int(row.apex))
    small, large = (calm.camera("p001_1", size=(s, s), motion=0.) for s in (160, 640))
    a = np.subtract(*(grey_frames(small, i, i + 1)[0].astype(float) for i in pair))
    b = np.subtract(*(cv2.resize(large.frames(i, i + 1)[0] @ LUMA, (160, 160), interpolation=cv2.INTER_AREA) for i in pair))
    soft = lambda x: cv2.GaussianBlur(x.astype(np.float32), (0, 0), 1.)
    assert alike(soft(a), soft(b)) > .85 and np.abs(soft(a)).max() > 5

def test_the_face_is_where_the_poses_say(ph):
    camera, own = ph.camera("p002_1", size=(160, 160), motion=2.), ph.frames("p002_1")
    grey, fits, fine = grey_frames(camera), [], lambda x: cv2.GaussianBlur(np.float32(x), (0, 0), 1.5) - cv2.GaussianBlur(np.float32(x), (0, 0), 6)   # no light
    for i, j in ((20, 20), (75, 75), (140, 140), (20, 140)):
        back = cv2.warpAffine(grey[i], camera.poses[j], (VIEW, VIEW), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        fits.append(alike(fine(back)[20:100, 20:92], fine(own[i])[20:100, 20:92]))
    assert min(fits[:3]) > .9 and fits[3] < .6

def test_joined_sets_are_whole_tables(ph):
    both = joined(ph, restyled(ph))
    assert len(both.videos) == 4 and both.videos.subject.nunique() == 2 and both.videos.index.is_unique
    fast = phantom("tiny", subjects=2, seconds=5., fps=200., micro_per_minute=30.)
    mixed = joined(slow=ph, fast=fast)
    assert mixed.videos.groupby(mixed.videos.video.str.split("-").str[0]).fps.unique().to_dict() == {"fast": [200.], "slow": [30.]}
    assert mixed.videos.subject.nunique() == 4
    for j, parts in ((both, (ph, ph)), (mixed, (ph, fast))):
        assert len(check_annotations(j.annotations, check_videos(j.videos))) == sum(len(p.annotations) for p in parts)
    assert joined(slow=joined(ph)).videos.equals(joined(slow=ph).videos)

def test_joined_stores_have_the_joined_names(ph):
    a, b = {v: ("a", v) for v in ph.videos.video}, {v: ("b", v) for v in ph.videos.video}
    stores = joined_stores(b, slow=a)
    assert list(stores) == list(joined(ph, slow=ph).videos.video) and stores["slow-p002_1"] == ("a", "p002_1") and stores["p002_1"] == ("b", "p002_1")

def test_a_set_without_expressions_can_be_joined(ph, still):
    silent = joined(silent=still, other=ph)
    assert len(still.annotations) == 0 and silent.annotations.dtypes.equals(ph.annotations.dtypes)
    check_annotations(silent.annotations, silent.videos)

def test_what_a_user_gets_wrong_is_said(ph):
    for wrong in (lambda: restyled(ph, style=0), lambda: restyled(ph, artefacts=-1.), lambda: restyled(restyled(ph)), lambda: camera_stored(ph, 16),
                  lambda: joined(ph, ph), lambda: joined(), lambda: joined_stores({"a": 1}, {"a": 2})):
        with pytest.raises(MespotError): wrong()
