"The rating sheet: which clips are found, blind orders, tables on disk, the widget, and the command."
import json, os, sys

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st

from mespot.core import MespotError
from mespot.kit.cli import main
from mespot.kit.rate import RatingSheet, blind_order, check_rater, find_clips, rating_page, read_clips, read_ratings, save_ratings
from mespot.measure.raters import COLUMNS, RATINGS, majority


def frames(n=6, side=40, seed=0): return np.random.default_rng(seed).integers(60, 200, (n, side//8, side//8), dtype=np.uint8).repeat(8, 1).repeat(8, 2)


def write_images(folder, pictures):
    folder.mkdir(parents=True)
    for i, f in enumerate(pictures): cv2.imwrite(str(folder/f"frame_{i:04d}.png"), f)


def write_mp4(path, pictures, fps=25.):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, pictures.shape[2:0:-1], isColor=True)
    for f in pictures: writer.write(cv2.cvtColor(f, cv2.COLOR_GRAY2BGR))
    writer.release()


@pytest.fixture
def clips(tmp_path):
    "A folder of clips: happiness (images, 20 frames/s by its note), anger10 and anger9.mp4, and p1/fear (images of 900 pixels)."
    folder = tmp_path/"run"/"clips"
    write_images(folder/"happiness", frames(seed=1))
    (folder/"happiness.json").write_text('{"fps": 20.0, "onset": 2}')
    write_images(folder/"anger10", frames(3))
    write_images(folder/"p1"/"fear", frames(1, 904)[:, :, :452])
    write_mp4(folder/"anger9.mp4", frames(5, 64))
    (folder/".hidden").mkdir(), (folder/"notes.txt").write_text("")
    return folder


NAMES = ["anger9.mp4", "anger10", "happiness", "p1/fear"]


# ---- clips

def test_clips_are_found_in_a_run_and_in_its_clips(clips):
    (clips.parent/"figures").mkdir()
    cv2.imwrite(str(clips.parent/"figures"/"fig.png"), frames(1)[0])                 # no clip, although a folder with an image
    assert list(find_clips(clips)) == list(find_clips(clips.parent)) == NAMES


@pytest.mark.parametrize("make, says", [(lambda d: None, "there is no folder"), (lambda d: d.mkdir(), "there are no clips in"), (lambda d: write_images(d, frames(2)), "is itself one clip")])
def test_a_folder_without_clips_is_an_error(tmp_path, make, says):
    make(tmp_path/"d")
    with pytest.raises(MespotError, match=says): find_clips(tmp_path/"d")


def test_pictures_are_the_frames(clips):
    with pytest.warns(UserWarning, match="30 frames/s are assumed"): shown = read_clips(clips)
    assert {name: (c["fps"], len(c["frames"])) for name, c in shown.items()} == {"anger9.mp4": (25, 5), "anger10": (30, 3), "happiness": (20, 6), "p1/fear": (30, 1)}
    decoded = lambda name, i: cv2.imdecode(np.frombuffer(shown[name]["frames"][i], np.uint8), cv2.IMREAD_GRAYSCALE)
    for i, f in enumerate(frames(seed=1)): assert np.abs(decoded("happiness", i).astype(int) - f).mean() < 3
    assert decoded("p1/fear", 0).shape == (480, 240)
    assert read_clips(clips, fps=12)["anger10"]["fps"] == 12 and read_clips(clips, fps=12)["happiness"]["fps"] == 20


@pytest.mark.filterwarnings("ignore:.*30 frames/s")
@pytest.mark.parametrize("file", ["anger9.mp4", "happiness/frame_0003.png"])
def test_a_damaged_clip_is_named(clips, file):
    path = clips/file
    path.write_bytes(path.read_bytes()[:len(path.read_bytes())//2])
    for call in (lambda: rating_page(clips, clips/"rate.html"), lambda: RatingSheet(clips, "anna")):
        with pytest.raises(MespotError, match=file): call()
    assert not list(clips.glob("*.html"))


# ---- order

@given(st.sets(st.text(max_size=8), min_size=1, max_size=30), st.text("abc", min_size=1), st.integers(0, 5))
def test_an_order_holds_each_clip_once_and_does_not_depend_on_the_given_order(names, rater, seed):
    got = blind_order(names, rater, seed)
    assert sorted(got) == sorted(names) and got == blind_order(sorted(names, reverse=True), rater, seed)


def test_orders_of_many_raters_are_even():
    "Each of 4 clips comes first for about a quarter of 400 raters, and does not always follow the same other one."
    orders = [blind_order(NAMES, f"r{i}") for i in range(400)]
    first = pd.Series([o[0] for o in orders]).value_counts()
    assert len(first) == 4 and 70 < first.min() and first.max() < 130 and len({*map(tuple, orders)}) == 24


@pytest.mark.parametrize("name", ["", "a/b", "..", "anna b", "a.csv", None])
def test_a_rater_is_a_word(name):
    with pytest.raises(MespotError, match="letters, digits"): check_rater(name)


# ---- tables on disk

def written(folder, rater, text, encoding="utf-8"):
    (folder/f"ratings_{rater}.csv").write_text("clip,rater,rating,onset,offset,time,notes\n" + text, encoding=encoding)


def test_ratings_come_back_as_they_were_saved(tmp_path):
    said = pd.DataFrame(dict(clip=["007", 'a "b", c', "NA"], rater="anna", rating=RATINGS, onset=[1, None, 3], notes=["é; ü", 'says "no", then smiles', "n/a"]))
    path = save_ratings(said, tmp_path/"ratings_anna.csv")
    got = read_ratings(tmp_path)
    pd.testing.assert_frame_equal(got, read_ratings([path]))
    assert got[["clip", "rater", "rating", "notes"]].to_dict("list") == said[["clip", "rater", "rating", "notes"]].to_dict("list")
    assert got.onset.tolist()[::2] == [1, 3] and got.onset.isna().sum() == 1 and got.offset.isna().all()


def test_what_a_spreadsheet_makes_of_it_is_read(tmp_path):
    (tmp_path/"ratings_a.csv").write_text("clip;rater;rating;onset\nx;a;neutral;3\n;;;\ny;a;positive;\n\n", encoding="utf-8-sig")
    got = read_ratings(tmp_path)
    assert got["clip"].tolist() == ["x", "y"] and got.onset[0] == 3 and pd.isna(got.onset[1])


def test_a_wrong_row_is_told_with_its_file_and_its_row_in_a_spreadsheet(tmp_path):
    written(tmp_path, "a", "x,a,neutral,,,,\n")
    written(tmp_path, "b", "x,b,neutral,,,,\n,,,,,,\ny,b,smile,,,,\n")
    with pytest.raises(MespotError, match=r"ratings_b\.csv row 4: rating 'smile' of clip y"): read_ratings(tmp_path)
    written(tmp_path, "b", "x,b,neutral,9,3,,\n")
    with pytest.raises(MespotError, match=r"ratings_b\.csv row 2: offset 3 of clip x"): read_ratings(tmp_path)


def test_a_rater_who_rates_a_clip_twice_is_told_with_both_rows(tmp_path):
    written(tmp_path, "a", "w,a,neutral,,,,\nx,a,neutral,,,,\n")
    written(tmp_path, "a (1)", "x,a,positive,,,,\n")
    with pytest.raises(MespotError, match=r"ratings_a\.csv row 3: rater a has rated clip x in .*ratings_a \(1\)\.csv row 2 too"): read_ratings(tmp_path)
    written(tmp_path, "a (1)", "y,a,positive,,,,\ny,a,positive,,,,\n")
    with pytest.raises(MespotError, match=r"ratings_a \(1\)\.csv row 3: rater a has rated clip y before"): read_ratings(tmp_path)


@pytest.mark.parametrize("content, says", [(b"", "cannot be read as a table"), (b"\xff\xfe\x00", "save them as CSV in UTF-8"), (b"clip,rater\nx,a\n", "ratings_a.csv: column rating is missing"),
                                           (b"clip,rater,rating\nx,a,neutral\ny,a,neutral,3,4\n", "cannot be read as a table")])
def test_a_file_that_is_no_table_is_named(tmp_path, content, says):
    (tmp_path/"ratings_a.csv").write_bytes(content)
    with pytest.raises(MespotError, match=says) as e: read_ratings(tmp_path)
    assert "ratings_a.csv" in str(e.value)


def test_ratings_beside_the_clips_and_in_the_run_are_joined(clips):
    written(clips, "a", "x,a,neutral,,,,\n")
    written(clips.parent, "b", "x,b,neutral,,,,\n")
    assert sorted(read_ratings(clips.parent).rater) == ["a", "b"] and read_ratings(clips).rater.tolist() == ["a"]
    with pytest.raises(MespotError, match="no ratings_"): read_ratings(clips/"p1")
    with pytest.raises(MespotError, match="nowhere.csv cannot be read"): read_ratings([clips/"nowhere.csv"])


# ---- the widget

@pytest.fixture
def sheet(clips):
    pytest.importorskip("ipywidgets")
    return RatingSheet(clips, "anna", fps=30)


def test_a_sheet_saves_what_is_said_under_the_real_name_and_shows_none(sheet, clips):
    for i, name in enumerate(sheet.order):
        assert sheet.at == i and sheet.frame.max == sheet.play.max == len(sheet.clips[name]["frames"]) - 1 and sheet.frame.value == 0
        assert sheet.picture.value == sheet.clips[name]["frames"][0]
        texts = [sheet.title.value, sheet.line.value, sheet.status.value, *(b.description for b in sheet.rate.values())]
        assert not any(word in t for t in texts for word in ("happiness", "anger", "fear"))
        sheet.rate[RATINGS[i % 3]].click()
        assert read_ratings([sheet.path])["clip"].tolist() == [n for n in NAMES if n in sheet.order[:i + 1]]
        sheet.next.click()
    got = read_ratings(clips).set_index("clip")
    assert [got.rating[name] for name in sheet.order] == [RATINGS[i % 3] for i in range(4)] and (got.rater == "anna").all() and got.time.str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()
    assert list(clips.glob("*anna*")) == [clips/"ratings_anna.csv"]


def test_marks_are_of_the_present_frame_and_in_order(sheet):
    sheet.go(sheet.order.index("happiness"))
    for _ in range(9): sheet.ahead.click()
    assert sheet.frame.value == 5 and sheet.picture.value == sheet.clips["happiness"]["frames"][5]
    sheet.offset.click()
    assert "saved with that" in sheet.status.value and not sheet.path.exists()
    sheet.rate["positive"].click()
    for _ in range(3): sheet.back.click()
    sheet.onset.click()
    sheet.notes.value = "a smile, I think"
    row = read_ratings([sheet.path]).iloc[0]
    assert (row["clip"], row.rating, row.onset, row.offset, row.notes) == ("happiness", "positive", 2, 5, "a smile, I think")
    sheet.frame.value = 1
    sheet.offset.click()
    assert "would lie before" in sheet.status.value and read_ratings([sheet.path]).offset[0] == 5
    sheet.clear.click()
    assert read_ratings([sheet.path])[["onset", "offset"]].isna().all(axis=None)
    sheet.rate["negative"].click()
    assert read_ratings([sheet.path]).rating.tolist() == ["negative"]


def test_a_sheet_goes_on_where_the_rater_stopped_and_keeps_what_is_there(sheet, clips):
    for r in ("positive", "neutral"): sheet.frame.value = 0; sheet.onset.click(); sheet.rate[r].click(); sheet.next.click()
    save_ratings(pd.concat([sheet.ratings, pd.DataFrame([dict(clip="gone", rater="anna", rating="neutral", notes="of a clip that was removed")])]), sheet.path)
    again = RatingSheet(clips, "anna", fps=30)
    assert again.order == sheet.order and again.at == 2 and "Clip 3 of 4" in again.title.value and "2 rated" in again.title.value
    again.rate["negative"].click()
    got = read_ratings([sheet.path]).set_index("clip")
    assert len(got) == 4 and got.notes["gone"] and got.onset[sheet.order[0]] == 0 and got.rating[sheet.order[2]] == "negative"


def test_a_sheet_refuses_anothers_table_and_says_when_it_cannot_save(sheet, clips, tmp_path):
    written(clips, "anna", "x,ben,neutral,,,,\n")
    with pytest.raises(MespotError, match="holds ratings of ben, not of anna"): RatingSheet(clips, "anna", fps=30)
    sheet.path = tmp_path/"run"/"clips"/"notes.txt"/"r.csv"                          # below a file
    sheet.rate["neutral"].click()
    assert "not saved" in sheet.status.value and "cannot be written" in sheet.status.value


def test_without_ipywidgets_the_page_is_recommended(monkeypatch, clips):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(MespotError, match=r"mespot\[notebooks\].*mespot rate"): RatingSheet(clips, "anna")


# ---- the command

def says(capsys, *args):
    code = main(["rate", *map(str, args)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_from_a_run_folder_to_agreement(clips, capsys):
    run = clips.parent
    code, out, err = says(capsys, run, "--fps", 30)
    assert code == 0 and f"page: {run/'rate.html'} (4 clips" in out and f"mespot rate {run} --summary" in out and not err
    assert says(capsys, run, "--rater", "anna", "--fps", 30)[0] == 0 and (run/"rate_anna.html").exists()
    code, out, err = says(capsys, clips, "--page", run/"p.html")
    assert code == 0 and (run/"p.html").exists() and "30 frames/s are assumed" in err and "(and 1 more)" in err
    written(run, "a", "anger10,a,negative,1,2,,\nhappiness,a,positive,,,,\n")
    assert says(capsys, run, "--summary")[1].endswith("agreement needs a second rater\n")
    written(clips, "b", "anger10,b,negative,1,1,,\nhappiness,b,negative,,,,\n")
    code, out, err = says(capsys, run, "--summary")
    assert code == 0 and "a: 2 clips, 1 negative, 0 neutral, 1 positive" in out and "tied: happiness (negative/positive)" in out and " 0.00 " in out and not err
    assert majority(read_ratings(run)).rating.tolist()[0] == "negative"


@pytest.mark.parametrize("args, part", [(["nowhere"], "there is no folder nowhere"), (["."], "there are no clips in"), ([".", "--summary"], "there are no ratings"),
                                        ([".", "--summary", "--rater", "a"], "leave those out"), ([".", "--rater", "a/b"], "letters, digits"), ([".", "--page", "p.txt"], "must end in .html")])
def test_mistakes_are_one_sentence_and_exit_2(tmp_path, monkeypatch, capsys, args, part):
    monkeypatch.chdir(tmp_path)
    code, out, err = says(capsys, *args)
    assert code == 2 and part in err and len(err.splitlines()) == 1 and not out and not os.listdir(tmp_path)


def test_the_data_in_the_page_is_all_the_page_has(clips):
    page = rating_page(clips, clips/"rate.html", fps=30).read_text(encoding="utf-8")
    data = json.loads(page.partition('<script id="data" type="application/json">')[2].partition("</script>")[0])
    assert list(data["clips"]) == NAMES and data["columns"] == COLUMNS and data["ratings"] == list(RATINGS) and data["rater"] is None
    assert "http://" not in page and "https://" not in page and "src=" not in page.replace("image.src=", "")
