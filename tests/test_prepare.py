"""Preparing overnight: what happens when a process is killed, a disk is full, a video is broken, a source changes."""
import json, os, resource, shutil, signal, subprocess, sys, time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mespot.core import MespotError
from mespot.data import prepare as module
from mespot.data.export_long import write_samm_lv
from mespot.data.long_videos import read_samm_lv
from mespot.data.phantom import phantom
from mespot.data.prepare import ROW, Preparation, open_prepared, prepare

NONE = Preparation(aligner="none", aus="none")
COMMAND = [sys.executable, "-c", "import sys; from mespot.kit.cli import main; sys.exit(main())", "data", "prepare", "samm-lv"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    "A phantom in SAMM-LV's clothes, eight videos of 4 s, as aligned pictures."
    root = tmp_path_factory.mktemp("samm-lv")
    write_samm_lv(phantom("tiny", subjects=4, videos_per_subject=2, seconds=4.), root, quirks=False, view="aligned")
    return root


@pytest.fixture
def mine(copy, tmp_path):
    "A copy that a test may damage."
    shutil.copytree(copy, tmp_path/"samm-lv")
    return tmp_path/"samm-lv"


def results(folder):
    "Bytes of everything that was made of the videos."
    return {p.relative_to(folder).as_posix(): p.read_bytes() for part in ("frames", "aus") for p in sorted((folder/part).iterdir())}


def start(root, out, *more, **kwargs):
    args = [*COMMAND, "--root", root, "--out", out, *more]
    return subprocess.Popen(list(map(str, args)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)


def run(root, out, *more, **kwargs):
    process = start(root, out, *more, **kwargs)
    out, err = process.communicate(timeout=180)
    return process.returncode, out, err


def children(pid):
    "The processes that `pid` has started."
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for(what, seconds=90):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(.005)
    return found


def test_the_table_and_what_can_be_opened(copy, tmp_path):
    dataset = read_samm_lv(copy)
    table = prepare(dataset, tmp_path, Preparation(aligner="none"), workers=1, progress=False)
    assert list(table.columns) == ROW and (table.status == "made").all() and table.video.tolist() == dataset.videos.video.tolist()
    assert (table.frames == dataset.videos.n_frames).all() and (table.found == table.frames).all() and not table.bridged.any() and not table.left_out.any()
    again = prepare(dataset, tmp_path, Preparation(aligner="none"), workers=1, progress=False)
    assert (again.status == "kept").all()
    opened = open_prepared(tmp_path)
    pd.testing.assert_frame_equal(opened.dataset.annotations, dataset.annotations)
    pd.testing.assert_frame_equal(opened.dataset.videos, dataset.videos)
    assert opened.missing == () and {v: s.n_frames for v, s in opened.stores().items()} == dict(zip(dataset.videos.video, dataset.videos.n_frames))
    aus = opened.aus(dataset.videos.video[0])
    assert len(aus) == dataset.videos.n_frames[0] and aus.AU12_r.between(0, 5).all() and aus.index.name == "frame"


def test_several_processes_make_the_same_bytes_as_one(copy, tmp_path):
    dataset = read_samm_lv(copy)
    prepare(dataset, tmp_path/"one", NONE, workers=1, progress=False)
    prepare(dataset, tmp_path/"two", NONE, workers=2, progress=False)
    assert results(tmp_path/"one") == results(tmp_path/"two")


def test_faces_are_found_before_a_camera_and_changed_settings_are_noticed(tmp_path, monkeypatch):
    write_samm_lv(phantom("tiny", subjects=1, seconds=1.5), tmp_path/"copy", quirks=False, view="camera", size=(320, 240))
    def once(**how): return prepare(read_samm_lv(tmp_path/"copy"), tmp_path/"out", Preparation(aus="none", **how), workers=1, progress=False).iloc[0]
    row = once()
    assert row.status == "made" and row.frames == 45 and row.found + row.bridged + row.left_out == 45 and row.found > 40
    assert once().status == "kept"
    assert once(bridge=.5)[["status", "note"]].tolist() == ["remade", "the settings changed"]
    monkeypatch.setattr("mespot.data.faces.VERSION", 99)
    assert once(bridge=.5)[["status", "note"]].tolist() == ["remade", "the aligner changed"] and once(bridge=.5).status == "kept"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("victim", ["main", "worker"])
def test_killed_in_the_middle_and_resumed_gives_the_same_bytes(copy, tmp_path, victim):
    assert run(copy, tmp_path/"whole", "--aligner", "none", "--workers", "2")[0] == 0
    process = start(copy, tmp_path/"out", "--aligner", "none", "--workers", "2")
    made = lambda: list((tmp_path/"out"/"frames").glob("[!.]*.json"))
    wait_for(made)
    workers = children(process.pid)
    os.kill(process.pid if victim == "main" else next(w for w in workers if b"spawn_main" in Path(f"/proc/{w}/cmdline").read_bytes()), signal.SIGKILL)
    out, err = process.communicate(timeout=180)
    if victim == "main":
        assert process.returncode == -signal.SIGKILL and len(made()) < 8, "it was too quick for this test"
        wait_for(lambda: not any(Path(f"/proc/{w}").exists() for w in workers))      # nobody goes on writing
        for note in made(): assert np.load(note.with_suffix(".npy")).shape == (json.loads(note.read_text())["n_frames"], 112, 112)
        code, out, err = run(copy, tmp_path/"out", "--aligner", "none", "--workers", "2")
        assert code == 0 and "kept" in out and "made" in out
    else: assert process.returncode == 0, out + err                                  # the others went on; this one was tried again
    assert results(tmp_path/"out") == results(tmp_path/"whole")
    assert not [p for p in (tmp_path/"out").rglob(".*.tmp*")]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_interrupted_and_resumed(copy, tmp_path):
    process = start(copy, tmp_path/"out", "--aligner", "none", "--workers", "2")
    wait_for(lambda: list((tmp_path/"out"/"frames").glob("[!.]*.json")))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.strip().endswith("mespot: interrupted") and "Traceback" not in err, err
    assert not [p for p in (tmp_path/"out").rglob(".*.tmp*")]
    code, out, err = run(copy, tmp_path/"out", "--aligner", "none", "--workers", "2")
    assert code == 0 and "kept" in out


def test_a_video_that_kills_its_worker_does_not_stop_the_others(copy, tmp_path, monkeypatch):
    dataset = read_samm_lv(copy)
    (tmp_path/"sitecustomize.py").write_text(f"import mespot.data.video as v, os, signal\nreal = v.read_video\ndef read(path, fps=None):\n"
        f"    if str(path).endswith({dataset.videos.video[2]!r}): os.kill(os.getpid(), signal.SIGKILL)\n    return real(path, fps)\nv.read_video = read\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    table = prepare(dataset, tmp_path/"out", NONE, workers=2, progress=False)
    assert table.status.tolist().count("failed") == 1 and table.status[2] == "failed" and "died" in table.note[2]


def test_a_changed_source_is_noticed(mine, tmp_path):
    dataset, out = read_samm_lv(mine), tmp_path/"out"
    prepare(dataset, out, NONE, workers=1, progress=False)
    picture = sorted(Path(dataset.videos.path[1]).iterdir())[7]
    picture.write_bytes(sorted(Path(dataset.videos.path[1]).iterdir())[50].read_bytes())
    table = prepare(read_samm_lv(mine), out, NONE, workers=1, progress=False)
    assert table.status.tolist() == ["kept", "remade"] + ["kept"]*6 and table.note[1] == "the source changed"
    store = open_prepared(out).store(dataset.videos.video[1])
    assert abs(store.frames[7].astype(int) - store.frames[50]).max() == 0


def test_one_broken_video_does_not_stop_the_others(mine, tmp_path):
    dataset = read_samm_lv(mine)
    broken = sorted(Path(dataset.videos.path[3]).iterdir())[60]
    broken.write_bytes(b"no picture")
    code, out, err = run(mine, tmp_path/"out", "--aligner", "none", "--workers", "2")
    assert code == 1 and "1 of 8 videos failed" in out and "made" in out and "Traceback" not in out + err
    notes = pd.read_csv(tmp_path/"out"/"prepared.csv", dtype=str).set_index("video").note
    assert broken.name in notes[dataset.videos.video[3]]
    opened = open_prepared(tmp_path/"out")
    assert opened.missing == (dataset.videos.video[3],) and set(opened.dataset.annotations.video) <= set(opened.dataset.videos.video)


def limit_files(n_bytes):
    def set_limit(): resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    return set_limit


def test_a_disk_that_fills_up_is_told_and_leaves_nothing_half_written(copy, tmp_path):
    code, out, err = run(copy, tmp_path/"out", "--aligner", "none", "--workers", "1", preexec_fn=limit_files(700_000))     # a store takes 1.5 MB
    assert code == 1 and "8 of 8 videos failed" in out and "Traceback" not in out + err
    assert not list((tmp_path/"out"/"frames").iterdir())
    notes = pd.read_csv(tmp_path/"out"/"prepared.csv", dtype=str).note
    assert notes.str.contains("full|larger than files may be").all(), notes.tolist()
    assert run(copy, tmp_path/"out", "--aligner", "none", "--workers", "2")[0] == 0


def test_a_disk_too_small_is_told_before_the_first_frame(copy, tmp_path):
    disk = tmp_path/"disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True).returncode: pytest.skip("may not mount a file system here")
    try:
        with pytest.raises(MespotError, match=r"needs 12.* MB .* free; free some, or choose a folder on another disk"):
            prepare(read_samm_lv(copy), disk/"out", NONE, workers=1, progress=False)
        assert not list((disk/"out"/"frames").iterdir())
    finally: subprocess.run(["umount", disk], check=True)


def test_too_little_room(copy, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(MespotError, match="preparing needs .* and 1.0 MB are free"): prepare(read_samm_lv(copy), tmp_path, NONE, workers=1, progress=False)


def test_a_folder_that_may_not_be_written_to(copy, tmp_path):
    dataset, locked = read_samm_lv(copy), tmp_path/"locked"
    locked.mkdir(mode=0o555)
    root = os.geteuid() == 0                                          # root may write anywhere: become somebody else for a moment
    for p in (*tmp_path.parents[:3], tmp_path): p.chmod(0o755)
    try:
        if root: os.seteuid(65534)
        with pytest.raises(MespotError, match="locked/out cannot be written to .*Permission denied"): prepare(dataset, locked/"out", NONE, workers=1, progress=False)
    finally:
        if root: os.seteuid(0)


def test_what_cannot_be_prepared(tmp_path):
    ph = phantom("tiny", subjects=2)
    dataset = module.DataSet("x", ph.videos, ph.annotations, pd.DataFrame())
    with pytest.raises(MespotError, match="needs no preparation"): prepare(dataset, tmp_path, NONE)
    named = module.DataSet("x", ph.videos.assign(video=["a/b", "c"], path="p"), ph.annotations, pd.DataFrame())
    with pytest.raises(MespotError, match="a/b cannot name files"): prepare(named, tmp_path, NONE)
    with pytest.raises(MespotError, match="choose meter, openface or none"): Preparation(aus="guess")
    with pytest.raises(MespotError, match="there is no prepared data set"): open_prepared(tmp_path)


def test_action_units_of_openface_must_fit(copy, tmp_path):
    dataset = read_samm_lv(copy)
    (tmp_path/"openface").mkdir()
    ph = phantom("tiny", subjects=4, videos_per_subject=2, seconds=4.)
    faults = dict(zip(dataset.videos.video, ["good", "short", "no AU12_r", "NaN", *["absent"]*4]))
    for (video, fault), source in zip(faults.items(), ph.videos.video):
        table = ph.au_table(source).reset_index().assign(frame=range(1, 121), timestamp=0.)
        if fault == "short": table = table[:100]
        if fault == "no AU12_r": table = table.drop(columns="AU12_r")
        if fault == "NaN": table.loc[5, "AU12_r"] = np.nan
        if fault != "absent": table.to_csv(tmp_path/"openface"/f"{video}.csv", index=False)
    how = Preparation(aligner="none", aus="openface", openface=str(tmp_path/"openface"))
    told = prepare(dataset, tmp_path/"out", how, workers=1, progress=False).set_index("video")
    fate = {fault: told.loc[video] for video, fault in faults.items()}
    assert fate["good"].status == "made" and fate["NaN"].status == "made"
    assert "100" in fate["short"].note and "120" in fate["short"].note and "AU12_r" in fate["no AU12_r"].note and "run OpenFace" in fate["absent"].note
    assert open_prepared(tmp_path/"out").aus(next(v for v, f in faults.items() if f == "NaN")).AU12_r.isna().sum() == 1
