import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, strategies as st
from skimage import data

from mespot.core import MespotError
from mespot.data.video import mp4_boxes, mp4_facts, natural_key, read_image, read_video

PICTURE = data.astronaut()


def pictures(n, h=120, w=160): return [np.ascontiguousarray(PICTURE[2*i:2*i+h, 3*i:3*i+w]) for i in range(n)]


def write(path, frames, code="mp4v", fps=25):
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*code), fps, frames[0].shape[1::-1])
    assert out.isOpened()
    for f in frames: out.write(f[..., ::-1])
    out.release()
    return path


def moov_first(path):
    "Move the index of an MP4 file before its frames, as for streaming, so that a file cut short can still be opened."
    raw = path.read_bytes()
    parts = {kind: raw[a-8:b] for kind, a, b in mp4_boxes(raw)}
    moov = bytearray(parts[b"moov"])
    at = moov.find(b"stco") + 8
    for i in range(int.from_bytes(moov[at:at+4], "big")):           # chunks now lie further back
        k = at + 4 + 4*i
        moov[k:k+4] = (int.from_bytes(moov[k:k+4], "big") + len(moov)).to_bytes(4, "big")
    order = [parts[k] if k != b"moov" else b"" for k in parts]
    path.write_bytes(order[0] + bytes(moov) + b"".join(order[1:]))
    return path


@pytest.mark.parametrize("name, code", [("a.mp4", "mp4v"), ("a.mov", "mp4v"), ("a.avi", "MJPG"), ("a.avi", "XVID"), ("a.mkv", "mp4v")])
def test_healthy_files(tmp_path, name, code):
    frames = pictures(30)
    video = read_video(write(tmp_path/name, frames, code))
    assert (video.n_frames, len(video), video.fps, video.size) == (30, 30, 25, (160, 120))
    np.testing.assert_allclose(video.times, np.arange(30)/25, atol=2e-3)
    for _ in range(2):                                               # it can be iterated again
        shown = np.stack(list(video))
        assert shown.dtype == np.uint8 and np.abs(shown.astype(int) - frames).mean() < 8
    assert np.abs(shown.astype(int) - np.stack(frames)[..., ::-1]).mean() > 12  # RGB, not BGR


def test_lazy_and_counted_by_reading(tmp_path):
    video = read_video(write(tmp_path/"a.mp4", pictures(30)))
    first = next(iter(video))
    assert first.shape == (120, 160, 3) and video._times is None
    assert sum(1 for _ in video) == 30 and len(video._times) == 30
    two = zip(video, video)                                          # two readers do not disturb each other
    for _ in range(5): a, b = next(two)
    np.testing.assert_array_equal(a, b)


def test_fps_can_be_given(tmp_path):
    path = write(tmp_path/"a.mp4", pictures(5))
    assert read_video(path, fps=200).fps == 200
    for fps in (0, -1, float("nan"), float("inf")):
        with pytest.raises(MespotError, match="positive"): read_video(path, fps=fps)


def one_sentence(path, **kwargs):
    with pytest.raises(MespotError) as e: list(read_video(path, **kwargs))
    assert "\n" not in str(e.value) and str(path) in str(e.value)
    return str(e.value)


def test_missing_and_not_a_video(tmp_path):
    assert "there is no video" in one_sentence(tmp_path/"none.mp4")
    for name, content in (("text.mp4", b"hello\n"*50), ("empty.mp4", b""), ("short.mov", b"ab"), ("noise.avi", bytes(range(256))*40)):
        (tmp_path/name).write_bytes(content)
        assert "cannot be read as a video" in one_sentence(tmp_path/name)


@pytest.mark.parametrize("share", [.3, .7, .97])
def test_mp4_without_its_end(tmp_path, share):
    path = write(tmp_path/"a.mp4", pictures(40))
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size*share)])
    assert "its end is missing" in one_sentence(path)


@pytest.mark.parametrize("share", [.5, .9, .99])
def test_mp4_cut_short_behind_its_index(tmp_path, share):
    path = moov_first(write(tmp_path/"a.mp4", pictures(100)))
    assert read_video(path).n_frames == 100
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size*share)])
    message = one_sentence(path)
    assert "of 100 frames" in message
    n = int(message.split("only ")[1].split()[0])
    assert share*100 - 25 < n < 100


@pytest.mark.parametrize("name, code", [("a.avi", "MJPG"), ("a.mkv", "mp4v")])
def test_other_files_cut_short(tmp_path, name, code):
    path = write(tmp_path/name, pictures(60), code)
    path.write_bytes(path.read_bytes()[:int(path.stat().st_size*.7)])
    assert "of 60 frames" in one_sentence(path)
    with pytest.raises(MespotError, match="of 60 frames"): read_video(path).n_frames


def test_damaged_in_the_middle(tmp_path):
    path = write(tmp_path/"a.mp4", pictures(60))
    raw = bytearray(path.read_bytes())
    raw[len(raw)//2:len(raw)*2//3] = bytes(len(raw)*2//3 - len(raw)//2)
    path.write_bytes(raw)
    assert "of 60 frames" in one_sentence(path)


def trimmed(path, shown):
    "Make the video track's header say that only `shown` of it is played, as a phone does when a clip is trimmed."
    raw = bytearray(path.read_bytes())
    at = raw.find(b"tkhd") + 4 + 20
    raw[at:at+4] = int(int.from_bytes(raw[at:at+4], "big")*shown).to_bytes(4, "big")
    path.write_bytes(raw)


def test_a_trimmed_clip_is_healthy(tmp_path):
    path = write(tmp_path/"a.mp4", pictures(50))
    assert mp4_facts(path) == (True, 2.0) and read_video(path).expected == 50
    trimmed(path, .5)
    assert read_video(path).expected == 25 and read_video(path).n_frames >= 25


def test_a_container_off_by_two_is_healthy(tmp_path):
    video = read_video(write(tmp_path/"a.avi", pictures(30), "MJPG"))
    video.expected = 32
    assert len(list(video)) == 30
    video.expected = 34
    with pytest.raises(MespotError, match="only 30 of 34"): list(video)


def test_nothing_is_printed(tmp_path):
    path = moov_first(write(tmp_path/"a.mp4", pictures(60)))
    path.write_bytes(path.read_bytes()[:path.stat().st_size//2])
    folder = tmp_path/"images"
    folder.mkdir()
    raw = cv2.imencode(".jpg", PICTURE)[1].tobytes()
    (folder/"1.jpg").write_bytes(raw)
    (folder/"2.jpg").write_bytes(raw[:len(raw)//2])
    (tmp_path/"text1.mp4").write_text("text")
    code = """if True:
        import sys
        from mespot.core import MespotError
        from mespot.data.video import read_video
        for path in sys.argv[1:]:
            try: list(read_video(path, fps=25))
            except MespotError as e: print(e)"""
    done = subprocess.run([sys.executable, "-c", code, str(path), str(folder), str(tmp_path/"text1.mp4")], capture_output=True, text=True)
    assert done.stderr == "" and len(done.stdout.splitlines()) == 3 and done.returncode == 0


def fill(folder, frames, names):
    folder.mkdir(exist_ok=True)
    for name, f in zip(names, frames): cv2.imwrite(str(folder/name), f[..., ::-1])
    return folder


def test_folder_in_natural_order(tmp_path):
    frames = pictures(12)
    folder = fill(tmp_path/"clip", frames, [f"img{i}.png" for i in range(1, 13)])
    (folder/"notes.txt").write_text("not a frame")
    (folder/".img0.png").write_bytes(b"not a frame either")
    video = read_video(folder, fps=200)
    assert (video.n_frames, video.fps, video.size) == (12, 200, (160, 120))
    np.testing.assert_array_equal(np.stack(list(video)), np.stack(frames))
    np.testing.assert_allclose(video.times, np.arange(12)/200)


def test_folder_without_fps_says_so(tmp_path):
    folder = fill(tmp_path/"clip", pictures(2), ["1.png", "2.png"])
    with pytest.warns(UserWarning, match="30 frames/s are assumed"): assert read_video(folder).fps == 30


@pytest.mark.parametrize("content", [b"", b"not an image", cv2.imencode(".jpg", PICTURE)[1].tobytes()[:6000], cv2.imencode(".png", PICTURE)[1].tobytes()[:60_000]])
def test_folder_with_one_unreadable_image(tmp_path, content):
    folder = fill(tmp_path/"clip", pictures(5), [f"{i}.jpg" for i in range(5)])
    (folder/"3.jpg").write_bytes(content)
    assert "3.jpg" in one_sentence(folder, fps=25)


def test_folders_that_are_no_video(tmp_path):
    (tmp_path/"sub").mkdir()
    assert "holds no images" in one_sentence(tmp_path/"sub", fps=25)
    folder = fill(tmp_path/"mixed", [*pictures(3), PICTURE[:100, :90]], [f"{i}.png" for i in range(4)])
    assert "frame 3 is 90x100 pixels, the first 160x120" in one_sentence(folder, fps=25)


def test_grey_and_deep_images_become_rgb(tmp_path):
    cv2.imwrite(str(tmp_path/"grey.png"), PICTURE[..., 0])
    cv2.imwrite(str(tmp_path/"deep.png"), PICTURE[..., 0].astype(np.uint16)*256)
    for name in ("grey.png", "deep.png"):
        image = read_image(tmp_path/name)
        assert image.shape == (512, 512, 3) and image.dtype == np.uint8 and np.abs(image[..., 1].astype(int) - PICTURE[..., 0]).max() <= 1


@given(st.lists(st.integers(0, 10**6), unique=True), st.integers(1, 6))
def test_natural_order_is_numeric(numbers, width):
    names = [f"a{n:0{width}d}b.jpg" for n in numbers]
    assert sorted(names, key=natural_key) == [f"a{n:0{width}d}b.jpg" for n in sorted(numbers)]


@given(st.lists(st.sampled_from(["a1", "a01", "1a", "a", "1", "A2b3", "_", "a1.5", "é9"])))
def test_any_names_can_be_ordered(names): sorted(names, key=natural_key)


@given(st.binary(max_size=400))
def test_any_bytes_end_in_a_sentence(raw):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)/"any.mp4"
        path.write_bytes(raw[:4] + b"ftyp" + raw)
        with pytest.raises(MespotError): read_video(path)
