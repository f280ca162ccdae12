"`mespot spot` on real clips, on a phantom before a camera, and on everything that can be wrong with a video."
import subprocess, sys
import cv2
import numpy as np
import pandas as pd
import pytest
from mespot.core import MespotError
from mespot.data.open_clips import find_clip, open_clips
from mespot.data.phantom import phantom
from mespot.measure.intervals import check_predictions, iou, match
from mespot.spot import apex_of, load_spotter, spot_video

def mespot(*args):
    "Run the command; (exit code, stdout, stderr)."
    r = subprocess.run([sys.executable, "-c", "import sys; from mespot.kit.cli import main; sys.exit(main())", *map(str, args)], capture_output=True, text=True, timeout=300)
    return r.returncode, r.stdout, r.stderr

@pytest.fixture(scope="module")
def clips():
    try: return open_clips()
    except MespotError as e:
        if "could not be fetched" not in str(e): raise
        pytest.skip(f"no package index: {e}")

@pytest.fixture(scope="module")
def cam(): return phantom("tiny", subjects=1, seconds=5., seed=11).camera("p001_1", size=(320, 240))

def write(path, frames, fps=30.):
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, frames.shape[2:0:-1])
    for f in frames: out.write(f[..., ::-1])
    out.release()
    return path

def test_the_smile_of_a_real_person_is_found(clips, tmp_path):
    "Frames 17 to 70 hold one broad smile; at most one other interval may be spotted."
    code, out, err = mespot("spot", clips["single_face.mp4"], "--out", tmp_path)
    assert code == 0, err
    found = check_predictions(pd.read_csv(tmp_path/"predictions.csv", dtype={"video": str, "subject": str}))
    macro = found.loc[found.kind == "macro", ["onset", "offset"]].to_numpy()
    assert iou(macro, [[17, 70]]).max() >= .5 and len(found) <= 2
    assert "1 macro-expression" in out and (tmp_path/"timeline.png").stat().st_size > 20_000
    assert cv2.imread(str(tmp_path/"timeline.png")).shape[1] > 900

def test_a_video_without_a_face_ends_in_a_sentence(clips, tmp_path):
    code, out, err = mespot("spot", clips["no_face.mp4"], "--out", tmp_path)
    assert code == 2 and "no face" in err and err.count("\n") == 1 and "Traceback" not in err + out
    assert not (tmp_path/"predictions.csv").exists()

def test_only_the_part_with_a_face_is_spotted(clips):
    result = spot_video(clips["noface_face.mov"], progress=False)
    ok = result["store"].ok
    assert 0 < ok.sum() < len(ok)
    assert np.isnan(result["scores"][~ok]).all() and np.isfinite(result["scores"][ok]).all()
    for r in result["predictions"].itertuples(): assert ok[r.onset] and ok[r.offset]

@pytest.mark.parametrize("what", ("missing", "text", "truncated", "unreadable", "empty"))
def test_bad_input_is_one_sentence_and_exit_code_2(what, cam, tmp_path):
    path = tmp_path/"video.mp4"
    if what == "text": path.write_text("this is no video\n"*50)
    if what == "truncated":
        whole = write(tmp_path/"whole.mp4", cam.frames(0, 60)).read_bytes()
        path.write_bytes(whole[:len(whole)//2])
    if what in ("unreadable", "empty"):
        path = tmp_path/"images"; path.mkdir()
    if what == "unreadable":
        for i, f in enumerate(cam.frames(0, 4)): cv2.imwrite(str(path/f"img{i+1}.jpg"), f[..., ::-1])
        (path/"img3.jpg").write_bytes(b"not an image")
    code, out, err = mespot("spot", path, "--out", tmp_path/"out")
    assert code == 2 and "Traceback" not in err, err
    said = [l for l in err.splitlines() if l.startswith("mespot:")]
    assert len(said) == 1 and len(said[0]) > 30
    if what == "unreadable": assert "img3.jpg" in said[0]
    assert not (tmp_path/"out"/"predictions.csv").exists()

def test_a_video_shorter_than_the_longest_skip_works(cam, tmp_path):
    result = spot_video(write(tmp_path/"short.mp4", cam.frames(0, 20)), out=tmp_path/"out", progress=False)
    assert result["scores"].shape == (20, 2) and np.isfinite(result["scores"]).all()
    assert any("longest frame skip" in line for line in result["summary"])
    assert (tmp_path/"out"/"timeline.png").exists()

def test_an_image_folder_gives_what_its_video_gives(cam, tmp_path):
    folder = tmp_path/"frames"; folder.mkdir()
    for i, f in enumerate(cam.frames(0, 40)): cv2.imwrite(str(folder/f"img{i+1}.png"), f[..., ::-1])
    scores = spot_video(folder, fps=30., progress=False)["scores"]
    other = spot_video(write(tmp_path/"same.mp4", cam.frames(0, 40)), progress=False)["scores"]
    assert scores.shape == other.shape == (40, 2) and np.abs(scores - other).mean() < .15       # they differ by compression

def test_a_phantom_before_a_camera_is_spotted_through_the_aligner(tmp_path):
    "The whole way from pixels of a moving head: most macro-expressions of three unseen people are found."
    p = phantom("tiny", subjects=3, seconds=14., seed=77, macro_per_minute=8., macro_intensity=(3.5, 4.6))
    hits = total = 0
    for video in p.videos.video:
        found = spot_video(write(tmp_path/f"{video}.mp4", p.camera(video, size=(320, 240)).frames()), progress=False)["predictions"]
        truth = p.annotations[(p.annotations.video == video) & (p.annotations.kind == "macro")][["onset", "offset"]].to_numpy()
        hits += len(match(found.loc[found.kind == "macro", ["onset", "offset"]].to_numpy(), truth, .3)); total += len(truth)
    assert total >= 3 and hits/total >= .5, (hits, total)

def test_the_shipped_weights_say_how_they_were_made():
    model, card = load_spotter()
    assert {"trained_on", "skips", "postprocessing", "frame_auc", "intervals", "command", "lcn"} <= set(card)
    assert card["trained_on"]["phantom"] and "phantom" in card["scores_are"] and not model.training

def test_the_apex_is_where_the_face_differs_most():
    p = phantom("tiny", subjects=1, seed=8)
    frames, row = p.frames("p001_1"), p.annotations.query("kind == 'macro'").iloc[0]
    at = apex_of(frames, row.onset, row.offset, 30.)
    strength = p.script("p001_1")["au"][:, :-2].sum(axis=1)
    assert strength[at] > .7*strength[row.onset:row.offset + 1].max()

def test_a_clip_is_found_by_name_unless_a_file_has_it(tmp_path, monkeypatch, clips):
    assert find_clip("single_face.mp4") == clips["single_face.mp4"]
    monkeypatch.chdir(tmp_path); (tmp_path/"single_face.mp4").write_text("mine")
    assert find_clip("single_face.mp4").read_text() == "mine"
