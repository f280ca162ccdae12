import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from mespot.core import MespotError
from mespot.data.clips import annotation_file, emotion_name, megc2019, megc2019_counts, read_casme2, read_clip_list, read_samm, read_smic
from mespot.data.export import write_workbook
from mespot.data.export_clips import SAMM_COLUMNS, SMIC_COLUMNS, events, write_casme2, write_samm, write_smic
from mespot.data.phantom import phantom
from mespot.data.tables import DataSet, Repairs, numbered_images
from mespot.data.video import read_image
from mespot.measure.intervals import check_annotations

PAIRS = [(write_samm, read_samm), (write_casme2, read_casme2), (write_smic, read_smic)]
CASME2_COLUMNS = ["Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None, "Action Units", "Estimated Emotion"]


def same(got, wanted):
    assert got.name == wanted.name
    for table in ("videos", "annotations", "repairs"):
        pd.testing.assert_frame_equal(getattr(got, table), getattr(wanted, table))


def clip(folder, names):
    "A folder of images that nobody will look into."
    folder.mkdir(parents=True)
    for name in names: (folder/name).touch()


def samm(root, rows, legend=13, **book):
    write_workbook(root/"SAMM_Micro_FACS_Codes_v2.xlsx", {"MICRO_ONLY": [*[["legend"]]*legend, SAMM_COLUMNS, *rows], **book})
    return read_samm(root)


def samm_row(name, onset, apex, offset, emotion="Anger"):
    return [int(name[:3]), name, 1, onset, apex, offset, None, "Micro - 1/2", "4", emotion, 3, None]


def casme2(root, rows, **options):
    write_workbook(root/"CASME2-coding-20140508.xlsx", {"Sheet1": [CASME2_COLUMNS, *rows]})
    return read_casme2(root, **options)


def smic(root, rows):
    write_workbook(root/"SMIC-HS-E_annotation.xlsx", {"Sheet1": [SMIC_COLUMNS, *[row + [None]*(len(SMIC_COLUMNS) - len(row) - 1) + ["negative"] for row in rows]]})
    return read_smic(root)


def whys(data): return data.repairs.why.tolist()


# ---- round trips

@pytest.fixture(scope="module")
def ph(): return phantom("tiny", subjects=3, seconds=8.)


@pytest.mark.parametrize("quirks", [True, False])
@pytest.mark.parametrize("write, read", PAIRS)
def test_round_trip(write, read, quirks, ph, tmp_path):
    wanted = write(ph, tmp_path, quirks, view="aligned")
    same(read(tmp_path), wanted)
    assert len(wanted.annotations) == len(events(ph, "micro")) - quirks and len(wanted.repairs) == quirks*len(wanted.repairs)
    assert not quirks or len(wanted.repairs) >= 2


@pytest.mark.parametrize("write, read", PAIRS)
def test_indices_lead_to_the_annotated_frames(write, read, ph, tmp_path):
    "What stands at onset, apex and offset of a clip read is the phantom's own picture of that frame."
    write(ph, tmp_path, False, view="aligned")
    data = read(tmp_path)
    paths = dict(zip(data.videos.video, data.videos.path))
    for a, e in zip(data.annotations.itertuples(), events(ph, "micro"), strict=True):
        images = numbered_images(paths[a.video])[1]
        for i, frame in ((a.onset, e["onset"]), (a.apex, e["apex"]), (a.offset, e["offset"])):
            if pd.isna(i): continue
            apart = [np.abs(read_image(images[i])[..., 0].astype(int) - ph.frames(e["video"], f, f + 1)[0]).mean() for f in (frame - 1, frame, frame + 1)]
            assert apart[1] == min(apart), (a, apart)


def test_camera_view_is_the_recording(tmp_path):
    ph = phantom("tiny", subjects=1, seconds=5.)
    wanted = write_casme2(ph, tmp_path, quirks=False, size=(160, 120))
    same(read_casme2(tmp_path), wanted)
    image = numbered_images(wanted.videos.path[0])[1][0]
    assert image.name == "img46.jpg" and "CASME2-RAW/sub01" in str(image) and read_image(image).shape == (120, 160, 3)


def touch_frames(ph, jobs, *args, **kwargs):
    "Write empty files in place of pictures, which is quick; the paths must be as many as the frames."
    for _, start, stop, paths in jobs:
        assert stop - start == len(paths) > 0
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            assert not path.exists()
            path.touch()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("subjects, seconds", [(1, 3.), (11, 3.), (2, 30.)])
def test_other_phantoms_round_trip(subjects, seconds, seed, tmp_path, monkeypatch):
    "A single micro-expression, more than nine people, many for a person: whatever happens in a phantom."
    monkeypatch.setattr("mespot.data.export_clips.write_frames", touch_frames)
    ph = phantom("tiny", seed, subjects=subjects, seconds=seconds)
    for write, read in PAIRS if (ph.annotations.kind == "micro").any() else ():
        for quirks in (True, False):
            root = tmp_path/f"{write.__name__}{quirks}"
            wanted = write(ph, root, quirks)
            same(read(root), wanted)


# ---- the annotation file

def test_annotation_file_is_found_above_below_and_not_guessed(tmp_path):
    for name in ("deep/er/a1.xlsx", "deep/~$a2.xlsx", "deep/._a2.xlsx"):
        (tmp_path/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path/name).touch()
    assert annotation_file(tmp_path, "a*.xls*").name == "a1.xlsx"
    (tmp_path/"a3.xls").touch()
    assert annotation_file(tmp_path, "a*.xls*").name == "a3.xls"           # the higher one
    (tmp_path/"a4.xlsx").touch()
    with pytest.raises(MespotError, match="a3.xls, a4.xlsx"): annotation_file(tmp_path, "a*.xls*")
    with pytest.raises(MespotError, match="holds no file b.* or c.*a3.xls, a4.xlsx"): annotation_file(tmp_path, "b*.xlsx", "c.xlsx")
    with pytest.raises(MespotError, match="no folder"): annotation_file(tmp_path/"none", "a*.xls*")


@pytest.mark.parametrize("write, read", PAIRS)
def test_missing_spreadsheet_and_login_page(write, read, ph, tmp_path):
    write(ph, tmp_path, view="aligned")
    sheet = next(tmp_path.glob("*.xlsx"))
    sheet.write_text("<!DOCTYPE html><title>Please log in</title>")
    with pytest.raises(MespotError, match="HTML page"): read(tmp_path)
    shutil.copy(sheet, sheet.with_stem(sheet.stem + "_2"))
    with pytest.raises(MespotError, match="several annotation files"): read(tmp_path)
    for path in tmp_path.glob("*.xlsx"): path.unlink()
    with pytest.raises(MespotError, match="holds no file"): read(tmp_path)


@pytest.mark.parametrize("write, read", PAIRS)
def test_spreadsheet_without_clips_and_clips_twice(write, read, ph, tmp_path):
    data = write(ph, tmp_path/"a", view="aligned")
    shutil.copytree(data.videos.path[0], tmp_path/"a"/"copy"/"/".join(data.videos.path[0].split("/")[-2:]))
    with pytest.raises(MespotError, match="twice.*name the folder"): read(tmp_path/"a")
    (tmp_path/"b").mkdir()
    shutil.copy(next((tmp_path/"a").glob("*.xlsx")), tmp_path/"b")
    with pytest.raises(MespotError, match="no folders of clips"): read(tmp_path/"b")


def test_header_that_is_another(tmp_path):
    clip(tmp_path/"006"/"006_1_2", ["006_00001.jpg"])
    write_workbook(tmp_path/"SAMM_Micro_FACS_Codes_v2.xlsx", {"MICRO_ONLY": [["Subject", "Filename", "Onset"]]})
    with pytest.raises(MespotError, match="no header row with Subject, Filename, Onset Frame"): read_samm(tmp_path)
    write_workbook(tmp_path/"SAMM_Micro_FACS_Codes_v2.xlsx", {"Sheet1": [SAMM_COLUMNS]})
    with pytest.raises(MespotError, match="no sheet 'MICRO_ONLY'; it has: Sheet1"): read_samm(tmp_path)


def test_folders_that_may_not_be_opened_are_no_silence(ph, tmp_path, monkeypatch):
    "os.walk passes them over."
    write_samm(ph, tmp_path, view="aligned")
    import os
    scandir = os.scandir
    def refuse(path):
        if str(path).endswith("/007"): raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)
    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(MespotError, match="007 cannot be opened: Permission denied"): read_samm(tmp_path)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(MespotError, match="xlsx cannot be opened"): read_samm(tmp_path)


def test_linked_folders_are_followed(ph, tmp_path):
    wanted = write_casme2(ph, tmp_path/"disk", quirks=False, view="aligned")
    (tmp_path/"data").mkdir()
    (tmp_path/"data"/"Cropped").symlink_to(tmp_path/"disk"/"Cropped")
    shutil.copy(next((tmp_path/"disk").glob("*.xlsx")), tmp_path/"data")
    pd.testing.assert_frame_equal(read_casme2(tmp_path/"data").annotations, wanted.annotations)


# ---- SAMM

def test_samm_row_by_row(tmp_path):
    clip(tmp_path/"SAMM"/"006"/"006_1_2", [f"006_{i:05d}.jpg" for i in range(5562, 5632)] + ["._006_05000.jpg", "Thumbs.db"])
    clip(tmp_path/"SAMM"/"006"/"006_1_3", [f"006_{i:04d}.jpg" for i in range(90, 111) if i != 95])         # a number is missing
    clip(tmp_path/"SAMM"/"007"/"007_2_1", ["007_0001.jpg"])                                               # nobody annotated it
    clip(tmp_path/"SAMM"/"007"/"007_2_2", ["readme.txt"])
    data = samm(tmp_path, [samm_row("006_1_2", 5563, 5588, 5631), samm_row("006_1_3", 91, 99, 105, "Other"), samm_row("007_2_2", 1, 2, 3),
                           samm_row("011_1_1", 1, 2, 3), ["", "", None, "Notes: read the paper"]], legend=4)
    a = data.annotations
    assert a[["video", "onset", "apex", "offset"]].values.tolist() == [["006_1_2", 1, 26, 69], ["006_1_3", 1, 8, 14]]
    assert a.emotion.tolist() == ["anger", "others"] and a.kind.tolist() == ["micro"]*2 and a.aus.tolist() == ["4", "4"] and set(a.fps) == {200.}
    assert data.videos.set_index("video").n_frames.to_dict() == {"006_1_2": 70, "006_1_3": 20, "007_2_1": 1} and set(data.videos.subject) == {"006", "007"}
    r = data.repairs
    assert r.why.tolist() == ["folder without images: left out", "no such video: row left out", "no such video: row left out", "not an annotation: row left out"]
    assert r.row.tolist() == [pd.NA, 8, 9, 10] and r.subject.tolist() == ["007", "007", "011", ""] and r.was.iloc[-1] == "Notes: read the paper"


@pytest.mark.parametrize("apex", [0, -1, None, "/", 999])
def test_samm_apex_that_is_none(apex, tmp_path):
    clip(tmp_path/"028"/"028_4_1", [f"028_{i}.jpg" for i in range(100, 150)])
    data = samm(tmp_path, [samm_row("028_4_1", 100, apex, 149)])
    assert data.annotations.apex.isna().all() and whys(data) == ["apex outside onset to offset: missing" if apex == 999 else "no apex: missing"]


def bad_offset(root, offset, last=5793, before=56):
    clip(root/"012"/"012_9_9", [f"012_{i:05d}.jpg" for i in range(5700, last + 1)])
    return samm(root, [samm_row(f"006_1_{i}", 1, 2, 3) for i in range(before)] + [samm_row("012_9_9", 5701, 5720, offset)])


def test_samm_known_wrong_offset(tmp_path):
    for wrong in (5739, 57930):
        data = bad_offset(tmp_path/f"{wrong}", wrong)
        assert data.annotations.offset.tolist() == [93] and data.annotations.apex.tolist() == [20]
        fixed = data.repairs[data.repairs.why != "no such video: row left out"]
        assert fixed[["why", "row", "video", "column", "was", "now"]].values.tolist() == [["known wrong offset: corrected", 14 + 57, "012_9_9", "offset", str(wrong), "5793"]]


@pytest.mark.parametrize("how, offset", [(dict(offset=5793), 93), (dict(offset=5739, last=5792), 39), (dict(offset=5739, before=55), 39), (dict(offset=5739, before=57), 39)])
def test_samm_correction_needs_all_three_signs(how, offset, tmp_path):
    data = bad_offset(tmp_path, **how)
    assert data.annotations.offset.tolist() == [offset] and set(whys(data)) == {"no such video: row left out"}


# ---- CASME II

def casme2_row(subject, name, onset, apex, offset): return [subject, name, None, onset, apex, offset, None, "4+R12", "repression"]


def test_casme2_row_by_row(tmp_path):
    clip(tmp_path/"Cropped"/"sub04"/"EP12_01f", [f"reg_img{i}.jpg" for i in range(46, 102)])
    clip(tmp_path/"Cropped"/"sub16"/"EP01_08", [f"reg_img{i}.jpg" for i in range(73, 97)])
    data = casme2(tmp_path, [casme2_row(4, "EP12_01f", 46, "/", 101), casme2_row("16", "EP01_08 ", 73, 94, 110), casme2_row(26, "EP18_44", 1, 2, 3)])
    assert data.annotations[["video", "subject", "onset", "apex", "offset"]].values.tolist() == [["sub04_EP12_01f", "sub04", 0, pd.NA, 55], ["sub16_EP01_08", "sub16", 0, 21, 23]]
    assert data.annotations.emotion.tolist() == ["repression"]*2 and data.annotations.aus.tolist() == ["4+R12"]*2 and set(data.videos.fps) == {200.}
    assert data.repairs[["why", "was", "now"]].values.tolist() == [["no apex: missing", "/", ""], ["offset past the last frame: clipped", "110", "96"], ["no such video: row left out", "", ""]]


def test_casme2_raw_and_cropped(tmp_path):
    rows = [casme2_row(1, "EP02_01f", 50, 60, 70)]
    clip(tmp_path/"Cropped"/"sub01"/"EP02_01f", [f"reg_img{i}.jpg" for i in range(50, 71)])
    clip(tmp_path/"Cropped"/"sub02"/"EP03", [])
    assert casme2(tmp_path, rows).annotations.onset.tolist() == [0]                                       # only cropped ones are there
    assert len(casme2(tmp_path, rows, cropped=True).annotations) == 1
    clip(tmp_path/"CASME2-RAW"/"sub01"/"EP02_01f", [f"img{i}.jpg" for i in range(1, 100)])
    assert casme2(tmp_path, rows).annotations.onset.tolist() == [49]                                      # recorded ones are preferred
    assert casme2(tmp_path, rows, cropped=False).videos.n_frames.tolist() == [99]
    assert casme2(tmp_path, rows, cropped=True).videos.n_frames.tolist() == [21]
    shutil.rmtree(tmp_path/"Cropped")
    with pytest.raises(MespotError, match="sub01/EP02_01f with images reg_img46.jpg"): casme2(tmp_path, rows, cropped=True)


# ---- SMIC

def test_smic_row_by_row(tmp_path):
    clip(tmp_path/"HS"/"s20"/"s20_ne_01", [f"image{i}.jpg" for i in range(17581000, 17581100)])
    clip(tmp_path/"HS"/"s03"/"s3_ne_02", [f"image{i:06d}.jpg" for i in range(98980, 99050)])
    data = smic(tmp_path, [[20, "s20_ne_01", None, 17581039, 17581060, 17581070, 17581080, 17581090, 17581099], [3, "s3_ne_02", None, 98990, 99010],
                           ["Note", "MF: micro frames"], [None, "the end"]])
    assert data.annotations[["video", "onset", "offset"]].values.tolist() == [["s20_ne_01", 39, 60], ["s20_ne_01", 70, 80], ["s20_ne_01", 90, 99], ["s03_ne_02", 10, 30]]
    assert data.annotations.apex.isna().all() and set(data.annotations.subject) == {"s03", "s20"} and set(data.videos.fps) == {100.}
    assert whys(data) == ["not an annotation: row left out"]*2 and data.repairs.row.tolist() == [4, 5]


def test_smic_cut_to_the_expression_needs_no_spreadsheet(tmp_path):
    clip(tmp_path/"HS"/"s1"/"micro"/"negative"/"s1_ne_01", [f"reg_image{i}.bmp" for i in range(500, 520)])
    clip(tmp_path/"HS"/"s20"/"micro"/"surprise"/"s20_sur_11", [f"reg_image{i}.bmp" for i in range(500, 531)])
    clip(tmp_path/"HS"/"s20"/"micro"/"surprise"/"s20_sur_12", [])
    data = read_smic(tmp_path)
    assert data.annotations[["video", "onset", "offset", "emotion"]].values.tolist() == [["s01_ne_01", 0, 19, "negative"], ["s20_sur_11", 0, 30, "surprise"]]
    assert whys(data) == ["folder without images: left out"]


# ---- numbers and indices

@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(1, 400), min_size=3, max_size=40), st.data())
def test_any_numbering_is_looked_up(numbers, data):
    "Whichever images are there: the indices read lead to the images whose numbers were annotated."
    import tempfile
    from pathlib import Path
    onset, apex, offset = sorted(data.draw(st.permutations(sorted(numbers)))[:3])
    with tempfile.TemporaryDirectory() as d:
        clip(Path(d)/"sub01"/"EP01", [f"img{i}.jpg" for i in numbers])
        got = casme2(Path(d), [casme2_row(1, "EP01", onset, apex, offset)])
    assert [sorted(numbers)[i] for i in got.annotations.loc[0, ["onset", "apex", "offset"]]] == [onset, apex, offset] and not len(got.repairs)


def test_emotion_names():
    assert [emotion_name(e) for e in ("Happiness", " happyiness", "Sadness", "Other", "OTHERS", "repression")] == ["happiness", "happiness", "sadness", "others", "others", "repression"]
    assert all(emotion_name(e) is pd.NA for e in (None, float("nan"), " "))


# ---- the composite

def a_set(name, *clips):
    "A set of clips (video, emotion)."
    subject = [v.partition("_")[0] for v, _ in clips]
    videos = pd.DataFrame(dict(video=[v for v, _ in clips], subject=subject, fps=200., n_frames=30, path="nowhere"))
    annotations = videos[["video", "subject", "fps"]].assign(onset=1, apex=5, offset=9, kind="micro", aus="", emotion=[e for _, e in clips])
    return DataSet(name, videos, check_annotations(annotations, videos), Repairs().table())


SETS = (a_set("casme2", ("sub01_EP1", "happiness"), ("sub01_EP2", "sadness"), ("sub02_EP1", "repression"), ("sub02_EP2", "others")),
        a_set("smic", ("s01_ne_01", "negative"), ("s02_sur_01", "surprise")),
        a_set("samm", ("006_1_2", "sadness"), ("006_1_3", "others"), ("007_1_1", "contempt"), ("007_1_2", pd.NA)))


def test_composite_by_emotion():
    samples, left_out = megc2019(*SETS)
    assert dict(zip(samples.video, samples.label)) == {"sub01_EP1": "positive", "sub02_EP1": "negative", "s01_ne_01": "negative", "s02_sur_01": "surprise",
                                                       "006_1_2": "negative", "007_1_1": "negative"}
    assert left_out[["why", "file", "video", "was"]].values.tolist() == [["emotion without a class: left out", *x] for x in (
        ("casme2", "sub01_EP2", "sadness"), ("casme2", "sub02_EP2", "others"), ("samm", "006_1_3", "others"), ("samm", "007_1_2", ""))]
    assert samples.columns.tolist() == ["dataset", "subject", "video", "label", "emotion", "onset", "apex", "offset", "fps", "n_frames", "path"] and samples.apex.dtype == "Int64"


def test_composite_by_list(tmp_path):
    "The list decides which clips count, and which class they have; what is not found is told."
    path = tmp_path/"combined_3_class2_for_optical_flow.csv"
    path.write_text("dataset,sub,filename_o,label,apex,imagename,sub_filename\ncasme2,sub01,EP1,1,,x.jpg,\ncasme2,sub01,EP2,0,,x.jpg,\nsmic,s01,s01_ne_01,0,,s01_s1_ne_01.jpg,\n"
                    "samm,006,006_1_2,2,,x.jpg,\nsamm,036,036_7_3,0,,x.jpg,\n")
    samples, repairs = megc2019(*SETS, clips=path)
    assert dict(zip(samples.video, samples.label)) == {"sub01_EP1": "positive", "sub01_EP2": "negative", "s01_ne_01": "negative", "006_1_2": "surprise"}
    assert repairs.groupby("why").video.agg(list).to_dict() == {
        "the clip list gives another class: taken": ["sub01_EP2", "006_1_2"], "in the clip list, but not found: left out": ["036_7_3"],
        "not in the clip list: left out": ["sub02_EP1", "sub02_EP2", "s02_sur_01", "006_1_3", "007_1_1", "007_1_2"]}
    bare, repairs = megc2019(*SETS, clips=read_clip_list(path).drop(columns="label"))
    assert bare.video.tolist() == ["sub01_EP1", "s01_ne_01", "006_1_2"] and bare.label.tolist() == ["positive", "negative", "negative"]
    assert "sub01_EP2" in repairs.video[repairs.why.str.startswith("in the clip list")].tolist()


def test_clip_list_keeps_the_zeros(tmp_path):
    (tmp_path/"list.csv").write_text("dataset,sub,filename_o,label\nsamm,006,006_1_2,0\nsamm,037,037_3_2,1\n")
    assert read_clip_list(tmp_path/"list.csv").values.tolist() == [["samm", "006", "006_1_2", "negative"], ["samm", "037", "037_3_2", "positive"]]


def test_counts_beside_the_published():
    table = megc2019_counts(megc2019(*SETS)[0]).set_index(["dataset", "label"])
    assert table.found.to_dict() == {**dict.fromkeys(table.index, 0), ("casme2", "positive"): 1, ("casme2", "negative"): 1, ("smic", "negative"): 1, ("smic", "surprise"): 1,
                                     ("samm", "negative"): 2, ("all", "all"): 6}
    assert table.published.to_list() == [88, 32, 25, 70, 51, 43, 92, 26, 15, 442]
    assert megc2019_counts(megc2019(*SETS)[0][:0]).found.sum() == 0


def test_composite_complains(tmp_path):
    with pytest.raises(MespotError, match="wants the data set 'casme2' here, not 'samm'"): megc2019(*SETS[::-1])
    with pytest.raises(MespotError, match="the clip list lacks the column video"): megc2019(*SETS, clips=pd.DataFrame(dict(dataset=[], subject=[])))
    with pytest.raises(MespotError, match="cannot be read"): read_clip_list(tmp_path/"none.csv")
    for text, why in (("dataset,sub,label\n", "lacks the column filename_o"), ("dataset,sub,filename_o,label\nsmic,s01,s01_ne_01,0\ncasme,sub01,EP1,1\n", "line 3.*not 'casme' and '1'"),
                      ("dataset,sub,filename_o,label\nsmic,s01,s01_ne_01,negative\n", "line 2.*'negative'")):
        (tmp_path/"list.csv").write_text(text)
        with pytest.raises(MespotError, match=why): read_clip_list(tmp_path/"list.csv")
