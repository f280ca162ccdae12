import gzip
import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from mespot.core import MespotError
from mespot.data.export_clips import events
from mespot.data.export_expressions import fer_square, stills, write_ck_plus, write_fer2013, write_kdef, write_mug
from mespot.data.expressions import (FFHQ_EMOTIONS, THREE_CLASSES, read_affectnet, read_ck_plus, read_fer2013, read_ffhq_features, read_kdef, read_mmi, read_mug,
                                     read_picture, three_classes)
from mespot.data.phantom import phantom
from mespot.data.tables import DataSet, numbered_images
from mespot.data.toys import read_idx, read_mgif, read_mnist, read_moving_mnist
from mespot.data.video import read_image

PAIRS = [(write_ck_plus, read_ck_plus), (write_mug, read_mug), (write_fer2013, read_fer2013), (write_kdef, read_kdef)]


def same(got, wanted):
    assert type(got) is type(wanted) and got.name == wanted.name
    for table in ("videos", "annotations", "repairs") if isinstance(got, DataSet) else ("images", "repairs"):
        pd.testing.assert_frame_equal(getattr(got, table), getattr(wanted, table))


def touch(root, *names):
    for name in names:
        (root/name).parent.mkdir(parents=True, exist_ok=True)
        (root/name).touch()


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def repairs(data, *columns): return data.repairs[["why", *columns]].values.tolist()


# ---- round trips

@pytest.fixture(scope="module")
def ph(): return phantom("tiny", subjects=3, seconds=8., macro_per_minute=24)


@pytest.mark.parametrize("quirks", [True, False])
@pytest.mark.parametrize("write, read", PAIRS)
def test_round_trip(write, read, quirks, ph, tmp_path):
    wanted = write(ph, tmp_path, quirks, view="aligned")
    same(read(tmp_path), wanted)
    assert len(wanted.videos if isinstance(wanted, DataSet) else wanted.images) >= 4 and (quirks or not len(wanted.repairs))


def test_ck_plus_ends_at_the_phantoms_apex(ph, tmp_path):
    data = write_ck_plus(ph, tmp_path, False, view="aligned") and read_ck_plus(tmp_path)
    for a, path, e in zip(data.annotations.itertuples(), data.videos.path, events(ph, "macro"), strict=True):
        images = numbered_images(path)[1]
        assert a.apex == a.offset == len(images) - 1 and a.emotion == e["emotion"]
        np.testing.assert_array_equal(read_image(images[a.apex])[..., 0], ph.frames(e["video"], e["apex"], e["apex"] + 1)[0])


def test_fer2013_pictures_are_the_phantoms(ph, tmp_path):
    write_fer2013(ph, tmp_path, False, view="aligned")
    images = read_fer2013(tmp_path).images
    for row, (_, emotion, video, frame) in zip(images.itertuples(), stills(ph, THREE_CLASSES.keys() - {"contempt"}), strict=True):
        grey = ph.frames(video, frame, frame + 1)[0]
        np.testing.assert_array_equal(read_picture(row), fer_square(np.repeat(grey[..., None], 3, 2)))
        assert row.emotion == emotion
    assert {"Training", "PublicTest", "PrivateTest"} == set(images.usage)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("write, read", PAIRS[:2])
def test_other_phantoms_round_trip(write, read, seed, tmp_path, monkeypatch):
    monkeypatch.setattr("mespot.data.export_expressions.write_frames", lambda ph, jobs, *args, **kwargs: touch(tmp_path, *(path for job in jobs for path in job[3])))
    ph = phantom("tiny", seed, subjects=4, seconds=10., macro_per_minute=40)
    for quirks in (True, False):
        wanted = write(ph, tmp_path/f"{quirks}", quirks)
        same(read(tmp_path/f"{quirks}"), wanted)


def test_camera_views(tmp_path):
    ph = phantom("tiny", subjects=1, seconds=4., macro_per_minute=60)
    for write, read, name in ((write_kdef, read_kdef, "kdef"), (write_fer2013, read_fer2013, "fer")):
        wanted = write(ph, tmp_path/name, quirks=False, size=(160, 120))
        same(read(tmp_path/name), wanted)
    assert read_picture(read_kdef(tmp_path/"kdef").images.iloc[0]).shape == (120, 160, 3) and read_picture(read_fer2013(tmp_path/"fer").images.iloc[0]).std() > 10


def test_fer_square_takes_the_middle():
    image = np.zeros((100, 200, 3), np.uint8)
    image[15:85, 65:135] = 200
    assert fer_square(image).min() == 200 and fer_square(image[:, :100]).min() == 0


# ---- CK+

def sequence(root, name="S011_001", n=4, emotion=None, facs=None, last=None):
    subject, nth = name.split("_")
    touch(root, *(f"cohn-kanade-images/{subject}/{nth}/{name}_{i:08d}.png" for i in range(1, n + 1)))
    for folder, ending, content in (("Emotion", "emotion", emotion), ("FACS", "facs", facs)):
        if content is not None: text(root/folder/subject/nth/f"{name}_{last or n:08d}_{ending}.txt", content)


def test_ck_plus_sequence_by_sequence(tmp_path):
    sequence(tmp_path, "S011_001", 4, "   3.0000000e+00\n", "   4.0000000e+00   2.0000000e+00\n   2.5000000e+01   0.0000000e+00\n")
    sequence(tmp_path, "S011_002", 5, None, "1 5\n2 1")
    sequence(tmp_path, "S022_001", 3)
    sequence(tmp_path, "S022_002", 3, "", "  ")
    touch(tmp_path, "cohn-kanade-images/S011/001/.DS_Store", "cohn-kanade-images/S011/001/._S011_001_00000001.png", "Landmarks/S011/001/S011_001_00000001_landmarks.txt")
    data = read_ck_plus(tmp_path)
    assert data.annotations[["video", "onset", "apex", "offset", "kind", "aus"]].values.tolist() == [
        ["S011_001", 0, 3, 3, "macro", "4B+25"], ["S011_002", 0, 4, 4, "macro", "1E+2A"], ["S022_002", 0, 2, 2, "macro", ""]]
    assert data.annotations.emotion.fillna("-").tolist() == ["disgust", "-", "-"]
    assert data.videos.video.tolist() == ["S011_001", "S011_002", "S022_001", "S022_002"] and set(data.videos.fps) == {30.}
    assert repairs(data, "file") == [["file without numbers: ignored", f"S022_002_00000003_{x}.txt"] for x in ("emotion", "facs")]


@pytest.mark.parametrize("code, emotion", list(enumerate(("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise"), 1)))
def test_ck_plus_codes(code, emotion, tmp_path):
    sequence(tmp_path, emotion=f"{code}")
    assert read_ck_plus(tmp_path).annotations.emotion.tolist() == [emotion]


def test_ck_plus_accidents(tmp_path):
    sequence(tmp_path, "S011_001", 4, "0.0", "4 1 5")
    sequence(tmp_path, "S011_002", 4, "1", last=6)                       # two images are missing at the end
    sequence(tmp_path, "S999_001", 0, "1", last=6)
    (tmp_path/"cohn-kanade-images"/"S999"/"002").mkdir(parents=True)
    data = read_ck_plus(tmp_path)
    assert data.annotations[["apex", "offset"]].values.tolist() == [[3, 3], [3, 3]] and data.annotations.emotion.fillna("-").tolist() == ["-", "anger"]
    assert repairs(data, "video", "was", "now") == [
        ["AUs and intensities do not pair: ignored", "S011_001", "", ""], ["unknown emotion code: missing", "S011_001", "0", ""],
        ["offset past the last frame: clipped", "S011_002", "6", "4"], ["apex outside the frames: clipped", "S011_002", "6", "4"],
        ["no such video: row left out", "S999_001", "", ""], ["folder without images: left out", "S999_002", "", ""]]


def test_ck_plus_without_a_half(tmp_path):
    with pytest.raises(MespotError, match="there is no folder"): read_ck_plus(tmp_path/"none")
    sequence(tmp_path/"a", n=3)
    with pytest.raises(MespotError, match="holds no files S011_001_00000016_emotion.txt"): read_ck_plus(tmp_path/"a")
    sequence(tmp_path/"b", n=0, emotion="1", last=3)
    with pytest.raises(MespotError, match="holds no folders cohn-kanade-images"): read_ck_plus(tmp_path/"b")


# ---- MUG

def test_mug_paths(tmp_path):
    touch(tmp_path, *(f"subjects3/001/001/happiness/take000/img_{i:04d}.jpg" for i in range(3)), "subjects3/001/001/happiness/take001/img_0000.jpg",
          "subjects3/002/Surprise/take000/img_0007.jpg", "subjects3/052/session1/anger/img_0000.jpg", "subjects3/052/session1/mixed/take000/img_0000.jpg",
          "docs/figure1.jpg", "subjects3/001/001/happiness/take000/Thumbs.db", "subjects3/003/anger/take000/first.jpg")
    data = read_mug(tmp_path)
    assert data.videos[["video", "subject", "n_frames"]].values.tolist() == [
        ["001_happiness_take000", "001", 3], ["001_happiness_take001", "001", 1], ["002_Surprise_take000", "002", 1], ["052_session1_anger", "052", 1], ["052_session1_mixed_take000", "052", 1]]
    assert data.videos.emotion.fillna("-").tolist() == ["happiness", "happiness", "surprise", "anger", "-"] and set(data.videos.fps) == {19.} and not len(data.annotations)
    assert sorted(repairs(data, "was")) == [["neither person nor emotion in the path: folder left out", "docs"], ["no emotion in the path: missing", "subjects3/052/session1/mixed/take000"],
                                            ["no numbered images: folder left out", "subjects3/003/anger/take000"]]
    assert read_mug(tmp_path/"subjects3").videos.video.tolist() == data.videos.video.tolist()


def test_mug_complains(tmp_path):
    touch(tmp_path, "docs/figure1.jpg")
    with pytest.raises(MespotError, match="001/001/happiness/take000"): read_mug(tmp_path)
    touch(tmp_path, "a/001/001/fear/take000/1.jpg", "b/001/fear/take000/1.jpg")
    with pytest.raises(MespotError, match="two sequences 001_fear_take000.* and "): read_mug(tmp_path)


# ---- MMI

def film(path, n=12, fps=25.):
    path.parent.mkdir(parents=True, exist_ok=True)
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (64, 48))
    for i in range(n): out.write(np.full((48, 64, 3), 20*i, np.uint8))
    out.release()


def marked(au, *marks): return f'<ActionUnit Number="{au}">' + "".join(f'<Marker Frame="{f}" Type="{t}"/>' for f, t in marks) + "</ActionUnit>"


def test_mmi_sessions(tmp_path):
    for session, video in (("1", "S001-001"), ("2", "clip"), ("3", "S003-009"), ("4", "S004-001"), ("5", "S005-001")): film(tmp_path/"Sessions"/session/f"{video}.avi")
    at = tmp_path/"Sessions"
    text(at/"1"/"session.xml", '<session sessionId="1"><subject id="7"/><track view="0" filename="S001-001.avi"/></session>')
    text(at/"1"/"S001-001.xml", '<x><Metatag Name="AgeGroup" Value="2"/><Metatag Name="Emotion" Value="4"/></x>')
    text(at/"1"/"S001-001-oao_aucs.xml", f"<x>{marked(6, (1, 0), (3, 1), (5, 2), (8, 3), (10, 0))}{marked(12, (2, 1), (6, 2), (9, 3), (12, 0))}</x>")
    text(at/"2"/"session.xml", '<session sessionId="2"><subject id="28"/></session>')
    text(at/"2"/"clip.xml", '<x><Metatag Name="Emotion" Value="11"/></x>')
    text(at/"2"/"clip-oao_aucs.xml", f"<x>{marked(9, (4, 1))}{marked(17)}</x>")                           # it rises and never comes back
    text(at/"3"/"S003-009.xml", "<x><Metatag")
    text(at/"4"/"S004-001-oao_aucs.xml", "<x>" + marked("25") + "</x>")
    (at/"5"/"S005-001.avi").write_bytes((at/"5"/"S005-001.avi").read_bytes()[:400])
    film(at/"6"/"film.avi", 3, 30.)
    data = read_mmi(tmp_path)
    assert data.videos[["video", "subject", "fps", "n_frames"]].values.tolist() == [["clip", "S028", 25., 12], ["film", "6", 30., 3], ["S001-001", "S001", 25., 12], ["S003-009", "S003", 25., 12],
                                                                                    ["S004-001", "S004", 25., 12]]
    assert data.videos.emotion.fillna("-").tolist() == ["-", "-", "happiness", "-", "-"]
    assert data.annotations[["video", "onset", "apex", "offset", "aus"]].fillna(-1).values.tolist() == [["S001-001", 1, 5, 10, "6+12"], ["clip", 3, -1, 11, "9+17"]]
    assert repairs(data, "file") == [["unknown emotion code: missing", "clip.xml"], ["no apex: missing", "clip-oao_aucs.xml"], ["file cannot be read: ignored", "S003-009.xml"],
                                     ["AUs without marks in time: no annotation", "S004-001-oao_aucs.xml"], ["video cannot be read: left out", "S005-001.avi"]]
    (tmp_path/"none").mkdir()
    with pytest.raises(MespotError, match="holds no .avi files"): read_mmi(tmp_path/"none")


# ---- images

def test_kdef_names(tmp_path):
    touch(tmp_path, "KDEF_and_AKDEF/KDEF/AF01/AF01ANS.JPG", "KDEF_and_AKDEF/KDEF/AF01/AF01ANHL.JPG", "KDEF_and_AKDEF/KDEF/BF01/bf01sus.jpg", "KDEF_and_AKDEF/KDEF/AM35/AM35AFS.JPG",
          "KDEF_and_AKDEF/KDEF/AF31/AF31V.JPG", "KDEF_and_AKDEF/AKDEF/AFANS.JPG")
    data = read_kdef(tmp_path)
    assert data.images[["image", "session", "view"]].values.tolist() == [["AF01ANS", "A", "S"], ["AF31V", "", ""], ["AM35AFS", "A", "S"], ["bf01sus", "B", "S"]]
    assert data.images.subject.fillna("-").tolist() == ["F01", "-", "M35", "F01"] and data.images.emotion.fillna("-").tolist() == ["anger", "-", "fear", "surprise"]
    assert repairs(data, "file") == [["not a name of this set: emotion and subject missing", "AF31V.JPG"]] and data.images.row.isna().all()
    assert read_kdef(tmp_path, views=("S", "HL")).images.image.tolist()[:2] == ["AF01ANHL", "AF01ANS"]
    touch(tmp_path, "KDEF_and_AKDEF/KDEF/copy/AF01ANS.JPG")
    with pytest.raises(MespotError, match="two pictures AF01ANS"): read_kdef(tmp_path)
    (tmp_path/"e").mkdir()
    with pytest.raises(MespotError, match="no picture that can be read as kdef"): read_kdef(tmp_path/"e")


FACE = " ".join(str(i % 256) for i in range(2304))


def fer(root, content, name="fer2013.csv", encoding="utf-8"):
    (root/name).write_bytes(content.encode(encoding))
    return read_fer2013(root)


def test_fer2013_rows(tmp_path):
    data = fer(tmp_path, f"emotion,pixels,Usage\n3,{FACE},Training\n1,{FACE} 7,Training\n6,{FACE[:-4]},PublicTest\n9,\"{FACE}\",PrivateTest\n,{FACE},Training\n\n0,{FACE},PrivateTest\n")
    assert data.images.row.tolist() == [0, 3, 4, 6] and data.images.emotion.fillna("-").tolist() == ["happiness", "-", "-", "anger"]
    assert data.images.usage.tolist() == ["Training", "PrivateTest", "Training", "PrivateTest"] and data.images.subject.isna().all()
    assert repairs(data, "row", "was") == [["not 2304 pixels: row left out", 3, "2305"], ["not 2304 pixels: row left out", 4, "2303"],
                                           ["unknown emotion code: missing", 5, "9"], ["unknown emotion code: missing", 6, ""]]
    for _, row in data.images.iterrows(): np.testing.assert_array_equal(read_picture(row).ravel(), np.arange(2304) % 256)


def test_fer2013_of_the_other_release(tmp_path):
    data = fer(tmp_path, f"emotion, Usage, pixels\r\n4,PublicTest,{FACE}\r\n0,PrivateTest,{FACE}\r\n", "icml_face_data.csv", "utf-8-sig")
    assert data.images[["emotion", "usage"]].values.tolist() == [["sadness", "PublicTest"], ["anger", "PrivateTest"]]
    assert [read_picture(row)[0, 5] for row in data.images.itertuples()] == [5, 5]


def test_fer2013_complains(tmp_path):
    with pytest.raises(MespotError, match="holds no file fer2013"): read_fer2013(tmp_path)
    with pytest.raises(MespotError, match="lacks the column pixels; it begins with: emotion, usage"): fer(tmp_path, "emotion,Usage\n1,Training\n")
    with pytest.raises(MespotError, match="no picture that can be read as fer2013"): fer(tmp_path, "emotion,pixels,Usage\n1,1 2 3,Training\n")
    row = fer(tmp_path, f"emotion,pixels,Usage\n3,{FACE},Training\n").images.iloc[0]
    (tmp_path/"fer2013.csv").write_text(f"emotion,pixels,Usage\n3,{FACE.replace('255', '256')},Training\n")
    with pytest.raises(MespotError, match="row 0 holds no 48x48 grey values.*read the data set again"): read_picture(row)
    (tmp_path/"fer2013.csv").unlink()
    with pytest.raises(MespotError, match="cannot be opened"): read_picture(row)


AFFECTNET = "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal\n"


def test_affectnet_rows(tmp_path):
    text(tmp_path/"Manually_Annotated_file_lists"/"training.csv", AFFECTNET + "".join(f"{i % 3}/p{i}.jpg,1,2,30,40,1;2;3,{i},-0.5,{i/10}\n" for i in range(11)) + "9/gone.jpg,1,2,3,4,1;2,1,0,0\n0/p0.jpg,1,2,3,4,,1,0,0\n")
    text(tmp_path/"Manually_Annotated_file_lists"/"validation.csv", AFFECTNET + "7/v.jpg,,,,,1;2,1,0.25,-2\n")
    touch(tmp_path, *(f"Manually_Annotated/Manually_Annotated_Images/{i % 3}/p{i}.jpg" for i in range(11)), "Manually_Annotated/Manually_Annotated_Images/7/v.jpg")
    data = read_affectnet(tmp_path)
    images = data.images.set_index("image")
    assert images.emotion.fillna("-").tolist() == ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt", "-", "-", "-", "happiness"]
    assert images.usage.tolist() == ["training"]*11 + ["validation"] and images.loc["1/p7.jpg", ["face_x", "face_width", "arousal"]].tolist() == [1, 30, .7] and np.isnan(images.face_x["7/v.jpg"])
    assert all(path.endswith(f"Manually_Annotated_Images/{name}") for name, path in images.path.items())
    assert repairs(data, "row", "was") == [["no emotion: missing", 10, "8"], ["no emotion: missing", 11, "9"], ["no emotion: missing", 12, "10"],
                                           ["no such image: row left out", 13, ""], ["listed twice: row left out", 14, ""]]
    assert len(read_affectnet(tmp_path, lists=["validation.csv"]).images) == 1
    (tmp_path/"Manually_Annotated_file_lists"/"validation.csv").unlink()
    assert set(read_affectnet(tmp_path).images.usage) == {"training"}


def test_affectnet_complains(tmp_path):
    text(tmp_path/"training.csv", AFFECTNET + "1/a.jpg,1,2,3,4,1;2,1,0,0\n")
    with pytest.raises(MespotError, match="holds no file validation.csv"): read_affectnet(tmp_path, ["validation.csv"])
    with pytest.raises(MespotError, match="the pictures that .*training.csv names are not below"): read_affectnet(tmp_path)
    text(tmp_path/"training.csv", "1/a.jpg,1,2,3,4,1;2,1,0,0\n")
    with pytest.raises(MespotError, match="lacks the column subDirectory_filePath, expression"): read_affectnet(tmp_path, ["training.csv"])
    (tmp_path/"training.csv").write_text("")
    with pytest.raises(MespotError, match="cannot be read as a CSV"): read_affectnet(tmp_path, ["training.csv"])


def features(**emotions): return json.dumps([dict(faceId="x", faceAttributes=dict(age=30, emotion={e: emotions.get(e, 0.) for e in FFHQ_EMOTIONS}))])


def test_ffhq_features(tmp_path):
    text(tmp_path/"json"/"00000.json", features(neutral=.3, surprise=.6, anger=.1))
    text(tmp_path/"json"/"00001.json", "[]")
    text(tmp_path/"json"/"00002.json", '[{"faceAttributes": {}}]')
    text(tmp_path/"json"/"00003.json", "[{")
    text(tmp_path/"json"/"00004.json", features(neutral=1.))
    touch(tmp_path, *(f"thumbnails128x128/00000/{i:05d}.png" for i in (0, 1, 2, 3, 5)))
    data = read_ffhq_features(tmp_path)
    assert data.images.image.tolist() == ["00000", "00001", "00002", "00003", "00005"] and data.images.emotion.fillna("-").tolist() == ["surprise", "-", "-", "-", "-"]
    assert data.images.loc[0, ["anger", "neutral", "surprise", "fear"]].tolist() == [.1, .3, .6, 0.] and data.images.loc[1:, FFHQ_EMOTIONS].isna().all(axis=None)
    assert repairs(data, "video") == [["no face found: emotion missing", "00001"], ["file cannot be read: emotion missing", "00002"], ["file cannot be read: emotion missing", "00003"],
                                      ["no such image: row left out", "00004"], ["no features: emotion missing", "00005"]]
    touch(tmp_path, "images1024x1024/00000.png")
    with pytest.raises(MespotError, match="two pictures 00000.*images="): read_ffhq_features(tmp_path)
    assert len(read_ffhq_features(tmp_path, images=tmp_path/"images1024x1024").images) == 1


# ---- three classes

def test_three_classes_as_the_thesis_has_them():
    classes = three_classes(pd.Series(["anger", "disgust", "fear", "sadness", "contempt", "neutral", "surprise", "happiness", "others", pd.NA], dtype="string"))
    assert classes.astype(object).fillna("-").tolist() == ["negative"]*5 + ["neutral"]*2 + ["positive", "-", "-"]
    assert classes.cat.codes.tolist() == [0]*5 + [1]*2 + [2, -1, -1] and (classes.cat.codes/2).max() == 1


# ---- toys

def gif(path, n, size=(40, 30), duration=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [Image.fromarray(np.roll(np.tri(*size[::-1], dtype=np.uint8)*255, 3*i, 1)) for i in range(n)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration)


def test_mgif(tmp_path):
    gif(tmp_path/"moving-gif"/"train"/"00000.gif", 9)
    gif(tmp_path/"moving-gif"/"test"/"00000.gif", 6, duration=100)
    touch(tmp_path, "moving-gif/train/00002.gif")
    data = read_mgif(tmp_path)
    assert data.videos[["video", "subject", "n_frames", "part"]].values.tolist() == [["test_00000", "test_00000", 6, "test"], ["train_00000", "train_00000", 9, "train"]]
    np.testing.assert_allclose(data.videos.fps, [10, 25])
    assert repairs(data, "file") == [["video cannot be read: left out", "00002.gif"]] and not len(data.annotations)
    (tmp_path/"empty").mkdir()
    with pytest.raises(MespotError, match="no GIF"): read_mgif(tmp_path/"empty")


def test_moving_mnist(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, (20, 5, 64, 64), dtype=np.uint8)
    np.save(tmp_path/"mnist_test_seq.npy", array)
    for root in (tmp_path, tmp_path/"mnist_test_seq.npy"):
        moving = read_moving_mnist(root)
        assert moving.shape == (5, 20, 64, 64) and isinstance(moving, np.memmap) and not moving.flags.writeable
        np.testing.assert_array_equal(moving[3, 7], array[7, 3])
    np.save(tmp_path/"mnist_test_seq.npy", array.transpose(1, 0, 2, 3))
    with pytest.raises(MespotError, match=r"\(5, 20, 64, 64\).*time, sequence"): read_moving_mnist(tmp_path)
    (tmp_path/"mnist_test_seq.npy").write_text("<html>")
    with pytest.raises(MespotError, match="cannot be read as an array"): read_moving_mnist(tmp_path)
    (tmp_path/"mnist_test_seq.npy").unlink()
    with pytest.raises(MespotError, match="no file mnist_test_seq.npy"): read_moving_mnist(tmp_path)


def idx(array): return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


@settings(max_examples=20)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.booleans())
def test_idx(shape, packed):
    import tempfile
    from pathlib import Path
    array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    with tempfile.TemporaryDirectory() as d:
        path = Path(d)/"a"
        path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
        np.testing.assert_array_equal(read_idx(path), array)
        for damage in (path.read_bytes()[:-1], b"", b"\0\0\x0d" + idx(array)[3:], idx(array) + b"x", idx(array)[:5]):
            path.write_bytes(damage)
            with pytest.raises(MespotError): read_idx(path)


def test_mnist(tmp_path):
    images, labels = np.arange(3*28*28, dtype=np.uint8).reshape(3, 28, 28), np.array([7, 2, 1], np.uint8)
    (tmp_path/"t10k-images.idx3-ubyte").write_bytes(idx(images))
    (tmp_path/"t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    got = read_mnist(tmp_path, "test")
    np.testing.assert_array_equal(got[0], images)
    np.testing.assert_array_equal(got[1], labels)
    with pytest.raises(MespotError, match="train-images"): read_mnist(tmp_path)
    with pytest.raises(MespotError, match="parts train and test, not 'all'"): read_mnist(tmp_path, "all")
    (tmp_path/"t10k-images.idx3-ubyte").write_bytes(idx(images[:2]))
    with pytest.raises(MespotError, match="do not fit together"): read_mnist(tmp_path, "test")


@pytest.mark.parametrize("write, read", PAIRS)
def test_nothing_there(write, read, ph, tmp_path):
    data = write(ph, tmp_path/"a", view="aligned")
    for path in [p for p in (tmp_path/"a").rglob("*") if p.is_file()]: path.unlink()
    with pytest.raises(MespotError): read(tmp_path/"a")
    with pytest.raises(MespotError, match="no folder"): read(tmp_path/"none")
    shutil.rmtree(tmp_path/"a")
    assert len(data.repairs.columns) == 8
