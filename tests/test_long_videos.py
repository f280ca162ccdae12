"""The readers of the long-video sets: phantoms in their clothes come back as they were, and every known trap has a test of its own."""
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from pandas.testing import assert_frame_equal

from mespot.core import MespotError
from mespot.data import export_long, long_videos as module, tables
from mespot.data.export import write_workbook
from mespot.data.export_long import CAS_ME2_ACCIDENTS, SAMM_LV_ACCIDENTS, SAMM_LV_COLUMNS, write_cas_me2, write_samm_lv
from mespot.data.long_videos import (read_cas_me2, read_cas_me3, read_megc_unseen, read_samm_lv, read_samm_synth, read_submission, write_submission)
from mespot.data.phantom import phantom
from mespot.data.tables import read_sheet
from mespot.data.video import read_image
from mespot.measure.intervals import check_annotations, check_predictions, check_videos

PH = phantom("tiny", 2, subjects=3, videos_per_subject=2, seconds=8.)


def same(found, wanted):
    for table in ("videos", "annotations", "repairs"): assert_frame_equal(getattr(found, table), getattr(wanted, table))
    assert found.name == wanted.name
    assert_frame_equal(check_videos(found.videos), found.videos)
    assert_frame_equal(check_annotations(found.annotations, found.videos), found.annotations)


def touch(folder, names):
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in names: (Path(folder)/name).touch()


def place(data): return [tuple(None if pd.isna(v) else int(v) for v in row) for row in data.annotations[["onset", "apex", "offset"]].itertuples(index=False)]
def whys(data): return data.repairs.why.tolist()


# ---------------------------------------------------------------- phantoms in foreign clothes

def empty_pictures(ph, jobs, *how):
    "In place of `write_frames`: readers look at names only, and rendering takes long."
    for *_, paths in jobs: touch(paths[0].parent, [p.name for p in paths])


def written(write, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_long, "write_frames", empty_pictures)
        return folder, write(PH, folder)


@pytest.fixture(scope="module")
def samm(tmp_path_factory): return written(write_samm_lv, tmp_path_factory.mktemp("samm"))


@pytest.fixture(scope="module")
def cas(tmp_path_factory): return written(write_cas_me2, tmp_path_factory.mktemp("cas"))


def test_samm_lv_round_trip(samm):
    folder, wanted = samm
    same(read_samm_lv(folder, fps=30.), wanted)
    planted = {why for name in SAMM_LV_ACCIDENTS for why in [SAMM_LV_ACCIDENTS[name](dict(onset=9, apex=10, offset=11, n_frames=12))[2][0]]}
    assert set(wanted.repairs.why) == planted | {"older version: not used", "no such video: row left out"}
    assert wanted.annotations.emotion.isna().all() and set(wanted.videos.video) == {f"00{s}_{v}" for s in (6, 7, 8) for v in (1, 2)}


def test_samm_lv_says_what_is_true_of_the_phantom(samm):
    found = read_samm_lv(samm[0]).annotations
    assert (found.fps == 200).all()                                   # what the set has, whatever the phantom's rate
    true = PH.annotations
    assert found.kind.tolist() == true.kind.tolist() and found.aus.tolist() == true.aus.tolist()
    assert found.video.tolist() == [f"{int(v[1:4]) + 5:03d}_{v[-1]}" for v in true.video]
    assert (found.onset != true.onset).sum() == (found.offset != true.offset).sum() == 1        # begins at 0, ends past the end
    assert (found.apex != true.apex).sum() == 0 and found.apex.isna().sum() == 1


def test_at_its_own_rate_and_without_quirks(tmp_path):
    ph = phantom("tiny", 3, subjects=1, seconds=2.5, fps=200.)
    wanted = write_samm_lv(ph, tmp_path, quirks=False, view="aligned")
    found = read_samm_lv(tmp_path)
    same(found, wanted)
    assert not len(found.repairs) and (found.videos.fps == 200).all() and len(list(tmp_path.glob("*.xlsx"))) == 1
    assert place(found) == [tuple(r) for r in ph.annotations[["onset", "apex", "offset"]].astype(int).itertuples(index=False)] and len(found.annotations)


def test_cas_me2_round_trip(cas):
    folder, wanted = cas
    same(read_cas_me2(folder), wanted)
    planted = {a(dict(onset=9, apex=10, offset=11, n_frames=12, emotion="happiness"))[2][0] for a in CAS_ME2_ACCIDENTS.values()}
    assert set(wanted.repairs.why) == planted | {"no such video: row left out", "folder named for another subject: the one above believed"}
    assert wanted.annotations.emotion.tolist() == PH.annotations.emotion.tolist() == wanted.annotations.self_report.tolist()
    assert wanted.annotations.onset.tolist() == PH.annotations.onset.tolist() and wanted.videos.subject.unique().tolist() == ["s15", "s16", "s19"]


def test_cas_me2_cropped_and_without_quirks(tmp_path):
    ph = phantom("tiny", subjects=2, seconds=5.)
    wanted = write_cas_me2(ph, tmp_path, quirks=False, view="aligned", cropped=True)
    found = read_cas_me2(tmp_path, cropped=True)
    same(found, wanted)
    assert not len(found.repairs) and Path(found.videos.path[0], "img_9.jpg").exists()
    with pytest.raises(MespotError, match="holds no folders of frames such as rawpic"): read_cas_me2(tmp_path, cropped=False)
    found = read_cas_me2(tmp_path)
    assert whys(found) == ["no recorded pictures: the cut faces taken"]
    assert_frame_equal(found.annotations, wanted.annotations)


def test_pictures_are_the_phantoms(tmp_path):
    ph = phantom("tiny", subjects=1, videos_per_subject=2, seconds=1.)
    folders = write_samm_lv(ph, tmp_path/"a", view="aligned").videos.path, write_cas_me2(ph, tmp_path/"b", view="aligned").videos.path
    for source, grey, colour, digits in zip(ph.videos.video, *folders, (4, 5)):
        for n in (1, 20):
            pictures = read_image(Path(grey)/f"{Path(grey).name}_{n:0{digits}d}.jpg"), read_image(Path(colour)/f"img{n:03d}.jpg")
            for picture in pictures: assert np.abs(picture.astype(int) - ph.frames(source, n - 1, n)[0][..., None]).mean() < 3
    channels = [data[data.index(b"\xff\xc0") + 9] for data in ((Path(f[0])/name).read_bytes() for f, name in zip(folders, ("006_1_0001.jpg", "img001.jpg")))]
    assert channels == [1, 3] and len(list(tmp_path.rglob("*.jpg"))) == 4*30


def test_camera_view(tmp_path):
    data = write_samm_lv(phantom("tiny", subjects=1, seconds=.1), tmp_path, size=(160, 120))
    assert read_image(Path(data.videos.path[0])/"006_1_0002.jpg").shape == (120, 160, 3) and data.videos.n_frames.tolist() == [3]


def test_writers_repeat_themselves(samm, tmp_path):
    again, book = written(write_samm_lv, tmp_path)[1], "SAMM_LongVideos_V3_Release.xlsx"
    sheet = read_sheet(samm[0]/book)
    assert_frame_equal(read_sheet(tmp_path/book), sheet)
    assert_frame_equal(again.repairs, samm[1].repairs)
    assert sheet.loc[10].tolist() == SAMM_LV_COLUMNS and sheet.loc[11, 7].strip() in ("Macro", "Micro - 1/2")
    assert any(isinstance(v, str) for v in sheet.loc[11:, 3]) and sheet.loc[11:, 1].str.strip().duplicated().any()


def test_a_phantom_with_next_to_nothing(tmp_path):
    for seconds in (.5, 2.):                                          # no expression, then hardly one
        ph = phantom("tiny", subjects=1, seconds=seconds)
        for i, (write, read) in enumerate([(write_samm_lv, read_samm_lv), (write_cas_me2, read_cas_me2)]):
            folder = tmp_path/f"{seconds}-{i}"
            wanted = write(ph, folder, view="aligned")
            same(read(folder, fps=30.), wanted)
    with pytest.raises(MespotError, match="no view 'sideways'"): write_samm_lv(ph, tmp_path/"x", view="sideways")
    with pytest.raises(MespotError, match="9 films"): write_cas_me2(phantom("tiny", videos_per_subject=10), tmp_path/"x")


def test_people_beyond_the_real_sets(tmp_path, monkeypatch):
    monkeypatch.setattr(export_long, "write_frames", empty_pictures)
    ph = phantom("tiny", subjects=32, seconds=.1)
    wanted = write_cas_me2(ph, tmp_path/"a")
    assert wanted.videos.subject.tolist()[20:23] == ["s38", "s40", "s41"]
    same(read_cas_me2(tmp_path/"a"), wanted)
    wanted = write_samm_lv(ph, tmp_path/"b")
    assert wanted.videos.subject.iloc[-1] == "037"
    same(read_samm_lv(tmp_path/"b", 30.), wanted)


# ---------------------------------------------------------------- SAMM-LV, trap by trap

HEAD = dict(zip(SAMM_LV_COLUMNS, range(10)))


def samm_row(name="006_1_1", onset=11, apex=20, offset=30, kind="Micro - 1/2", aus="4", subject=6, duration=None):
    return [subject, name, 1, onset, apex, offset, offset - onset + 1 if duration is None else duration, kind, aus, None]


def write_samm(root, *rows, images=50, legend=9, head=SAMM_LV_COLUMNS, name="SAMM_LongVideos_V2_Release.xlsx", sheet="FACS_Movement_Only"):
    "A SAMM-LV by hand: the rows, and video 006_1 with so many images, or with those images."
    write_workbook(Path(root)/name, {"Readme": [["see the other sheet"]], sheet: [*[["legend"]]*legend, head, *rows]})
    if images: touch(Path(root)/"SAMM_longvideos"/"006_1", [f"006_1_{n:04d}.jpg" for n in range(1, images + 1)] if isinstance(images, int) else images)
    return root


@pytest.mark.parametrize("cells, where, why", [
    (dict(onset=10.4), (9, 19, 29), "onset is no whole number: rounded"),
    (dict(onset=10.5), (10, 19, 29), "onset is no whole number: rounded"),
    (dict(onset=10.6), (10, 19, 29), "onset is no whole number: rounded"),
    (dict(apex=19.6), (10, 19, 29), "apex is no whole number: rounded"),
    (dict(apex=-1), (10, None, 29), "no apex: missing"),
    (dict(onset=0), (0, 19, 29), "onset before the first frame: clipped"),
    (dict(offset=5476), (10, 19, 49), "offset past the last frame: clipped"),
    (dict(apex=31), (10, None, 29), "apex outside onset to offset: missing"),
    (dict(kind="Masked"), None, "neither micro nor macro: row left out"),
    (dict(duration=99), (10, 19, 29), "duration is not offset - onset + 1: not used"),
    (dict(subject=7), (10, 19, 29), "subject and file name disagree: the name taken"),
    (dict(name="006_9_1"), None, "no such video: row left out"),
    (dict(offset=9, duration=-1), None, "offset before onset: row left out"),
    (dict(onset=60, apex=70, offset=80), None, "past the last frame: row left out")])
def test_samm_lv_accident(tmp_path, cells, where, why):
    found = read_samm_lv(write_samm(tmp_path, samm_row(**cells)))
    assert place(found) == ([] if where is None else [where]) and whys(found) == [why]
    repair, (column, was) = found.repairs.iloc[0], list(cells.items())[0]
    assert (repair.file, repair.row) == ("SAMM_LongVideos_V2_Release.xlsx", 11) and repair.subject == "006"
    if why.endswith(("rounded", "clipped", "missing")): assert (repair.column, repair.was) == (column, str(was))


@pytest.mark.parametrize("row", [samm_row(onset="11", apex=" 20 ", offset="30", duration=20), samm_row(name=" 006_1_1 ", kind=" micro - 1/2"), samm_row(subject="006"),
                                 samm_row(onset=11.0), samm_row(name="6_1_1"), samm_row(duration=""), samm_row(duration=20.4)])
def test_samm_lv_untidy_cells_need_no_repair(tmp_path, row):
    found = read_samm_lv(write_samm(tmp_path, row))
    assert place(found) == [(10, 19, 29)] and whys(found) == [] and found.annotations.kind.tolist() == ["micro"] and found.annotations.subject.tolist() == ["006"]


def test_samm_lv_filename_is_no_key(tmp_path):
    found = read_samm_lv(write_samm(tmp_path, samm_row(), samm_row(onset=5, offset=45, kind="Macro", aus="R12+6")))
    assert found.annotations.kind.tolist() == ["micro", "macro"] and found.annotations.aus.tolist() == ["4", "R12+6"] and not len(found.repairs)


def test_samm_lv_what_is_below_the_table(tmp_path):
    rows = [samm_row(), [None]*10, [" "], ["* videos are at 200 fps"], samm_row(onset=31, apex=35, offset=40)]
    found = read_samm_lv(write_samm(tmp_path, *rows))
    assert len(found.annotations) == 2 and whys(found) == ["not an annotation: row left out"]
    assert found.repairs.was[0] == "* videos are at 200 fps" and found.repairs.row[0] == 14


def test_samm_lv_other_legend_and_columns(tmp_path):
    head = ["Action  units", "subject ", "Filename", "Onset", "Apex", "Offset", "TYPE"]
    found = read_samm_lv(write_samm(tmp_path, ["12", 6, "006_1_1", 11, 20, 30, "Macro"], legend=3, head=head))
    assert place(found) == [(10, 19, 29)] and found.annotations.aus.tolist() == ["12"] and not len(found.repairs)


def test_samm_lv_padding_differs(tmp_path):
    images = [f"006_1_{n}.jpg" for n in ("00009", "00010", "00100")] + ["readme.txt", "._006_1_00001.jpg"]
    touch(write_samm(tmp_path, samm_row(onset=9, apex=10, offset=100), images=images)/"SAMM_longvideos"/"006_2", [f"006_2_{n:04d}.jpg" for n in (1, 2, 10_000)])
    found = read_samm_lv(tmp_path)
    assert place(found) == [(0, 1, 2)] and found.videos.n_frames.tolist() == [3, 3]


def test_samm_lv_missing_and_double_numbers(tmp_path):
    names = [f"006_1_{n:04d}.jpg" for n in (1, 2, 3, 5, 6, 10)]
    found = read_samm_lv(write_samm(tmp_path, samm_row(onset=2, apex=5, offset=10), samm_row(onset=3, apex=4, offset=6), images=names))
    assert place(found) == [(1, 3, 5), (2, 3, 4)] and found.videos.n_frames.tolist() == [6]
    assert whys(found) == ["numbers missing between frames: counted as they are", "the apex's image is missing: its neighbour taken"]
    assert found.repairs[["video", "was", "now"]].values.tolist()[0] == ["006_1", "4, first 4", "6 frames"]
    touch(tmp_path/"SAMM_longvideos"/"006_1", ["006_1_00002.jpg"])
    assert "frames of the same number: all kept" in whys(read_samm_lv(tmp_path))


def test_samm_lv_videos_of_all_sorts(tmp_path):
    write_samm(tmp_path, samm_row(), samm_row("007_3_1", subject=7), samm_row("006_10_1"))
    touch(tmp_path/"SAMM_longvideos"/"007_3", ["notes.txt"])
    touch(tmp_path/"SAMM_longvideos"/"006_10", ["006_10_0001.jpg"]*1)
    touch(tmp_path/"SAMM_longvideos"/"006_2", ["006_2_1.jpg", "006_2_2.jpg"])                        # not annotated
    touch(tmp_path/"SAMM_longvideos"/"thumbs", ["1.jpg"])
    found = read_samm_lv(tmp_path)
    assert found.videos.video.tolist() == ["006_1", "006_2", "006_10"] and found.annotations.video.tolist() == ["006_1"]
    assert whys(found) == ["folder without images: left out", "no such video: row left out", "past the last frame: row left out"]
    assert found.repairs.video.tolist() == ["007_3", "007_3", "006_10"] and Path(found.videos.path[1]) == tmp_path/"SAMM_longvideos"/"006_2"


def test_samm_lv_newest_version(tmp_path):
    write_samm(tmp_path, samm_row(onset=1))
    write_samm(tmp_path, samm_row(), images=0, name="SAMM_LongVideos_V10_Release.xlsx")
    (tmp_path/"~$SAMM_LongVideos_V11_Release.xlsx").write_bytes(b"locked")
    found = read_samm_lv(tmp_path)
    assert place(found) == [(10, 19, 29)] and whys(found) == ["older version: not used"]
    assert found.repairs[["file", "was", "now"]].values.tolist() == [["SAMM_LongVideos_V10_Release.xlsx", "SAMM_LongVideos_V2_Release.xlsx", "SAMM_LongVideos_V10_Release.xlsx"]]


def test_samm_lv_wherever_it_lies(tmp_path):
    write_samm(tmp_path/"a"/"labels", samm_row(), images=0)
    touch(tmp_path/"a"/"data"/"SAMM_longvideos"/"006_1", [f"006_1_{n:05d}.JPG" for n in range(1, 41)])
    touch(tmp_path/"a"/"data"/"SAMM_longvideos_crop"/"006_1", [f"006_1_{n:04d}.jpg" for n in range(1, 21)])
    found = read_samm_lv(tmp_path/"a")                                # the folder of the release is preferred
    assert found.videos.n_frames.tolist() == [40]
    same(read_samm_lv(str(tmp_path/"a")), found)
    (tmp_path/"a"/"data"/"SAMM_longvideos").rename(tmp_path/"a"/"data"/"copy")
    with pytest.raises(MespotError, match="006_1 is there twice"): read_samm_lv(tmp_path/"a")
    shutil.rmtree(tmp_path/"a"/"data"/"copy")
    assert read_samm_lv(tmp_path/"a").videos.n_frames.tolist() == [20]


@pytest.mark.parametrize("damage, what", [
    (lambda d: shutil.rmtree(d), "there is no folder"),
    (lambda d: (d/"SAMM_LongVideos_V2_Release.xlsx").unlink(), "holds no SAMM_LongVideos_V\\*_Release.xlsx"),
    (lambda d: (d/"SAMM_LongVideos_V2_Release.xlsx").write_text("<html><body>Log in first</body></html>"), "is an HTML page"),
    (lambda d: (d/"SAMM_LongVideos_V2_Release.xlsx").write_bytes(b"PK\x03\x04 and nothing more"), "is damaged"),
    (lambda d: write_samm(d, samm_row(), sheet="Sheet1"), "has no sheet 'FACS_Movement_Only'; it has: Readme, Sheet1"),
    (lambda d: write_samm(d, samm_row(), head=[c.replace("Offset", "End") for c in SAMM_LV_COLUMNS]), "sheet FACS_Movement_Only, has no header row with .*Offset"),
    (lambda d: shutil.rmtree(d/"SAMM_longvideos"), "holds no folders of frames such as SAMM_longvideos/006_1")])
def test_samm_lv_cannot_be_read(tmp_path, damage, what):
    damage(write_samm(tmp_path/"copy", samm_row()))
    with pytest.raises(MespotError, match=what): read_samm_lv(tmp_path/"copy")


def test_samm_lv_two_workbooks(tmp_path):
    for name in "ab": write_samm(tmp_path/name, samm_row(), images=0)
    touch(tmp_path/"SAMM_longvideos"/"006_1", ["006_1_0001.jpg"])
    with pytest.raises(MespotError, match="a/SAMM_LongVideos_V2_Release.xlsx and b/SAMM_LongVideos_V2_Release.xlsx"): read_samm_lv(tmp_path)


def test_samm_synth(tmp_path):
    write_samm(tmp_path/"SAMM-LV", samm_row(onset=10.4))
    touch(tmp_path/"SYNTH"/"006_1", [f"006_1_{n:04d}.png" for n in range(1, 51)])
    for annotations in (tmp_path/"SAMM-LV", tmp_path/"SAMM-LV"/"SAMM_LongVideos_V2_Release.xlsx"):
        found = read_samm_synth(tmp_path/"SYNTH", annotations)
        assert found.name == "samm-synth" and place(found) == [(9, 19, 29)] and Path(found.videos.path[0]).parent.name == "SYNTH"
    with pytest.raises(MespotError, match="holds no SAMM_LongVideos"): read_samm_synth(tmp_path/"SYNTH")


def test_each_folder_of_frames_is_listed_once(tmp_path, monkeypatch):
    for video in range(1, 5): touch(tmp_path/"SAMM_longvideos"/f"006_{video}", [f"006_{video}_{n:04d}.jpg" for n in range(1, 300)])
    write_samm(tmp_path, samm_row(), images=0)
    listed, real = Counter(), tables.scandir
    def counting(folder):
        listed[Path(folder)] += 1
        return real(folder)
    for m in (tables, module): monkeypatch.setattr(m, "scandir", counting)
    monkeypatch.setattr(Path, "stat", lambda *a, **k: pytest.fail("a file was asked for its properties") if a[0].suffix == ".jpg" else __import__("os").stat(a[0]))
    assert len(read_samm_lv(tmp_path).videos) == 4
    assert all(n == 1 for folder, n in listed.items() if folder.name.startswith("006")) and len(listed) == 6
    assert len(module._listed(tmp_path/"SAMM_longvideos"/"006_1")[1]) < 150      # a folder of frames that is not looked for is soon left


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_intervals_and_paddings_survive(tmp_path_factory, data):
    root, rows, wanted = tmp_path_factory.mktemp("any"), [], []
    for video in ("006_1", "021_7"):
        n, digits, first = (data.draw(st.integers(a, b)) for a, b in ((2, 30), (1, 6), (0, 1200)))
        touch(root/video, [f"{video}_{i:0{digits}d}.jpg" for i in range(first, first + n)])
        for onset, apex, offset in data.draw(st.lists(st.tuples(*[st.integers(0, n - 1)]*3).map(sorted), max_size=4)):
            kind, number = data.draw(st.sampled_from(["Macro", "Micro - 1/2"])), lambda i: data.draw(st.sampled_from([int, float, str]))(i + first)
            known = apex + first > 0 and offset + first > 0           # number 0 stands for 'missing'
            if not known: continue
            rows.append([int(video[:3]), f"{video}_1", 1, number(onset), number(apex), number(offset), None, kind, "1+2", None])
            wanted.append((video, onset, apex, offset, kind[:5].lower()))
    write_workbook(root/"SAMM_LongVideos_V1_Release.xlsx", {"FACS_Movement_Only": [["legend"]]*9 + [SAMM_LV_COLUMNS] + rows})
    found = read_samm_lv(root)
    assert list(found.annotations[["video", "onset", "apex", "offset", "kind"]].itertuples(index=False, name=None)) == wanted and not len(found.repairs)
    shutil.rmtree(root)


# ---------------------------------------------------------------- CAS(ME)², trap by trap

PEOPLE, FILMS = [[15, "s15", 1], [16, "s16", 2], [19, "s19", 3]], [["0101", "disgust1"], ["0401", "anger1"], ["0502", "happy1"]]
BOOK = "CAS(ME)^2code_final.xlsx"


def cas_row(subject=1, clip="anger1_1", onset=11, apex=20, offset=30, aus="4+10", emotion="negative", kind="macro-expression", said="anger"):
    return [subject, clip, onset, apex, offset, aus, emotion, kind, said]


def write_cas(root, *rows, people=PEOPLE, films=FILMS, folder="rawpic/s15/15_0401girlcrashing", images=50, name=BOOK):
    "A CAS(ME)² by hand: the rows, the rules, and one video."
    write_workbook(Path(root)/name, {"CASFEcode_final": rows, "naming rule1": people, "naming rule2": films})
    touch(Path(root)/folder, [f"img{n:03d}.jpg" for n in range(1, images + 1)])
    return root


@pytest.mark.parametrize("cells, where, why", [
    (dict(), (10, 19, 29), None),
    (dict(offset=0), (10, 19, 19), "no offset: the apex taken"),
    (dict(apex=0), (10, None, 29), "no apex: missing"),
    (dict(apex=33), (10, None, 29), "apex outside onset to offset: missing"),
    (dict(apex=0, offset=0), None, "neither apex nor offset: row left out"),
    (dict(emotion="happyiness"), (10, 19, 29), "emotion misspelt: mended"),
    (dict(said=" Happyiness"), (10, 19, 29), "emotion misspelt: mended"),
    (dict(clip="anger7_1"), None, "no naming rule: row left out"),
    (dict(subject=23), None, "no naming rule: row left out"),
    (dict(clip="happy1_1"), None, "no such video: row left out"),
    (dict(kind="expression"), None, "neither micro nor macro: row left out"),
    (dict(subject="1 ", clip=" Anger1_12", kind="Macro-Expression ", offset="30"), (10, 19, 29), None)])
def test_cas_me2_accident(tmp_path, cells, where, why):
    found = read_cas_me2(write_cas(tmp_path, cas_row(clip="anger1_9", onset=1, apex=2, offset=3), cas_row(**cells)))
    assert place(found) == [(0, 1, 2)] + ([where] if where else []) and why in (whys(found) or [None])
    if why: assert found.repairs.row.tolist()[-1] == 2 and found.repairs.file.tolist()[-1] == BOOK
    if why == "emotion misspelt: mended":
        column = "emotion" if "emotion" in cells else "self_report"
        assert found.annotations[column].tolist()[1] == "happiness" and found.repairs.column.tolist() == [column]
        assert found.repairs[["was", "now"]].values.tolist() == [[cells.get("emotion", "Happyiness"), "happiness"]]


def test_cas_me2_tables(tmp_path):
    found = read_cas_me2(write_cas(tmp_path, cas_row(), cas_row(emotion="Surprise", kind="micro-expression", said=None)))
    assert found.videos.drop(columns="path").values.tolist() == [["s15_0401", "s15", 30., 50]] and found.annotations.kind.tolist() == ["macro", "micro"]
    assert found.annotations.emotion.tolist() == ["negative", "surprise"] and found.annotations.self_report.isna().tolist() == [False, True]


def test_cas_me2_goes_by_the_workbooks_rules(tmp_path):
    people, films = [[15, "s15", 2], [16, "s16", 1]], [["0101", "anger1"], ["0401", "disgust1"]]     # not the real ones
    write_cas(tmp_path, cas_row(), people=people, films=films, folder="rawpic/s16/16_0101x")
    assert read_cas_me2(tmp_path).annotations.video.tolist() == ["s16_0101"]


def test_cas_me2_films_that_became_numbers(tmp_path):
    found = read_cas_me2(write_cas(tmp_path, cas_row(), people=[["15", "S15 ", "1"]], films=[[101, "disgust1"], [401., " Anger1"]]))
    assert found.annotations.video.tolist() == ["s15_0401"] and not len(found.repairs)


def test_cas_me2_folder_named_for_another(tmp_path):
    write_cas(tmp_path, cas_row(3, "happy1_1"), folder="rawpic/rawpic/s19/23_0502funnyerrors")
    found = read_cas_me2(tmp_path)
    assert found.annotations.video.tolist() == ["s19_0502"] and whys(found) == ["folder named for another subject: the one above believed"]
    assert found.repairs[["subject", "was", "now"]].values.tolist() == [["s19", "23_0502funnyerrors", "s19"]]
    touch(tmp_path/"rawpic"/"s19"/"19_0502funnyerrors", ["img1.jpg"])
    with pytest.raises(MespotError, match="s19_0502 is there twice"): read_cas_me2(tmp_path)


def test_cas_me2_raw_or_cropped(tmp_path):
    write_cas(tmp_path, cas_row(), name="code_final.xlsx")
    touch(tmp_path/"longVideoFaceCropped"/"s15"/"15_0401girlcrashing", [f"img_{n}.jpg" for n in range(1, 41)])
    touch(tmp_path/"rawpic_crop"/"s15"/"15_0401girlcrashing", ["img_1.jpg"])
    touch(tmp_path/"selectedpic"/"s15"/"anger1_1", ["img11.jpg"])
    touch(tmp_path/"__MACOSX"/"rawpic"/"s15"/"15_0401girlcrashing", ["._img001.jpg"])
    (tmp_path/"~$code_final.xlsx").write_bytes(b"locked")             # a spreadsheet program has it open
    raw, cropped = read_cas_me2(tmp_path), read_cas_me2(tmp_path, cropped=True)
    same(read_cas_me2(tmp_path, cropped=False), raw)
    assert (raw.videos.n_frames[0], cropped.videos.n_frames[0]) == (50, 40) and place(raw) == place(cropped)
    assert "rawpic" in raw.videos.path[0] and "longVideoFaceCropped" in cropped.videos.path[0]
    assert read_cas_me2(tmp_path, fps=25.).annotations.fps.tolist() == [25.]


def test_cas_me2_cannot_be_read(tmp_path):
    write_cas(tmp_path, cas_row(), name="code_final.xlsx")
    sheets = {"CASFEcode_final": [cas_row()], "naming rule1": PEOPLE, "naming rule2": FILMS}
    for broken, what in (({**sheets, "naming rule2": []}, "sheet 3 holds no naming rules; expected rows such as 0401, anger1"),
                         ({**sheets, "naming rule1": FILMS}, "sheet 2 holds no naming rules"),
                         ({"CASFEcode_final": [cas_row()], "naming rule1": PEOPLE}, "has no sheet '2'"),
                         ({**sheets, "CASFEcode_final": [cas_row()[:5]]}, "has 5 columns")):
        write_workbook(tmp_path/"code_final.xlsx", broken)
        with pytest.raises(MespotError, match=what): read_cas_me2(tmp_path)
    write_workbook(tmp_path/BOOK, sheets)
    with pytest.raises(MespotError, match="leave one of them there"): read_cas_me2(tmp_path)


# ---------------------------------------------------------------- CAS(ME)³

A_HEAD = ["Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Expression type", "Objective class"]


def write_xls(path, sheets):
    xlwt = pytest.importorskip("xlwt")
    book = xlwt.Workbook()
    for name, rows in sheets.items():
        sheet = book.add_sheet(name)
        for i, row in enumerate(rows):
            for j, cell in enumerate(row): sheet.write(i, j, cell)
    book.save(str(path))


@pytest.fixture
def cas3(tmp_path):
    for video in ("spNO.1/b", "spNO.1/J", "spNO.10/b"): touch(tmp_path/"data"/"part_A"/video/"color", [f"{n}.jpg" for n in range(1, 41)])
    touch(tmp_path/"data"/"part_A"/"spNO.1"/"b"/"depth", ["1.png"])
    rows = [["spNO.1", "b", "5", "8", "12", "4", "Micro-expression", "III"], ["spNO.1", "J", 0, 0, "25", "14", "Micro-expression", "VII"],
            ["spNO.1", "b", "20", "22", "30", "R10+38", "Macro-expression ", "VII"], ["spNO.10", "B", 30., 31., 33., "12", "Micro-expression", "I"]]
    write_xls(tmp_path/"CAS(ME)3_part_A_v1.xls", {"AU+Emotion": [A_HEAD]})
    write_xls(tmp_path/"CAS(ME)3_part_A_v2.xls", {"AU+Emotion": [A_HEAD, *rows], "eye blink": [["Subject"]]})
    labels = [["spNO.1", "b", 5, 8, 12, "4", "III", "sad"], ["spNO.1", "j", "0", "0", "25", "14", "VII", "Others"], ["spNO.10", "b", 30, 31, 0, "12", "I", "happy"],
              ["spNO.10", "b", 1, 2, 3, "12", "I", "fear"]]
    write_workbook(tmp_path/"cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx", {"label": [[*A_HEAD[:6], "Objective class", "emotion"], *labels], "Sheet1": []})
    return tmp_path


def test_cas_me3_part_a(cas3):
    found = read_cas_me3(cas3)
    assert found.videos.video.tolist() == ["spNO.1_b", "spNO.1_j", "spNO.10_b"] and (found.videos.fps == 30).all()
    assert place(found) == [(4, 7, 11), (0, None, 24), (19, 21, 29), (29, 30, 32)] and found.annotations.kind.tolist() == ["micro", "micro", "macro", "micro"]
    assert found.annotations.emotion.fillna("-").tolist() == ["sadness", "others", "-", "happiness"] and found.annotations.aus.tolist() == ["4", "14", "R10+38", "12"]
    assert whys(found) == ["older version: not used", "no apex: missing", "onset before the first frame: clipped", "emotion label with other numbers: taken",
                           "emotion label without an expression: not used"]
    assert found.repairs[["row", "was", "now"]].values.tolist()[3:] == [[5, "30, 31, 0", "30, 31, 33"], [5, "1, 2, 3", ""]]


def test_cas_me3_without_labels(cas3):
    (cas3/"cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx").unlink()
    found = read_cas_me3(cas3)
    assert found.annotations.emotion.isna().all() and len(found.annotations) == 4
    with pytest.raises(MespotError, match="no annotated part 'B'; choose A or C"): read_cas_me3(cas3, "B")
    with pytest.raises(MespotError, match="holds no CAS\\(ME\\)3_part_C_ME.xlsx"): read_cas_me3(cas3, "C")
    shutil.rmtree(cas3/"data")
    with pytest.raises(MespotError, match="such as spNO.1/b/color"): read_cas_me3(cas3)


def test_cas_me3_part_c(tmp_path):
    touch(tmp_path/"part_C"/"01"/"a"/"color", [f"{n}.jpg" for n in range(1, 41)])
    write_workbook(tmp_path/"CAS(ME)3_part_C_ME.xlsx", {"mockCrimeME": [["sub", "count", "onset", "offset", "au", "emotion"], [1, 1, 5, 12, "R4,5", "negative"], [2, 1, 5, 12, 1, "surprise"]]})
    found = read_cas_me3(tmp_path, "C")
    assert place(found) == [(4, None, 11)] and found.annotations.aus.tolist() == ["R4,5"] and found.annotations.video.tolist() == ["01_a"]
    assert whys(found) == ["no such video: row left out"]                 # and no word of an apex, which the set does not have
    write_xls(tmp_path/"CAS(ME)3_part_C.xls", {"organize": [["Subject", "Onset", "Offset", "diff", "Exp_type", "risk"], [1, 5, 12, 7, 1, 0], [1, 20, 39, 19, 0, 1]]})
    found = read_cas_me3(tmp_path, "C")
    assert found.annotations.kind.tolist() == ["micro", "macro"] and place(found)[1] == (19, None, 38) and found.annotations.emotion.isna().tolist() == [False, True]


# ---------------------------------------------------------------- the Grand Challenge

def unseen(root, n=120):
    for video in ("SAMM_Test_cropped/001_2", "SAMM_Test_cropped/005_7", "CAS_Test_cropped/dzw_d1", "CAS_Test_cropped/wy_f4"):
        touch(root/video, [f"{i}.jpg" for i in range(1, n + 1)])
    return read_megc_unseen(root)


def test_megc_unseen(tmp_path):
    found = unseen(tmp_path)
    assert found.videos.drop(columns="path").values.tolist() == [["001_2", "001", 200., 120], ["005_7", "005", 200., 120], ["dzw_d1", "dzw", 30., 120], ["wy_f4", "wy", 30., 120]]
    assert not len(found.annotations) and not len(found.repairs) and read_megc_unseen(tmp_path, "megc2022").name == "megc2022"
    assert_frame_equal(check_annotations(found.annotations, found.videos), found.annotations)
    with pytest.raises(MespotError, match="such as 001_2 or dzw_d1"): read_megc_unseen(tmp_path/"SAMM_Test_cropped"/"001_2")


@settings(max_examples=20, deadline=None)
@given(st.data(), st.sampled_from(list(module.TASKS)), st.integers(0, 1))
def test_submissions_come_back(tmp_path_factory, data, task, first):
    root = tmp_path_factory.mktemp("sent")
    videos = pd.DataFrame(dict(video=["001_2", "dzw_d1"], subject=["001", "dzw"], fps=[200., 30.], n_frames=[90, 90]))
    rows = [dict(video=v, subject=v.split("_")[0], onset=min(a, b), offset=max(a, b), kind=k if task != "megc2025" else "micro", score=.5, emotion=e) for v, a, b, k, e in
            data.draw(st.lists(st.tuples(st.sampled_from(["001_2", "dzw_d1"]), st.integers(0, 89), st.integers(0, 89), st.sampled_from(["micro", "macro"]),
                                         st.sampled_from(["negative", "surprise"]))))]
    table = check_predictions(pd.DataFrame(rows, columns=["video", "subject", "onset", "offset", "kind", "score", "emotion"]))
    write_submission(table, root/"pred.csv", task, first)
    lines = (root/"pred.csv").read_text().splitlines()
    assert lines[0] == ",".join(module.TASKS[task]) and len(lines) == len(rows) + 1
    columns = ["video", "subject", "onset", "offset", "kind"] + ["emotion"]*(task == "megc2025")
    for found in (read_submission(root/"pred.csv", first=first), read_submission(root/"pred.csv", videos, first)):
        assert found[columns].values.tolist() == table[columns].values.tolist() and (found.score == 1).all()


def test_submission_as_the_challenge_wants_it(tmp_path):
    table = pd.DataFrame(dict(video=["001_2", "dzw_d1"], subject=["001", "dzw"], onset=[0, 10], offset=[89, 14], kind=["micro", "macro"], score=[1., .2]))
    write_submission(table, tmp_path/"a.csv")
    assert (tmp_path/"a.csv").read_text() == "vid,onset,offset,type\n001_2,1,90,me\ndzw_d1,11,15,mae\n"
    write_submission(table[:1].assign(emotion="negative"), tmp_path/"a.csv", "megc2025")
    assert (tmp_path/"a.csv").read_text() == "subject,video,onset,offset,emotion\n001,001_2,1,90,negative\n"
    before = (tmp_path/"a.csv").read_bytes()
    for bad, task, what in ((table, "megc2031", "no submission is known"), (table, "megc2025", "needs the column emotion"),
                            (table.assign(emotion="x"), "megc2025", "row 1 \\(video dzw_d1\\) is a macro"), (table[:1].assign(emotion=None), "megc2025", "has no emotion"),
                            (table.assign(kind="me"), "megc2023", "neither 'micro' nor 'macro'"), (table.drop(columns="offset"), "megc2023", "offset is missing")):
        with pytest.raises(MespotError, match=what): write_submission(bad, tmp_path/"a.csv", task)
    assert (tmp_path/"a.csv").read_bytes() == before


@pytest.mark.parametrize("text, what", [
    ("vid,onset,offset\n001_2,1,2\n", "has the columns 'vid, onset, offset'; expected vid, pred_onset"),
    ("vid,onset,offset,type\n001_2,1,2,me\n001_2,3,4,micro\n", "line 3: type 'micro' is neither"),
    ("vid,onset,offset,type\n001_2,1.5,2,me\n", "line 2: onset '1.5' is no frame number"),
    ("vid,onset,offset,type\n001_2,9,2,me\n", "row 2 .*offset 1 lies before onset 8"),
    ("vid,onset,offset,type\n001_2,0,2,me\n", "onset -1 is not a frame index"),
    ("vid,onset,offset,type\n001_2,1,121,me\n", "offset 120 lies past the last frame, 119"),
    ("vid,onset,offset,type\n001_3,1,2,me\n", "line 2: there is no video '001_3'"),
    ("vid,onset,offset,type\n001_2,1,2,me\n\n001_2,3,4\n", "line 4: 3 cells, expected vid, onset, offset, type"),
    ("vid;onset;offset;type\n001_2;1;2;me\n", "has the columns 'vid;onset;offset;type'"),
    ("", "has the columns ''")])
def test_submission_refused(tmp_path, text, what):
    (tmp_path/"p.csv").write_text(text)
    videos = pd.DataFrame(dict(video=["001_2"], subject=["001"], fps=[200.], n_frames=[120]))
    with pytest.raises(MespotError, match=what): read_submission(tmp_path/"p.csv", videos)
    with pytest.raises(MespotError, match="cannot be read"): read_submission(tmp_path/"q.csv")


def test_submission_as_others_write_it(tmp_path):
    (tmp_path/"p.csv").write_bytes("\ufeffvid, pred_onset, pred_offset, type\r\n001_2, 5, 60, me \r\n".encode())
    found = read_submission(tmp_path/"p.csv")
    assert found.drop(columns="score").values.tolist() == [["001_2", "001", 4, 59, "micro"]]
