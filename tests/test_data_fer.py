"The composite set: one form for all pictures, counts, and what is missing, empty or corrupt."
import json
import cv2
import numpy as np
import pandas as pd
import pytest
from mespot.core import MespotError
from mespot.data.export_expressions import write_fer2013
from mespot.data.expressions import FFHQ_EMOTIONS
from mespot.data.fer import CLASSES, Stills, ck_plus_apices, class_counts, composite, in_memory, phantom_folders, phantom_stills, plot_counts, read_class_folders, to_form
from mespot.data.phantom import EMOTIONS, phantom
from mespot.data.phantom_sequences import expression_sequences
from mespot.data.registration import EYES
from mespot.data.video import read_image


def picture(path, seed=0, size=112):
    "A grey picture of the view's size, which is taken for a view."
    path.parent.mkdir(parents=True, exist_ok=True)
    view = phantom_stills(1, each=0, neutral=1, size=112, seed=seed).frames[0]
    cv2.imwrite(str(path), view if size == 112 else cv2.resize(view, (size, size)))
    return view


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("classes")
    for i, emotion in enumerate(("happy", "angry", "neutral")): picture(root/"train"/emotion/f"{i}.png", i)
    return root


def test_a_box_says_where_the_eyes_are():
    grey = np.full((300, 400), 90, np.uint8)
    x, y, side = 120, 60, 140
    for ex in (.30, .69): cv2.circle(grey, (round(x + ex*side), round(y + .41*side)), 5, 255, -1)
    view = to_form(grey, 112, box=(x, y, side))
    for (ex, ey), half in zip(EYES, (slice(0, 56), slice(56, 112))):
        spot = np.argwhere(view[:, half] > 170).mean(0)
        assert np.hypot(spot[0] - ey, spot[1] + half.start - ex) < 1


def test_a_crop_is_the_box():
    grey = np.zeros((200, 300), np.uint8); grey[50:150, 80:180] = 200
    assert (to_form(grey, 50, "crop", (80, 50, 100))[2:-2, 2:-2] == 200).all()
    wide = to_form(grey, 50, "crop", (30, 0, 200))
    assert abs(float((wide > 100).mean()) - .25) < .03 and wide[25, 25] == 200
    assert to_form(grey, 32, "crop").shape == (32, 32)


def test_a_view_stays_a_view():
    view = phantom_stills(1, each=0, neutral=1, size=112, seed=3).frames[0]
    assert np.array_equal(to_form(view, 112), view) and np.array_equal(to_form(view, 64), cv2.resize(view, (64, 64), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("size, form", [(64, "face"), (8, "view"), (200, "crop")])
def test_forms_that_there_are_not(size, form):
    with pytest.raises(MespotError, match="forms are"): to_form(np.zeros((112, 112), np.uint8), size, form)


def test_class_folders(folders, tmp_path):
    (folders/"train"/"fear").mkdir(exist_ok=True)
    (folders/"train"/"angry"/".DS_Store").write_text("")
    picture(folders/"masks"/"a.png")
    found = read_class_folders(folders)
    assert sorted(found.images.emotion) == ["anger", "happiness", "neutral"]
    why = found.repairs.set_index("why").was
    assert why["no pictures in the folder of an emotion"] == "train/fear" and why["not the name of an emotion: folder left out"] == "masks"
    (tmp_path/"happy").mkdir()
    with pytest.raises(MespotError, match="holds no pictures"): read_class_folders(tmp_path)


def test_a_corrupt_picture_is_named_or_left_out(folders, tmp_path):
    import shutil
    shutil.copytree(folders, tmp_path/"set")
    (tmp_path/"set"/"train"/"happy"/"bad.png").write_bytes(b"not a picture")
    cv2.imwrite(str(tmp_path/"set"/"train"/"neutral"/"wall.png"), np.full((200, 200), 80, np.uint8))
    stills = composite({"folders": tmp_path/"set"})
    assert len(stills) == 5 and stills.frames is None
    bad = int(np.flatnonzero(stills.table.image.str.contains("bad"))[0])
    with pytest.raises(MespotError, match="bad.png"): stills.picture(bad)
    read = in_memory(stills)
    notes = read.repairs[read.repairs.why.str.startswith("picture cannot be used")]
    assert sorted(notes.file) == ["bad.png", "wall.png"] and "no face" in notes.was.str.cat() and read.frames.shape == (3, 64, 64)
    order = [i for i in range(5) if not any(x in stills.table.image[i] for x in ("bad", "wall"))]
    assert all(np.array_equal(stills.picture(i), f) for i, f in zip(order, read.frames)) and read.table.image.tolist() == stills.table.image[order].tolist()
    assert in_memory(read) is read
    with pytest.raises(MespotError, match="none of the"): in_memory(stills.part([bad]))


def test_sets_are_joined_and_their_origin_kept(folders, tmp_path):
    ph = phantom("tiny", 3, subjects=2, seconds=12.)
    write_fer2013(ph, tmp_path, quirks=True)
    stills = composite({"fer2013": tmp_path, "folders": folders}, size=48)
    assert set(stills.table.data_set) == {"fer2013", "folders"} and stills.table.row.notna().sum() == (stills.table.data_set == "fer2013").sum()
    why = stills.repairs.set_index("why")
    assert why.loc["pictures without an emotion: left out", "was"] == "1" and "not 2304 pixels: row left out" in why.index
    read = in_memory(stills)
    assert len(read) == len(stills) and read.frames.shape[1:] == (48, 48)          # FER2013's pictures have a box: none is lost
    truth = pd.Series({"fer2013": 0, "folders": 3}).add(stills.table.data_set.value_counts() - stills.table.data_set.value_counts())
    assert truth["folders"] == (stills.table.data_set == "folders").sum()
    shares = stills.table.groupby("emotion").share.unique().map(list).to_dict()
    assert shares.pop("neutral") == [0.] and all(v == [1.] for v in shares.values())


def test_ck_plus_gives_the_last_frame_of_each_labelled_sequence(tmp_path):
    for n, emotion in ((1, 5), (2, None)):
        folder = tmp_path/"cohn-kanade-images"/"S001"/f"{n:03d}"
        for k in range(1, 4): picture(folder/f"S001_{n:03d}_{k:08d}.png", k)
        if emotion:
            (tmp_path/"Emotion"/"S001"/f"{n:03d}").mkdir(parents=True)
            (tmp_path/"Emotion"/"S001"/f"{n:03d}"/f"S001_{n:03d}_00000003_emotion.txt").write_text(f"   {emotion}.0000000e+00\n")
    found = ck_plus_apices(tmp_path).images
    assert found.path.map(lambda p: p[-12:]).tolist() == ["00000003.png"] and found.emotion.tolist() == ["happiness"]
    stills = composite({"ck-plus": tmp_path})
    assert sorted(stills.repairs.was[stills.repairs.why == "no picture of a class"]) == ["negative", "neutral"]
    assert np.array_equal(stills.picture(0), to_form(read_image(found.path[0])[..., 0]))


@pytest.mark.parametrize("name, has", [("affectnet", (30, 40, 60)), ("fer2013", (0, 0, 48))])
def test_known_boxes(name, has):
    from mespot.data.fer import _boxes
    images = pd.DataFrame(dict(face_x=[35.], face_y=[40.], face_width=[50.], face_height=[60.]))
    assert _boxes(name, images).tolist() == [list(has)]


def test_ffhq_and_affectnet_in_their_own_layouts(tmp_path):
    "Files as the two sets lie on a disk, all the way to pictures of one form and classes; a row without an emotion is left out."
    ffhq, affect = tmp_path/"ffhq", tmp_path/"affectnet"
    (ffhq/"json").mkdir(parents=True)
    for i, likeliest in enumerate(("happiness", "surprise", "contempt")):
        (ffhq/"json"/f"{i:05d}.json").write_text(json.dumps([dict(faceId="x", faceAttributes=dict(age=30, emotion={e: float(e == likeliest) for e in FFHQ_EMOTIONS}))]))
        picture(ffhq/"thumbnails128x128"/"00000"/f"{i:05d}.png", i, 128)
    for name in ("a", "b", "c"): picture(affect/"Manually_Annotated"/"Manually_Annotated_Images"/"1"/f"{name}.jpg", 5, 160)
    lists = affect/"Manually_Annotated_file_lists"
    lists.mkdir()
    head = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"
    (lists/"training.csv").write_text(head + "1/a.jpg,20,10,110,130,1;2,6,0,0\n1/b.jpg,20,10,110,130,1;2,9,0,0\n")
    (lists/"validation.csv").write_text(head + "1/c.jpg,20,10,110,130,1;2,0,0,0\n")
    stills = in_memory(composite({"ffhq": ffhq, "affectnet": affect}))
    found = stills.table.groupby("data_set")["class"].agg(sorted).to_dict()
    assert found == {"affectnet": ["negative", "neutral"], "ffhq": ["negative", "neutral", "positive"]}
    assert stills.frames.shape == (5, 64, 64) and stills.frames.std((1, 2)).min() > 5
    assert class_counts(stills.table).loc["all"].tolist() == [2, 2, 1]


def test_sets_that_there_are_not(tmp_path):
    with pytest.raises(MespotError, match="no set imagenet"): composite({"imagenet": tmp_path})
    with pytest.raises(MespotError, match="no folder"): composite({})
    with pytest.raises(MespotError): composite({"kdef": tmp_path})


def test_counts_by_set_and_class():
    table = pd.DataFrame({"data_set": ["b", "b", "a"], "class": ["positive", "positive", "negative"]})
    counts = class_counts(table)
    assert counts.index.tolist() == ["b", "a", "all"] and counts.loc["b"].tolist() == [0, 0, 2] and counts.loc["all"].tolist() == [1, 0, 2]
    ax = plot_counts(counts)
    assert [t.get_text() for t in ax.texts] == ["1", "0", "2"] and sum(p.get_height() for p in ax.patches) == 3


def test_drawn_stills_repeat_and_show_what_the_table_says():
    a, b, c = (phantom_stills(2, each=1, neutral=2, parts=1, seed=s) for s in (5, 5, 6))
    assert np.array_equal(a.frames, b.frames) and a.table.equals(b.table) and not np.array_equal(a.frames, c.frames)
    assert len(a) == 2*(2 + 7 + 7) and set(a.table.emotion) == {"neutral", *EMOTIONS}
    assert a.table.share[a.table.emotion == "neutral"].eq(0).all() and ((a.table.share > 0) | (a.table.emotion == "neutral")).all()
    assert a.table["class"].cat.categories.tolist() == list(CLASSES) and (a.table["class"] == "neutral").sum() == 2*(2 + 2)


def test_more_people_are_further_people():
    assert np.array_equal(phantom_stills(2, seed=1, each=1, neutral=1).frames[:8], phantom_stills(1, seed=1, each=1, neutral=1).frames)


def test_drawn_stills_show_the_people_of_the_sequences():
    "Training and test people are told apart by seed, so the two generators must mean the same people by it."
    still = phantom_stills(4, each=0, neutral=1, seed=31).frames.astype(float)
    other = expression_sequences(4, ("happiness",), length=8, seed=31).frames[:, 0].astype(float)
    norm = lambda f: (f - f.mean((1, 2), keepdims=True))/f.std((1, 2), keepdims=True)
    from mespot.signal.lcn import lcn
    alike = np.einsum("aij,bij->ab", norm(lcn(still, 3)), norm(lcn(other, 3)))
    assert (alike.argmax(1) == np.arange(4)).all()


@pytest.mark.parametrize("bad", [dict(people=0), dict(size=8), dict(each=0, neutral=0), dict(parts=-1)])
def test_nothing_to_draw(bad):
    with pytest.raises(MespotError, match="stills of"): phantom_stills(**bad)


def test_parts_of_a_set():
    stills = Stills(phantom_stills(1, each=1, neutral=1, seed=2).table)
    assert len(stills.part(stills.table["class"] == "negative")) == 5 and stills.part(np.array([2])).table.image.tolist() == ["0_2"]


def test_phantom_folders_are_written_once_and_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("MESPOT_CACHE", str(tmp_path))
    written, broken = [], [True]
    def write(ph, home, quirks, workers):
        home.mkdir(parents=True); (home/f"{ph.seed}.txt").write_text("")
        written.append(ph.seed)
        if broken.pop() if broken else False: raise KeyboardInterrupt
    monkeypatch.setattr("mespot.data.fer.PHANTOM_SETS", {"kdef": write, "fer2013": write})
    with pytest.raises(KeyboardInterrupt): phantom_folders(2, 5., sets=("kdef", "fer2013"))
    first, again = (phantom_folders(2, s, sets=("kdef", "fer2013")) for s in (5., 5))
    assert first == again and written == [0, 0, 1] and len(list(first["kdef"].glob("*.txt"))) == 1     # begun anew after the break, then kept; other people in each set
    with pytest.raises(MespotError, match="layout of mmi"): phantom_folders(sets=["mmi"])
