import json
import os
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, strategies as st
from skimage import data

from mespot.core import MespotError
from mespot.data import faces
from mespot.data.frames import frame_store, missing_runs, ok_mask, open_store, store_frames

GREY = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)


def views(n): return (np.full((112, 112), i, np.uint8) for i in range(n))


def write_clip(path, n=14, fps=25, gap=()):
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (320, 240))
    for i in range(n):
        frame = cv2.warpAffine(data.astronaut(), np.float32([[1, 0, -60 + i], [0, 1, -10]]), (320, 240))
        out.write(frame[..., ::-1] if i not in gap else np.full_like(frame, 60))
    out.release()
    return path


@pytest.fixture
def never(monkeypatch):
    "From now on nothing may be aligned."
    def stop(): monkeypatch.setattr(faces, "align_frames", lambda *a: pytest.fail("aligned again"))
    return stop


@given(st.lists(st.booleans()))
def test_runs_and_mask_are_inverse(ok):
    runs = missing_runs(np.array(ok, bool))
    assert ok_mask(runs, len(ok)).tolist() == ok
    assert all(a <= b for a, b in runs) and all(b + 1 < a for (_, b), (a, _) in zip(runs, runs[1:]))


def test_store_of_a_video(tmp_path, never):
    clip = write_clip(tmp_path/"a.avi", gap=range(8, 11))
    store = frame_store(clip, folder=tmp_path/"s", progress=False)
    assert store.frames.shape == (14, 112, 112) and store.frames.dtype == np.uint8 and isinstance(store.frames, np.memmap)
    assert (store.fps, store.n_frames, len(store)) == (25, 14, 14) and np.flatnonzero(~store.ok).tolist() == [8, 9, 10]
    assert store.transforms.shape == (14, 2, 3) and store.meta["missing"] == [[8, 10]]
    with pytest.raises(ValueError): store.frames[0, 0, 0] = 1         # read-only
    never()
    again = frame_store(clip, folder=tmp_path/"s", progress=False)
    np.testing.assert_array_equal(again.frames, store.frames)
    np.testing.assert_array_equal(again.transforms, store.transforms)
    frame_store(str(tmp_path/"s"/".."/"a.avi"), folder=tmp_path/"s")  # the same file by another name


def test_same_as_aligning(tmp_path):
    from mespot.data.video import read_video
    clip = write_clip(tmp_path/"a.avi")
    store, aligned = frame_store(clip, folder=tmp_path, progress=False), faces.align_video(read_video(clip))
    for a, b in zip((store.frames, store.ok, store.transforms), aligned): np.testing.assert_array_equal(a, b)


def touch(clip, monkeypatch): os.utime(clip, ns=(10**18, 10**18))
def grow(clip, monkeypatch): write_clip(clip, 16)
def newer(clip, monkeypatch): monkeypatch.setattr(faces, "VERSION", faces.VERSION + 1)


@pytest.mark.parametrize("change", [touch, grow, newer])
def test_made_again_when_something_changed(tmp_path, change, monkeypatch):
    clip = write_clip(tmp_path/"a.avi")
    old = frame_store(clip, folder=tmp_path/"s", progress=False)
    change(clip, monkeypatch)
    new = frame_store(clip, folder=tmp_path/"s", progress=False)
    assert new.meta["made_by"] != old.meta["made_by"] and len(list((tmp_path/"s").iterdir())) == 3
    assert new.n_frames == (16 if change is grow else 14) and old.frames[13].any()  # the old map is still whole


def test_made_again_for_other_settings(tmp_path):
    clip = write_clip(tmp_path/"a.avi", gap=range(8, 11))
    assert frame_store(clip, folder=tmp_path, progress=False).frames[9].any()
    assert not frame_store(clip, folder=tmp_path, bridge=0, progress=False).frames[9].any()
    assert frame_store(clip, folder=tmp_path, fps=50, progress=False).fps == 50


def test_image_folder_changes(tmp_path):
    (tmp_path/"clip").mkdir()
    for i in range(4): cv2.imwrite(str(tmp_path/"clip"/f"{i}.png"), GREY)
    assert frame_store(tmp_path/"clip", 25, folder=tmp_path, progress=False).n_frames == 4
    cv2.imwrite(str(tmp_path/"clip"/"4.png"), GREY)
    assert frame_store(tmp_path/"clip", 25, folder=tmp_path, progress=False).n_frames == 5


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(p.read_bytes()[:-300]), lambda p: p.write_bytes(b"")])
@pytest.mark.parametrize("ending", [".npy", ".transforms.npy", ".json"])
def test_damaged_store_is_made_again(tmp_path, damage, ending):
    store = store_frames("a", views(30), 30, 30, {}, tmp_path)
    damage(tmp_path/f"a{ending}")
    with pytest.raises(MespotError, match="make it again"): open_store(store.path)
    np.testing.assert_array_equal(store_frames("a", views(30), 30, 30, {}, tmp_path).frames[:, 0, 0], np.arange(30))


def test_interrupted_leaves_nothing(tmp_path):
    def stopped():
        yield from views(3)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt): store_frames("a", stopped(), 9, 30, {}, tmp_path)
    assert not list(tmp_path.iterdir())
    store_frames("a", views(3), 3, 30, dict(version=1), tmp_path)
    with pytest.raises(KeyboardInterrupt): store_frames("a", stopped(), 9, 30, dict(version=2), tmp_path)
    assert open_store(tmp_path/"a.npy").meta["made_by"] == dict(version=1) and len(list(tmp_path.iterdir())) == 3


def test_bad_video_leaves_nothing(tmp_path):
    clip = write_clip(tmp_path/"a.avi", 40)
    clip.write_bytes(clip.read_bytes()[:clip.stat().st_size//2])
    with pytest.raises(MespotError, match="of 40 frames"): frame_store(clip, folder=tmp_path/"s", progress=False)
    with pytest.raises(MespotError, match="there is no video"): frame_store(tmp_path/"b.avi", folder=tmp_path/"s", progress=False)
    assert not (tmp_path/"s").exists() or not list((tmp_path/"s").iterdir())


def test_ready_made_views(tmp_path):
    made_by = dict(phantom="tiny", seed=(0, 1))
    store = store_frames("p001_1", views(5), 5, 200., made_by, tmp_path)
    assert store.frames[:, 0, 0].tolist() == [0, 1, 2, 3, 4] and store.ok.all() and store.fps == 200
    store_frames("p001_1", (pytest.fail("rendered again") for _ in range(5)), 5, 200., made_by, tmp_path)
    assert store_frames("p001_1", views(6), 6, 200., dict(made_by, seed=(0, 2)), tmp_path).n_frames == 6
    for wrong in (np.zeros((112, 112)), np.zeros((64, 64), np.uint8)):
        with pytest.raises(MespotError, match="frame 0 is"): store_frames("wrong", [wrong], 1, 30, {}, tmp_path)
    for n in (4, 6):
        with pytest.raises(MespotError, match="was to get"): store_frames("count", views(5), n, 30, {}, tmp_path)


def test_many_frames_fit_the_header(tmp_path):
    store = store_frames("long", (np.zeros((112, 112), np.uint8) for _ in range(1234)), 1234, 30, {}, tmp_path)
    assert store.frames.shape == (1234, 112, 112) and store.path.stat().st_size == 128 + 1234*112*112


def test_workers_map_the_file(tmp_path):
    store = store_frames("a", views(50), 50, 30, {}, tmp_path)
    sent = pickle.dumps(store)
    assert len(sent) < 1000 and isinstance(pickle.loads(sent).frames, np.memmap)


def test_two_processes_at_once(tmp_path):
    clip = write_clip(tmp_path/"a.avi", 30)
    code = f"from mespot.data.frames import frame_store; s = frame_store({str(clip)!r}, folder={str(tmp_path/'s')!r}, progress=False); print(s.n_frames, s.frames.sum())"
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [p.communicate()[0] for p in both]
    assert said[0] == said[1] and said[0].startswith("30 ") and [p.returncode for p in both] == [0, 0]
    assert sorted(p.suffix for p in (tmp_path/"s").iterdir()) == [".json", ".npy", ".npy"]


def test_says_what_made_it(tmp_path):
    clip = write_clip(tmp_path/"a.avi")
    meta = json.loads(next(p for p in [frame_store(clip, folder=tmp_path/"s", progress=False).path.with_suffix(".json")]).read_text())
    source = meta["made_by"]["source"]
    assert source["bytes"] == clip.stat().st_size and source["modified"] == clip.stat().st_mtime_ns and source["path"] == str(clip.resolve())
    assert meta["made_by"]["version"] == faces.VERSION and meta["made_by"]["settings"] == dict(fps=None, bridge=.25)
