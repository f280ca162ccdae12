"""`mespot data`: what it prints, what its exit codes say, and the worked example of the README with all nine layouts."""
import shutil
from pathlib import Path

import pandas as pd
import pytest

from mespot.data.check import check, damaged_images, is_whole
from mespot.data.manifest import entry, manifest
from mespot.data.sets import READERS, load
from mespot.kit.cli import main
from mespot.kit.data_cli import LAYOUTS


@pytest.fixture(autouse=True)
def at_home_nowhere(tmp_path, monkeypatch):
    "No settings of whoever runs the tests: an empty folder, an empty cache."
    (tmp_path/"here").mkdir()
    monkeypatch.chdir(tmp_path/"here")
    monkeypatch.setenv("MESPOT_CACHE", str(tmp_path/"cache"))
    monkeypatch.delenv("MESPOT_DATA", raising=False)


@pytest.fixture
def says(capsys):
    def run(*args):
        capsys.readouterr()
        code = main(["data", *map(str, args)])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err
    return run


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    "The folder of a phantom in a layout, written once by the command."
    folders = {}
    def folder(layout):
        if layout not in folders:
            folders[layout] = tmp_path_factory.mktemp("exported")/layout
            assert main(["data", "export-phantom", str(folders[layout]), "--as", layout.replace("-", "_"), "--subjects", "4", "--seconds", "8", "--fps", "30", "--view", "aligned", "--workers", "1"]) == 0
        return folders[layout]
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_phantom_in_foreign_clothes_is_read_and_checked(exported, says, layout):
    code, out, err = says("check", layout, "--root", exported(layout))
    assert code == 1 and "INCOMPLETE" in out and not err                # four people are never all of a real set
    found = load(layout, exported(layout))
    assert f"{len(found.videos) if hasattr(found, 'videos') else len(found.images)} found, " in out
    for why in found.repairs.why.unique(): assert why in out


def test_a_layout_has_its_own_frame_rate(says, tmp_path):
    code, out, err = says("export-phantom", tmp_path/"copy", "--as", "samm-lv", "--subjects", "1", "--seconds", "2", "--view", "aligned", "--workers", "2")
    assert code == 0 and load("samm-lv", tmp_path/"copy").videos[["fps", "n_frames"]].values.tolist() == [[200., 400.]]


def test_every_layout_has_a_reader_and_every_reader_a_manifest_entry():
    assert set(LAYOUTS) <= set(READERS) <= set(manifest())
    assert len(LAYOUTS) == 9


def test_list_shows_every_set_and_where_it_was_found(exported, says):
    Path("data.local.yaml").write_text(f"samm-lv: {exported('samm-lv')}\n")
    code, out, err = says("list")
    assert code == 0 and all(name in out for name in manifest())
    assert next(line for line in out.splitlines() if line.strip().startswith("samm-lv ")).rstrip().endswith(str(exported("samm-lv")))


def test_check_a_whole_set_is_exit_0(says):
    code, out, err = says("check", "phantom-tiny")
    assert code == 0 and out.strip().endswith("complete") and "INCOMPLETE" not in out


def test_check_finds_damage(exported, says, tmp_path):
    shutil.copytree(exported("samm-lv"), tmp_path/"copy")
    pictures = sorted((tmp_path/"copy").rglob("*.jpg"))
    pictures[3].write_bytes(b"")
    pictures[-1].write_bytes(pictures[-1].read_bytes()[:-400])         # the last of its video: looked into without --deep
    pictures[10].write_bytes(pictures[10].read_bytes()[:-400])
    code, out, err = says("check", "samm-lv", "--root", tmp_path/"copy", "--repairs", tmp_path/"repairs.csv")
    assert code == 1 and "2 missing or damaged files" in out and pictures[3].name in out and pictures[-1].name in out and pictures[10].name not in out
    code, out, err = says("check", "samm-lv", "--root", tmp_path/"copy", "--deep")
    assert "3 missing or damaged files" in out and pictures[10].name in out
    repairs = pd.read_csv(tmp_path/"repairs.csv")
    assert len(repairs) == len(load("samm-lv", tmp_path/"copy").repairs) > 3


def test_an_annotation_for_a_video_that_is_not_there_is_told(exported, says, tmp_path):
    shutil.copytree(exported("casme2"), tmp_path/"copy")
    whole = load("casme2", tmp_path/"copy")
    clip = Path(whole.videos.path[whole.videos.video == whole.annotations.video[0]].item())
    shutil.rmtree(clip)
    code, out, err = says("check", "casme2", "--root", tmp_path/"copy")
    assert code == 1 and whole.annotations.video[0] in out and "no such video: row left out" in out
    assert len(load("casme2", tmp_path/"copy").annotations) == len(whole.annotations) - 1


@pytest.mark.parametrize("name", sorted(set(READERS) - {"mgif"}))
def test_without_a_copy_one_is_told_how_to_get_one(says, name):
    for verb in ("check", "prepare", "describe"):
        code, out, err = says(verb, name)
        assert code == 2 and len(err.strip().splitlines()) == 1 and entry(name).apply.split(".")[0] in err, err


def test_mistakes(says, tmp_path, exported):
    for args, words in [(("check", "sam-lv"), "did you mean samm-lv"), (("check", "samm-lv", "--root", "/nowhere"), "there is no folder /nowhere"),
                        (("fetch", "smic"), "cannot be fetched by a program"), (("export-phantom", tmp_path/"x", "--as", "imagenet"), "choose one of samm-lv"),
                        (("export-phantom", exported("mug"), "--as", "mug"), "there already and not empty"), (("export-phantom", tmp_path/"x", "--as", "mug", "--preset", "huge"), "no phantom preset 'huge'"),
                        (("prepare", "kdef", "--root", exported("kdef")), "needs no preparation"), (("prepare", "phantom-tiny"), "needs no preparation"),
                        (("prepare", "samm-lv", "--root", exported("samm-lv"), "--aligner", "mtcnn"), "mtcnn"), (("describe", "mug", "--root", exported("mug")), "no annotated expressions"),
                        (("check", "samm-lv", "--root", exported("mug")), "SAMM_LongVideos")]:
        code, out, err = says(*args)
        assert code == 2 and words in err, (args, err)


def test_a_web_page_in_place_of_the_spreadsheet(exported, says, tmp_path):
    shutil.copytree(exported("smic"), tmp_path/"copy")
    next((tmp_path/"copy").glob("*.xlsx")).write_text("<!DOCTYPE html><html><title>Sign in</title></html>")
    code, out, err = says("check", "smic", "--root", tmp_path/"copy")
    assert code == 2 and "is an HTML page; the download probably needed a login" in err


def test_describe_writes_tables_and_figures(says, tmp_path):
    code, out, err = says("describe", "phantom-tiny", "--out", tmp_path/"out")
    assert code == 0 and {p.name for p in (tmp_path/"out").iterdir()} == {"durations.csv", "move_to_neutral.csv", "loso.csv", "move_to_neutral.png", "loso.png"}
    durations, annotations = pd.read_csv(tmp_path/"out"/"durations.csv").set_index("kind"), load("phantom-tiny").annotations
    assert durations.loc["micro", "count"] == (annotations.kind == "micro").sum() and f"{durations.loc['macro', 'mean']:.2f}" in out


def test_the_published_durations_stand_beside_those_of_a_copy(exported, says, tmp_path):
    code, out, err = says("describe", "samm-lv", "--root", exported("samm-lv"), "--out", tmp_path/"out")
    assert code == 0 and "As published there" in out and "25.88" in out and "217" in out


def test_prepare_says_what_became_of_each_video(exported, says, tmp_path):
    args = ("prepare", "samm-lv", "--root", exported("samm-lv"), "--out", tmp_path/"out", "--aligner", "none", "--workers", "1")
    code, out, err = says(*args)
    assert code == 0 and out.count("  made  ") == 4 and "not to be relied on" in err and str(tmp_path/"out") in out
    code, out, err = says(*args, "--aus", "none")
    assert code == 0 and out.count("  kept  ") == 4 and "relied" not in err


def test_whole_images(tmp_path):
    import cv2, numpy as np
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    for kind in ("jpg", "png", "bmp"):
        path = tmp_path/f"a1.{kind}"
        cv2.imwrite(str(path), image)
        whole = path.read_bytes()
        assert is_whole(path)
        path.write_bytes(whole + b"\0"*20)                             # some cameras pad
        assert is_whole(path)
        for cut in (len(whole)//2, len(whole) - 8, 10, 0):
            path.write_bytes(whole[:cut])
            assert not is_whole(path), (kind, cut)
        path.write_text("<html>")
        assert not is_whole(path)
    assert not is_whole(tmp_path/"absent.jpg")
    assert damaged_images(pd.DataFrame(dict(video=["v"], path=[str(tmp_path)]))).problem.tolist() == ["cut short or no image"]*3
    assert check("phantom-tiny").complete
