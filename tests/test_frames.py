import errno
import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, strategies as st
from skimage import data

import openface_output
from mespot.core import MespotError, atomic_path
from mespot.data import faces, frames
from mespot.data.frames import _build, frame_store, missing_runs, ok_mask, open_store, store_frames, sweep

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
    for side in (112, 160):                                           # a store of one side takes no view of another
        with pytest.raises(MespotError, match="frame 1 is"):
            store_frames("wrong", [np.zeros((160, 160), np.uint8), np.zeros((112, 112), np.uint8)][::1 if side == 160 else -1], 2, 30, {}, tmp_path, side=side)
    for n in (4, 6):
        with pytest.raises(MespotError, match="was to get"): store_frames("count", views(5), n, 30, {}, tmp_path)


@pytest.mark.parametrize("side", [112, 160])
def test_many_frames_fit_the_header(tmp_path, side):
    store = store_frames("long", (np.full((side, side), i % 251, np.uint8) for i in range(1234)), 1234, 30, {}, tmp_path, side=side)
    assert store.frames.shape == (1234, side, side) and store.path.stat().st_size == 128 + 1234*side*side
    assert (open_store(store.path).frames[:, -1, -1] == np.arange(1234) % 251).all()


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


# other aligners

def aligned_images(folder, n=6):
    folder.mkdir()
    for i in range(n): cv2.imwrite(str(folder/f"img{i + 1}.png"), np.full((112, 112), 20*i, np.uint8))
    return folder


@pytest.mark.filterwarnings("ignore:dlib's 68-point model")
def test_landmarks_lie_beside_the_store(tmp_path):
    clip = write_clip(tmp_path/"a.avi", 8, gap=[3])
    store = frame_store(clip, folder=tmp_path/"s", progress=False, aligner="dlib68", boxes=1)
    assert store.landmarks.shape == (8, 68, 2) and store.landmarks.dtype == np.float32 and isinstance(store.landmarks, np.memmap)
    assert np.flatnonzero(np.isnan(store.landmarks).any((1, 2))).tolist() == [3] == np.flatnonzero(~store.ok).tolist()
    assert np.abs(store.landmarks[0, 36:48].mean(0) - (56, 31)).max() < 2 and store.map is None
    assert store.meta["made_by"]["aligner"] == "dlib68" and store.meta["made_by"]["settings"] == dict(fps=None, bridge=.25, boxes=1)
    assert pickle.loads(pickle.dumps(store)).landmarks is not None
    (store.path.with_name(store.path.stem + ".landmarks.npy")).unlink()
    with pytest.raises(MespotError, match="make it again"): open_store(store.path)
    two = frame_store(clip, folder=tmp_path/"s", progress=False, aligner="dlib68", boxes=2)
    assert not np.array_equal(two.landmarks[0], store.landmarks[0])
    plain = frame_store(clip, folder=tmp_path/"s", progress=False)                        # the same name, another aligner
    assert plain.landmarks is None and plain.meta["made_by"]["aligner"] == "opencv" and len(list((tmp_path/"s").iterdir())) == 3


def test_landmarks_that_begin_late(tmp_path):
    def rows():
        for i in range(5): yield np.full((112, 112), i, np.uint8), np.eye(2, 3), i > 1, np.full((68, 2), i) if i > 1 else None
    _build(tmp_path/"a.npy", rows(), 30, {})
    store = open_store(tmp_path/"a.npy")
    assert store.landmarks[:, 5, 0].tolist()[2:] == [2, 3, 4] and np.isnan(store.landmarks[:2]).all() and store.frames[:, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_ready_made_pictures(tmp_path):
    clip = aligned_images(tmp_path/"clip", 12)
    store = frame_store(clip, 25, folder=tmp_path/"s", progress=False, aligner="none", name="006_1")
    assert store.path == tmp_path/"s"/"006_1.npy" and store.frames[:, 0, 0].tolist() == [20*i for i in range(12)] and store.ok.all()
    assert store.meta["made_by"]["settings"] == dict(fps=25) and store.landmarks is None
    frame_store(write_clip(tmp_path/"a.avi", 3), folder=tmp_path/"s", progress=False, name="006_2")
    assert sorted(p.name for p in (tmp_path/"s").glob("*.json")) == ["006_1.json", "006_2.json"]
    with pytest.raises(MespotError, match="frame 0 of .*a.avi is 320x240 pixels"): frame_store(tmp_path/"a.avi", folder=tmp_path/"s", progress=False, aligner="none")
    with pytest.raises(MespotError, match="no aligner 'mtcnn'"): frame_store(clip, aligner="mtcnn")
    with pytest.raises(MespotError, match="none has no setting boxes"): frame_store(clip, aligner="none", boxes=3)


def test_openface_store_keeps_the_map(tmp_path):
    (tmp_path/"clip").mkdir()
    for i in range(4): cv2.imwrite(str(tmp_path/"clip"/f"img{i:03}.png"), openface_output.source(i)[..., ::-1])
    csv = openface_output.write_output(tmp_path/"of", "006_1", range(4), lost=[1])
    def make(): return frame_store(tmp_path/"clip", 25, folder=tmp_path/"s", progress=False, aligner="openface", name="006_1", output=tmp_path/"of")
    store = make()
    assert store.ok.tolist() == [True, False, True, True] and store.frames[3, 3, 3] == openface_output.mark(3) and np.isnan(store.landmarks[1]).all()
    assert sorted(p.name for p in (tmp_path/"s").iterdir()) == ["006_1.json", "006_1.landmarks.npy", "006_1.map.csv", "006_1.npy", "006_1.transforms.npy"]
    assert store.map.frame.tolist() == [0, 1, 2, 3] and store.map.row.tolist() == [2, 3, 4, 5] and store.map.success.tolist() == [True, False, True, True]
    assert store.map.file[2] == "frame_det_00_000003.bmp" and store.map.image[2] == "img002.png"
    made = store.path.stat().st_mtime_ns
    assert make().path.stat().st_mtime_ns == made
    os.utime(csv, ns=(10**18, 10**18))                                # measured again
    assert make().path.stat().st_mtime_ns != made
    store_frames("006_1", views(4), 4, 25, {}, tmp_path/"s")
    assert sorted(p.suffix for p in (tmp_path/"s").iterdir()) == [".json", ".npy", ".npy"]


def test_ticks_add_up(tmp_path):
    clip, ticks = aligned_images(tmp_path/"clip", 9), []
    for _ in range(2):                                                # made, then kept
        ticks.clear()
        frame_store(clip, 25, folder=tmp_path/"s", progress=False, aligner="none", tick=ticks.append)
        assert sum(ticks) == 9


# what can go wrong

def fork(job):
    "Run `job` in a copy of this process; how it ended."
    if pid := os.fork(): return os.waitpid(pid, 0)[1]
    try: job()
    finally: os._exit(0)


def test_killed_at_any_moment(tmp_path):
    "Whenever a process is killed while it replaces a store, what can be opened is all old or all new."
    def shades(grey): return (np.full((112, 112), grey, np.uint8) for _ in range(3))
    def replace(kill_at):
        calls = 0
        def dying(real):
            def call(*args, **kwargs):
                nonlocal calls
                calls += 1
                if calls == kill_at: os.kill(os.getpid(), signal.SIGKILL)
                return real(*args, **kwargs)
            return call
        frames.os.replace = dying(os.replace)
        type(tmp_path).unlink = dying(type(tmp_path).unlink)
        store_frames("a", shades(9), 3, 30, dict(version=9), tmp_path)
    seen, at, ended = set(), 0, signal.SIGKILL
    while ended:
        store_frames("a", shades(1), 3, 30, dict(version=1), tmp_path)
        at += 1
        ended = fork(lambda: replace(at))
        try: store = open_store(tmp_path/"a.npy")
        except MespotError: seen.add(None)
        else:
            version = store.meta["made_by"]["version"]
            assert (store.frames == version).all()
            seen.add(version)
        assert sweep(tmp_path) if ended else not sweep(tmp_path)
        assert all(p.name.startswith("a.") for p in tmp_path.iterdir())
    assert at > 4 and seen == {None, 1, 9}


def test_another_process_was_faster(tmp_path):
    def rows():
        for view in views(3): yield view, np.eye(2, 3), True, None
        assert fork(lambda: store_frames("a", views(3), 3, 30, dict(a=1), tmp_path)) == 0     # meanwhile
        made.append((tmp_path/"a.npy").stat().st_ino)
    made = []
    _build(tmp_path/"a.npy", rows(), 30, dict(a=1))
    assert (tmp_path/"a.npy").stat().st_ino == made[0] and open_store(tmp_path/"a.npy").n_frames == 3


def test_file_size_limit(tmp_path):
    def job():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try: store_frames("a", views(30), 30, 30, {}, tmp_path/"s")
        except MespotError as e: (tmp_path/"said").write_text(str(e))
    assert fork(job) == 0
    assert f"the frame store {tmp_path}/s/a.npy cannot be written: it is larger than files may be here" in (tmp_path/"said").read_text()
    assert not list((tmp_path/"s").iterdir())
    assert store_frames("a", views(30), 30, 30, {}, tmp_path/"s").n_frames == 30


@pytest.mark.parametrize("number, remedy", [(errno.ENOSPC, "the disk is full; free some space"), (errno.EDQUOT, "your quota is used up"),
                                            (errno.EACCES, "no permission to write"), (errno.EROFS, "read-only"), (errno.EIO, os.strerror(errno.EIO))])
def test_trouble_with_the_disk(tmp_path, monkeypatch, number, remedy):
    store_frames("a", views(3), 3, 30, dict(version=1), tmp_path)
    def fail(*args, **kwargs): raise OSError(number, os.strerror(number))
    with monkeypatch.context() as m:
        m.setattr(np.lib.format, "write_array_header_1_0", fail)
        with pytest.raises(MespotError, match=rf"the frame store .*a\.npy cannot be written: .*{remedy}.*run it again"): store_frames("a", views(3), 3, 30, {}, tmp_path)
    assert open_store(tmp_path/"a.npy").meta["made_by"] == dict(version=1) and len(list(tmp_path.iterdir())) == 3


def test_no_folder_to_write_to(tmp_path):
    (tmp_path/"file").write_text("")
    with pytest.raises(MespotError, match="cannot be written"): store_frames("a", views(3), 3, 30, {}, tmp_path/"file"/"s")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(MespotError, match="no permission to write"): store_frames("a", views(3), 3, 30, {}, tmp_path)


def test_trouble_with_reading_is_told_as_such(tmp_path):
    def broken():
        yield from views(2)
        open(tmp_path/"img3.jpg")
    with pytest.raises(MespotError, match="img3.jpg cannot be read: No such file"): store_frames("a", broken(), 3, 30, {}, tmp_path)


def test_sweep(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path/f".b.{gone.pid}.tmp").mkdir()
    (tmp_path/f".b.{gone.pid}.tmp"/"b.npy").write_text("half")
    left = {f".a.transforms.{gone.pid}.tmp.npy", f".b.{gone.pid}.tmp"}
    kept = {f".c.{os.getpid()}.tmp.npy", ".hidden", "d.npy", f"e.{gone.pid}.tmp.npy", ".f.tmp.npy", f".g.{gone.pid}.tmpx"}
    for name in kept | {f".a.transforms.{gone.pid}.tmp.npy"}: (tmp_path/name).touch()
    with atomic_path(tmp_path/"mine.csv") as mine:
        mine.touch()
        assert {p.name for p in sweep(tmp_path)} == left
    assert {p.name for p in tmp_path.iterdir()} == kept | {"mine.csv"} and not sweep(tmp_path)


def test_memory_does_not_grow_with_the_video(tmp_path):
    points = np.zeros((68, 2), np.float32)
    def peak(n):
        tracemalloc.start()
        _build(tmp_path/f"{n}.npy", ((np.zeros((112, 112), np.uint8), np.eye(2, 3), True, points) for _ in range(n)), 200, {})
        try: return tracemalloc.get_traced_memory()[1]
        finally: tracemalloc.stop()
    peak(10)
    assert peak(3000) - peak(300) < 2700*48                           # bytes: a frame is 12,544, its landmarks 544
