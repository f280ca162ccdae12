"One function for all aligners: what each gives, how still it holds a head, what it says when something is wrong."
import importlib.util
import os
import signal
import subprocess
import sys
import warnings
from itertools import islice

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from skimage import data

import moving_face
import openface_output as fake
from mespot.core import MespotError
from mespot.data import landmarks
from mespot.data.alignment import SETTINGS, align, align_with_map, settings_of
from mespot.data.faces import align_video
from mespot.data.frames import sweep
from mespot.data.landmarks import LICENCE, RIGID, eye_centres, find_landmarks, fit_similarity, place_face, region_box, region_mask
from mespot.data.openface import OPENFACE_EYES, openface_csv, openface_transform, run_openface
from mespot.data.phantom import phantom
from mespot.data.registration import EYES, compose, move
from mespot.data.video import read_video
from test_faces import residual

pytestmark = pytest.mark.filterwarnings("ignore:dlib's 68-point model")


def gathered(rows):
    "What an aligner yields, as four arrays; landmarks NaN where None."
    views, transforms, ok, points = zip(*rows)
    return np.stack(views), np.stack(transforms), np.array(ok), np.stack([np.full((68, 2), np.nan) if p is None else p for p in points])


class Aligned:
    def __init__(self, rows): self.frames, self.transforms, self.ok, self.landmarks = gathered(rows)


def test_unknown_aligners_and_settings():
    with pytest.raises(MespotError, match="there is no aligner 'mtcnn'; choose opencv, dlib68, openface, none"): align([], "mtcnn")
    with pytest.raises(MespotError, match="the aligner opencv has no setting boxes; it has bridge"): align([], boxes=3)
    assert settings_of("openface", face=1) == dict(output=None, face=1) and SETTINGS["openface"]["face"] is None


def test_opencv_is_the_default():
    frames = [data.astronaut()]*3
    direct = align_video(frames)
    views, transforms, ok, points = gathered(align(frames))
    np.testing.assert_array_equal(views, direct.frames)
    np.testing.assert_array_equal(transforms, direct.transforms)
    assert ok.all() and np.isnan(points).all()


def test_nothing_is_loaded_before_it_is_needed():
    code = "import sys, mespot.data.frames; print('dlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


# dlib68

@pytest.fixture(scope="module")
def shot():
    poses = moving_face.poses(45, (480, 360), scale=1.8)
    frames = moving_face.film(poses, (480, 360))
    return frames, poses, Aligned(align(frames, "dlib68"))


def test_dlib68_holds_a_moving_head_still(shot):
    frames, poses, aligned = shot
    assert aligned.ok.all() and aligned.frames.dtype == np.uint8 and aligned.frames.shape == (45, 112, 112)
    rms, _ = residual(aligned, poses)
    assert rms.max() < .25, rms
    eyes = np.stack([move(compose(t, p), moving_face.EYES) for t, p in zip(aligned.transforms, poses)])
    assert np.abs(eyes - EYES).max() < 1.5


def test_landmarks_follow_the_head_and_the_expression(shot):
    frames, poses, aligned = shot
    assert np.isfinite(aligned.landmarks).all()
    assert aligned.landmarks[:, RIGID].std(0).mean() < .4             # pixels of the view: bone holds still
    mouth = np.ptp(aligned.landmarks[:, 48:60, 0], axis=1)            # its width
    smile = np.sin(np.pi*np.clip((np.arange(45)/30 - .6)/1.2, 0, 1))  # as it was filmed
    assert np.corrcoef(mouth, smile)[0, 1] > .7
    assert np.abs(eye_centres(np.median(aligned.landmarks, 0)) - EYES).max() < .6


def test_points_alone_would_not_do(shot):
    "The reason why dlib68 registers: the fit to points, frame by frame, leaves several times as much movement."
    frames, poses, aligned = shot
    transform, fits = place_face(frames[0]), []
    shape = find_landmarks(frames[0], transform)
    for f in frames: fits.append(transform := compose(fit_similarity(find_landmarks(f, transform)[RIGID], shape[RIGID]), transform))
    by_points = Aligned((v, t, True, None) for v, t in zip(aligned.frames, fits))
    assert residual(by_points, poses)[0].max() > 2*residual(aligned, poses)[0].max()


def test_averaging_calms_landmarks():
    poses = moving_face.poses(12, (640, 480), motion=0)
    frames = moving_face.film(poses, expression=0, light=0, noise=8)
    one, four = (Aligned(align(frames, "dlib68", boxes=b)).landmarks.std(0).mean() for b in (1, 4))
    assert four < .75*one and four < .25


def test_dlib68_on_the_phantom():
    people = phantom("tiny", seed=0)
    name = people.videos.video[0]
    first = people.annotations.query("video == @name and kind == 'macro'").onset.iloc[0]
    camera, shown = people.camera(name, size=(480, 360)), slice(first, first + 30)
    aligned = Aligned(align(camera.frames(shown.start, shown.stop), "dlib68"))
    assert aligned.ok.all() and residual(aligned, camera.poses[shown])[0].max() < .3
    eyes = np.stack([move(compose(t, p), EYES) for t, p in zip(aligned.transforms, camera.poses[shown])])
    assert np.abs(np.median(eyes, 0) - EYES).max() < 3.5


def test_dlib68_never_invents_a_face():
    frames = moving_face.film(moving_face.poses(32, (480, 360), scale=1.8, motion=.5), (480, 360), light=0)
    gone = [0, 1, *range(8, 11), *range(16, 28), 31]
    frames[gone] = cv2.cvtColor(cv2.resize(data.rocket(), (480, 360)), cv2.COLOR_RGB2GRAY)
    aligned = Aligned(align(frames, "dlib68"))
    assert np.flatnonzero(~aligned.ok).tolist() == gone and np.isnan(aligned.landmarks[gone]).all() and np.isfinite(aligned.landmarks[aligned.ok]).all()
    left_out = sorted(set(gone) - {8, 9, 10})
    assert np.isnan(aligned.transforms[left_out]).all() and not aligned.frames[left_out].any()
    assert np.isfinite(aligned.transforms[8:11]).all() and aligned.frames[8:11].any(axis=(1, 2)).all()      # bridged, with its own pixels
    assert np.isnan(Aligned(align(frames, "dlib68", bridge=0)).transforms[8:11]).all()


def test_dlib68_without_a_face_or_a_second_look():
    with pytest.raises(MespotError, match="no face found in any of 3 frames"): list(align([data.rocket()]*3, "dlib68"))
    with pytest.raises(MespotError, match="only once"): list(align((f for f in [data.astronaut()]*3), "dlib68"))


def test_dlib68_takes_colour_and_grey_and_large_faces():
    colour = cv2.resize(data.astronaut(), None, fx=3, fy=3)
    a, b = (Aligned(align([f]*2, "dlib68")) for f in (colour, cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)))
    np.testing.assert_array_equal(a.frames, b.frames)
    np.testing.assert_array_equal(a.landmarks, b.landmarks)
    assert np.abs(move(a.transforms[0], moving_face.EYES*3 + 1) - EYES).max() < 1.5


@pytest.fixture
def unloaded():
    landmarks._dlib.cache_clear()
    yield
    landmarks._dlib.cache_clear()


def test_without_the_extra(unloaded, monkeypatch):
    with monkeypatch.context() as m:
        m.setitem(sys.modules, "dlib", None)
        with pytest.raises(MespotError, match=r"pip install 'mespot\[landmarks\]'"): list(align([data.astronaut()], "dlib68"))
    with monkeypatch.context() as m:
        m.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(MespotError, match=r"pip install 'mespot\[landmarks\]'"): list(align([data.astronaut()], "dlib68"))


def test_the_licence_is_said_once(unloaded):
    with pytest.warns(UserWarning, match="excludes commercial use") as said: place_face(moving_face.FACE)
    assert [str(w.message) for w in said] == [LICENCE]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        place_face(moving_face.FACE)
    assert "face_recognition_models" not in sys.modules               # its own code cannot be imported
    assert "research only" in landmarks.align_dlib68.__doc__ and "research only" in find_landmarks.__doc__


points68 = st.lists(st.tuples(st.floats(5, 105), st.floats(5, 105)), min_size=68, max_size=68).map(np.array)


@given(points68, st.sampled_from(list(landmarks.REGIONS)), st.integers(0, 6))
@settings(deadline=None, max_examples=30)
def test_regions(points, region, margin):
    mask = region_mask(points, region, margin)
    left, top, right, bottom = region_box(points, region, margin)
    outside = mask.copy()
    outside[top:bottom, left:right] = False
    assert mask.shape == (112, 112) and mask.dtype == bool and not outside.any() and mask.any()
    assert (region_mask(points, region, margin + 2) >= mask).all()
    for part in landmarks.REGIONS[region]:
        for x, y in np.round(points[part]).astype(int): assert mask[y-1:y+2, x-1:x+2].any()


def test_regions_are_eyes_and_mouth(shot):
    points = shot[2].landmarks[0]
    assert region_mask(points, "eyes").sum() == region_mask(points, "left_eye").sum() + region_mask(points, "right_eye").sum()
    assert region_mask(points, "left_eye")[31, 34] and region_mask(points, "right_eye")[31, 78] and region_mask(points, "mouth")[79, 56]
    for nothing in (None, np.full((68, 2), np.nan)): assert not region_mask(nothing, "mouth").any() and region_box(nothing, "mouth") is None
    with pytest.raises(MespotError, match="no region 'brows'.*choose eyes, left_eye, right_eye, mouth"): region_mask(points, "brows")


similarities = st.tuples(st.floats(.2, 5), st.floats(-3, 3), st.floats(-99, 99), st.floats(-99, 99)).map(
    lambda v: np.array([[v[0]*np.cos(v[1]), -v[0]*np.sin(v[1]), v[2]], [v[0]*np.sin(v[1]), v[0]*np.cos(v[1]), v[3]]]))


@given(similarities, st.integers(0, 1000))
def test_fit_similarity(transform, seed):
    rng = np.random.default_rng(seed)
    source = rng.normal(0, 20, (9, 2))
    np.testing.assert_allclose(fit_similarity(source, move(transform, source)), transform, atol=1e-6)
    target = move(transform, source) + rng.normal(0, 3, (9, 2))
    best = fit_similarity(source, target)
    def error(t): return ((move(t, source) - target)**2).sum()
    for _ in range(5):                                                # no other similarity is nearer
        near = best + np.array([[a := rng.normal(0, .01), -(b := rng.normal(0, .01)), rng.normal()], [b, a, rng.normal()]])
        assert error(best) <= error(near)
    assert np.linalg.det(best[:, :2]) > 0                             # never mirrored


# none

def test_none_takes_what_it_gets():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (3, 112, 112), dtype=np.uint8)
    views, transforms, ok, points = gathered(align(list(grey), "none"))
    np.testing.assert_array_equal(views, grey)
    np.testing.assert_array_equal(transforms, np.tile(np.eye(2, 3), (3, 1, 1)))
    assert ok.all() and np.isnan(points).all()
    np.testing.assert_array_equal(gathered(align([np.repeat(g[..., None], 3, -1) for g in grey], "none"))[0], grey)     # grey as RGB


@pytest.mark.parametrize("size", [64, 224, 300])
def test_none_resizes(size):
    small = cv2.resize(moving_face.FACE[40:200, 150:310], (size, size), interpolation=cv2.INTER_AREA)
    (view, transform, *_), = align([small], "none")
    assert view.shape == (112, 112)
    back = cv2.warpAffine(small, transform, (112, 112), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(back.astype(int) - view)[4:-4, 4:-4].mean() < 6     # the transform says where the pixels come from


def test_none_refuses_what_is_no_face():
    with pytest.raises(MespotError, match="frame 1 of the video is 640x480 pixels, which is no aligned face"):
        list(align([np.zeros((112, 112), np.uint8), np.zeros((480, 640, 3), np.uint8)], "none"))


# openface

def images(folder, n, name="img{}.png"):
    folder.mkdir()
    for i in range(n): cv2.imwrite(str(folder/name.format(i + 1)), fake.source(i)[..., ::-1])
    return folder


def marks(views): return [int(v[3, 3]) for v in views]


@pytest.fixture
def clip(tmp_path): return images(tmp_path/"clip", 4, "img{:03}.png")


@pytest.mark.parametrize("dialect", [dict(), dict(spaces=False), dict(face_id=False), dict(face_id=False, spaces=False), dict(model=False), dict(colour=False), dict(kind="png")])
def test_openface_dialects(clip, tmp_path, dialect):
    fake.write_output(tmp_path/"out", "clip", range(4), lost=[2], **dialect)
    rows, chart = align_with_map(read_video(clip, 25), "openface", output=tmp_path/"out")
    views, transforms, ok, points = gathered(rows)
    assert ok.tolist() == [True, True, False, True] and marks(views) == [fake.mark(0), fake.mark(1), 0, fake.mark(3)]
    assert not views[2].any() and np.isnan(transforms[2]).all() and np.isnan(points[2]).all()
    grey = cv2.cvtColor(fake.view(3), cv2.COLOR_RGB2GRAY)
    np.testing.assert_array_equal(views[3], grey)
    for i in (0, 1, 3):                                               # transform and landmarks agree with the picture
        assert np.abs(move(transforms[i], fake.EYES + (3*i, 0)) - OPENFACE_EYES).max() < (2 if dialect.get("model", True) else .01)
        np.testing.assert_allclose(points[i], move(transforms[i], fake.points(i)), atol=1e-3)
        if dialect.get("model", True): np.testing.assert_allclose(move(transforms[i], fake.CENTRE + (3*i, 0)), (56, 56), atol=1e-3)
    assert chart.columns.tolist() == ["frame", "face_id", "row", "success", "image", "file", "used"]
    assert chart.frame.tolist() == [0, 1, 2, 3] and chart.row.tolist() == [2, 3, 4, 5] and chart.image.tolist() == [f"img{i:03}.png" for i in (1, 2, 3, 4)]
    assert chart.file.tolist() == [f"frame_det_00_{i:06}.{dialect.get('kind', 'bmp')}" for i in (1, 2, 3, 4)] and chart.success.tolist() == [True, True, False, True]


def test_a_transform_is_where_the_picture_comes_from(clip, tmp_path):
    fake.write_output(tmp_path/"out", "clip", range(4), model=False)
    view, transform, *_ = list(align(read_video(clip, 25), "openface", output=tmp_path/"out"))[2]
    again = cv2.warpAffine(cv2.cvtColor(fake.source(2), cv2.COLOR_RGB2GRAY), transform, (112, 112), flags=cv2.INTER_CUBIC)
    assert np.abs(again.astype(int) - view)[10:].mean() < 1


def test_unpadded_names_come_in_the_order_of_frames(tmp_path):
    clip = images(tmp_path/"clip", 12)
    order = [0, 9, 10, 11, *range(1, 9)]                              # img1, img10, img11, img12, img2, …
    fake.write_output(tmp_path/"out", "clip", order, lost=[10])
    rows, chart = align_with_map(read_video(clip, 25), "openface", output=tmp_path/"out")
    views, _, ok, points = gathered(rows)
    assert marks(views) == [0 if i == 10 else fake.mark(i) for i in range(12)] and np.flatnonzero(~ok).tolist() == [10]
    assert chart.frame.tolist() == order and chart.image[1] == "img10.png" and chart.file[1] == "frame_det_00_000002.bmp"


def test_several_faces(clip, tmp_path):
    fake.write_output(tmp_path/"out", "clip", range(4), faces=(2, 5))
    rows, chart = align_with_map(read_video(clip, 25), "openface", output=tmp_path/"out")
    views, _, ok, _ = gathered(rows)
    assert ok.all() and marks(views) == [fake.mark(i) for i in range(4)]     # the one that is seen most
    assert chart.face_id.tolist() == [2, 2, 2, 2, 5] and chart.used.tolist() == [True]*4 + [False] and chart.frame.tolist() == [0, 1, 2, 3, 3]
    views, _, ok, _ = gathered(align(read_video(clip, 25), "openface", output=tmp_path/"out", face=5))
    assert ok.tolist() == [False, False, False, True] and marks(views) == [0, 0, 0, 255]
    with pytest.raises(MespotError, match="has no face 1; it has 2, 5"): align(read_video(clip, 25), "openface", output=tmp_path/"out", face=1)


def test_missing_pictures_are_told(clip, tmp_path):
    fake.write_output(tmp_path/"out", "clip", range(4), lost=[0])
    (tmp_path/"out"/"clip_aligned"/"frame_det_00_000001.bmp").unlink()       # -nobadaligned: not missed
    (tmp_path/"out"/"clip_aligned"/"frame_det_00_000003.bmp").unlink()
    with pytest.warns(UserWarning, match=r"1 of the aligned pictures that .*clip\.csv tells of are not in .*clip_aligned, the first of row 4"):
        rows, chart = align_with_map(read_video(clip, 25), "openface", output=tmp_path/"out")
    views, transforms, ok, _ = gathered(rows)
    assert ok.tolist() == [False, True, False, True] and not views[2].any() and np.isnan(transforms[2]).all() and chart.file[2] == "" and chart.success[2]
    for p in (tmp_path/"out"/"clip_aligned").iterdir(): p.unlink()
    with pytest.raises(MespotError, match=r"no aligned pictures frame_det_00_….bmp in .*clip_aligned; run OpenFace with -simalign"):
        align(read_video(clip, 25), "openface", output=tmp_path/"out")


@pytest.mark.parametrize("size", [96, 224])
def test_other_sizes_are_resized(clip, tmp_path, size):
    fake.write_output(tmp_path/"out", "clip", range(4), size=size)
    views, *_ = gathered(align(read_video(clip, 25), "openface", output=tmp_path/"out"))
    assert views.shape == (4, 112, 112) and marks(views) == [fake.mark(i) for i in range(4)]


def test_pictures_that_cannot_be_views(clip, tmp_path):
    fake.write_output(tmp_path/"out", "clip", range(4))
    bad = tmp_path/"out"/"clip_aligned"/"frame_det_00_000002.bmp"
    cv2.imwrite(str(bad), np.zeros((112, 90), np.uint8))
    with pytest.raises(MespotError, match=r"frame_det_00_000002\.bmp is 90x112 pixels"): list(align(read_video(clip, 25), "openface", output=tmp_path/"out"))
    bad.write_bytes(bad.read_bytes()[:500])
    with pytest.raises(MespotError, match=r"frame_det_00_000002\.bmp cannot be read"): list(align(read_video(clip, 25), "openface", output=tmp_path/"out"))


def edit(path, change): path.write_text("\n".join(change(path.read_text().rstrip("\n").split("\n"))) + "\n")


@pytest.mark.parametrize("change, complaint", [
    (lambda lines: lines[:-1], "goes up to frame 3 .*, but .*clip has 4 frames"),
    (lambda lines: [*lines, lines[-1].replace("4,", "5,", 1)], "goes up to frame 5 .*, but .*clip has 4 frames"),
    (lambda lines: [*lines[:3], *lines[2:]], "row 4: frame 2 of face 0 occurs twice"),
    (lambda lines: [lines[0], "x" + lines[1], *lines[2:]], "row 2: frame is x1; OpenFace counts"),
    (lambda lines: [lines[0].replace(" success", " worked"), *lines[1:]], "has no column success"),
    (lambda lines: ["<html><body>Sign in</body></html>"], "has no column frame, success"),
    (lambda lines: [], "is no table of OpenFace")])
def test_tables_that_do_not_fit(clip, tmp_path, change, complaint):
    edit(fake.write_output(tmp_path/"out", "clip", range(4)), change)
    with pytest.raises(MespotError, match=complaint): align(read_video(clip, 25), "openface", output=tmp_path/"out")


def test_rows_without_landmarks_or_with_nan(clip, tmp_path):
    csv = fake.write_output(tmp_path/"out", "clip", range(4))
    first = str(fake.points(1)[0, 0].round(3))
    edit(csv, lambda lines: [line if k != 2 else line.replace(first, "-nan(ind)", 1) for k, line in enumerate(lines)])
    views, transforms, ok, points = gathered(align(read_video(clip, 25), "openface", output=csv))       # the table itself can be named
    assert ok.all() and np.isnan(transforms[1]).all() and np.isnan(points[1]).all() and np.isfinite(points[[0, 2, 3]]).all()
    fake.write_output(tmp_path/"bare", "clip", range(4), landmarks=False)
    views, transforms, ok, points = gathered(align(read_video(clip, 25), "openface", output=tmp_path/"bare"))
    assert ok.all() and marks(views) == [fake.mark(i) for i in range(4)] and np.isnan(transforms).all() and np.isnan(points).all()


def test_frames_of_no_file(tmp_path):
    with pytest.raises(MespotError, match="goes by the name of the video"): align([data.astronaut()], "openface", output=tmp_path)


def test_openface_that_is_not_there(clip, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MespotError, match=r"there is no 006_1\.csv or clip\.csv in .*out, and none could be made: OpenFace is not installed.*install OpenFace 2"):
        openface_csv(clip, tmp_path/"out", "006_1")
    with pytest.raises(MespotError, match="there is no .*out/other.csv|other.csv cannot be opened"): align(read_video(clip, 25), "openface", output=tmp_path/"out"/"other.csv")
    assert not (tmp_path/"out").exists()


def test_openface_is_run(tmp_path, monkeypatch):
    clip = images(tmp_path/"clip", 12)
    told = fake.install(tmp_path/"bin", monkeypatch, [0, 9, 10, 11, *range(1, 9)])
    views, _, ok, points = gathered(align(read_video(clip, 25), "openface", output=tmp_path/"out"))
    assert ok.all() and marks(views) == [fake.mark(i) for i in range(12)] and np.isfinite(points).all()
    assert sorted(p.name for p in (tmp_path/"out").iterdir()) == ["clip.csv", "clip_aligned", "clip_of_details.txt"]
    args = told()
    assert args[:2] == ["-fdir", str(clip)] and {"-2Dfp", "-pdmparams", "-pose", "-aus", "-simalign", "-nomask", "-g"} <= set(args)
    for option, value in (("-simsize", "112"), ("-simscale", "0.7"), ("-format_aligned", "bmp"), ("-of", "clip.csv")): assert args[args.index(option) + 1] == value
    (tmp_path/"bin"/"FeatureExtraction").unlink()                     # its output is there now
    assert gathered(align(read_video(clip, 25), "openface", output=tmp_path/"out"))[2].all()


def test_openface_is_run_on_a_video_file_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MESPOT_CACHE", str(tmp_path/"cache"))
    told = fake.install(tmp_path/"bin", monkeypatch, range(5), colour=False)
    film = tmp_path/"a.film.avi"                                      # dots in names
    out = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"MJPG"), 25, (512, 512))
    for i in range(5): out.write(np.ascontiguousarray(fake.source(i)[..., ::-1]))
    out.release()
    views, *_ = gathered(align(read_video(film), "openface"))
    assert marks(views) == [fake.mark(i) for i in range(5)] and told()[:2] == ["-f", str(film)]
    made = openface_csv(film)
    assert made.parent == tmp_path/"cache"/"openface" and made.name.startswith("a.film-") and made.exists()
    film.write_bytes(film.read_bytes() + b"\0")                       # another file now: measured again
    assert openface_csv(film) != made


@pytest.mark.parametrize("extra, complaint", [("sys.exit('ERROR: Could not load the landmark detector')", "ended with 1 and said: ERROR: Could not load"),
                                              ("(out/(name + '.csv')).unlink()", "ended with 0 and said: nothing")])
def test_openface_that_fails_leaves_nothing(clip, tmp_path, monkeypatch, extra, complaint):
    fake.install(tmp_path/"bin", monkeypatch, range(4), extra)
    with pytest.raises(MespotError, match=complaint): run_openface(clip, tmp_path/"out", "clip")
    assert not list((tmp_path/"out").iterdir())


def test_a_killed_run_leaves_no_table(clip, tmp_path, monkeypatch):
    "OpenFace's table gets its name last: where it is, its pictures are."
    fake.install(tmp_path/"bin", monkeypatch, range(4))
    real, seen = os.replace, []
    def replace(a, b):
        if len(seen) == kill_at: os.kill(os.getpid(), signal.SIGKILL)
        seen.append(real(a, b))
    for kill_at in range(3):                                          # pictures, details, table
        if not (pid := os.fork()):
            os.replace = replace
            try: run_openface(clip, tmp_path/"out", "clip")
            finally: os._exit(0)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL and not (tmp_path/"out"/"clip.csv").exists() and len(sweep(tmp_path/"out")) == 1
    assert gathered(align(read_video(clip, 25), "openface", output=tmp_path/"out"))[2].all()
    assert sorted(p.name for p in (tmp_path/"out").iterdir()) == ["clip.csv", "clip_aligned", "clip_of_details.txt"]


def test_openface_that_cannot_be_run(clip, tmp_path, monkeypatch):
    fake.install(tmp_path/"bin", monkeypatch, range(4))
    (tmp_path/"bin"/"FeatureExtraction").write_text("#!/nowhere/interpreter\n")
    with pytest.raises(MespotError, match="OpenFace cannot be run"): run_openface(clip, tmp_path/"out", "clip")


# real recordings

def test_where_eyes_lie_in_openfaces_view(real):
    "A recorded table holds landmarks, and scale, turn and origin of the face model: enough to tell where OpenFace puts the eyes."
    t = pd.read_csv(real["OpenFace_Test.csv"], skipinitialspace=True)
    p = np.stack([t[[f"{c}_{i}" for i in range(68)]].to_numpy() for c in "xy"], -1)                 # (n, 68, 2)
    z = (p - t[["p_tx", "p_ty"]].to_numpy()[:, None]) @ [1, 1j] * np.exp(-1j*t.p_rz.to_numpy())[:, None] * (.7/t.p_scale.to_numpy())[:, None]
    eyes = eye_centres(np.stack([z.real, z.imag], -1) + 56)
    assert np.abs(eyes - OPENFACE_EYES).max() < 1.5
    with_origin = np.stack([move(openface_transform(a, o), eye_centres(a)) for a, o in zip(p, t[["p_tx", "p_ty"]].to_numpy())])
    assert np.abs(with_origin - eyes).max() < 1


def test_dlib68_on_a_real_face(real):
    aligned = Aligned(align(read_video(real["single_face.mp4"]), "dlib68", boxes=1))
    assert aligned.ok.all() and np.isfinite(aligned.landmarks).all()
    for frame, eyes in {0: [(259, 169.5), (330, 166.5)], 66: [(257, 158.5), (329, 155)]}.items():   # read off the enlarged frames
        assert np.abs(move(aligned.transforms[frame], eyes) - EYES).max() < 3
    width = np.ptp(aligned.landmarks[:, 48:60, 0], axis=1)
    assert width[30:60].min() > 1.1*width[:10].mean()                 # the smile
    opening = lambda i: np.ptp(aligned.landmarks[i, 36:42, 1]) + np.ptp(aligned.landmarks[i, 42:48, 1])
    assert min(opening(i) for i in range(23, 30)) < .75*np.median([opening(i) for i in range(15)])  # the blink


def test_dlib68_when_a_face_leaves(real):
    around = list(islice(read_video(real["face_noface.mov"]), 60, 84))
    assert np.flatnonzero([a.ok for a in align(around, "dlib68", boxes=1)]).tolist() == list(range(12))
