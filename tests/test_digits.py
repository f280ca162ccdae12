"Digits that count and move, and animals that walk: files, order, motion, seeds, flips."
import gzip
import struct
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mespot.core import MespotError
from mespot.data.digits import bouncing, digit_loops, digits, draw_animals, flipped, mgif_frames, moving_digits
from PIL import Image

IMAGES, LABELS = digits()


def idx(array, magic=b"\0\0\x08"): return magic + bytes([array.ndim]) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    images, labels = np.random.default_rng(0).integers(0, 256, (7, 28, 28), np.uint8), np.arange(7, dtype=np.uint8)
    (tmp_path/"train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path/"train-labels-idx1-ubyte").write_bytes(idx(labels))
    return tmp_path, images, labels


def test_mnist_files_take_the_place_of_the_small_digits(mnist):
    folder, *written = mnist
    for got, true in zip(digits(folder), written): np.testing.assert_array_equal(got, true)
    with pytest.raises(MespotError, match="t10k"): digits(folder, "test")


@pytest.mark.parametrize("name, change", [("train-labels-idx1-ubyte", lambda b: b[:-1]), ("train-labels-idx1-ubyte", lambda b: b"\0\0\x0d" + b[3:]),
                                          ("train-images-idx3-ubyte.gz", lambda b: b[:-20]), ("train-labels-idx1-ubyte", lambda b: idx(np.arange(6, dtype=np.uint8)))])
def test_a_fault_in_a_file_is_told(mnist, name, change):
    path = mnist[0]/name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(MespotError, match=name.split("-ubyte")[0]): digits(mnist[0])


def test_parts_of_the_small_digits_have_every_digit_and_full_range():
    test, test_labels = digits(part="test")
    assert len(IMAGES) + len(test) == 1797 and IMAGES.max() == test.max() == 255 and not np.shares_memory(IMAGES, test)
    assert set(LABELS.tolist()) == set(test_labels.tolist()) == set(range(10))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(1, 25), st.integers(0, 9), st.integers(0, 99))
def test_loops_count_and_keep_their_style(n, length, first, seed):
    loops = digit_loops(IMAGES, LABELS, n, length, seed, first)
    assert loops.shape == (n, length, 8, 8)
    of = {d: {i.tobytes() for i in IMAGES[LABELS == d]} for d in range(10)}
    assert all(frame.tobytes() in of[(first + t) % 10] for loop in loops for t, frame in enumerate(loop))
    np.testing.assert_array_equal(loops[:, 10:], loops[:, :-10])
    np.testing.assert_array_equal(loops, digit_loops(IMAGES, LABELS, n, length, seed, np.full(n, first)))


def test_loops_differ_in_style_and_by_seed():
    a = digit_loops(IMAGES, LABELS, 20, 10)
    assert len({loop.tobytes() for loop in a}) == 20 and not np.array_equal(a, digit_loops(IMAGES, LABELS, 20, 10, seed=1))
    assert len({f.tobytes() for f in digit_loops(IMAGES, LABELS, 2000, 1)[:, 0]}) == len({f.tobytes() for f in IMAGES[LABELS == 0]})      # every example is drawn


@pytest.mark.parametrize("images, labels, says", [(IMAGES, LABELS[1:], "one label for each"), (IMAGES/255, LABELS, "uint8"), (IMAGES[:, :4], LABELS, "square"), (IMAGES[:3], LABELS[:3], "no example of 3, 4")])
def test_loops_refuse(images, labels, says):
    with pytest.raises(MespotError, match=says): digit_loops(images, labels, 2)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(-.9, .9))
def test_places_stay_inside_and_turn_only_at_the_edge(start, step):
    x = bouncing(np.array(start), np.array(step), 40)
    assert x.min() >= 0 and x.max() <= 1 and np.isclose(x[0], start)
    moved = np.diff(x)
    free = (x[:-1] + np.sign(moved)*abs(step) >= 0) & (x[:-1] + np.sign(moved)*abs(step) <= 1) & np.isclose(abs(moved), abs(step))
    assert (free | (np.minimum(x[1:], 1 - x[1:]) <= abs(step) + 1e-9)).all()          # a shorter step only by turning at an edge


def corners(movie):
    rows, columns = movie.max(2), movie.max(1)
    return np.stack([(rows > 0).argmax(1), (columns > 0).argmax(1)], 1)


@pytest.mark.parametrize("side", [32, 64])
def test_a_digit_moves_straight_and_bounces(side):
    "A full square shows where it is: never cut off, each step a tenth of the free way, from edge to edge."
    movies, small = moving_digits(np.full((1, 8, 8), 255, np.uint8), 6, 60, side, digits=1, seed=3), round(side*28/64)
    assert ((movies == 255).sum((2, 3)) == small**2).all() and set(np.unique(movies)) == {0, 255}
    for movie in movies:
        at = corners(movie)
        assert at.min() >= 0 and at.max() <= side - small
        length = np.hypot(*np.diff(at, axis=0).T)
        assert abs(np.median(length) - .1*(side - small)) < 1
    every = np.concatenate([corners(m) for m in movies])
    assert every.min() == 0 and every.max() == side - small


def test_overlapping_digits_add_up_to_255_at_most():
    grey = np.full((1, 8, 8), 100, np.uint8)
    assert set(np.unique(moving_digits(grey, 5, 20, 32, digits=4))) == {0, 100, 200, 255}


def test_moving_digits_repeat_by_seed():
    a = moving_digits(IMAGES, 3, 5, 32, seed=4)
    np.testing.assert_array_equal(a, moving_digits(IMAGES, 3, 5, 32, seed=4))
    assert not np.array_equal(a, moving_digits(IMAGES, 3, 5, 32, seed=5)) and not np.array_equal(a[0], a[1])
    with pytest.raises(MespotError, match="side of 8"): moving_digits(IMAGES, 1, side=8)


def test_animations_come_whole_in_rgb_and_scaled(tmp_path):
    draw_animals(tmp_path, 2, 8, 48)
    draw_animals(tmp_path, 1, 5, 48, seed=1, part="test")
    (tmp_path/"moving-gif"/"train"/"00007.gif").write_bytes(b"GIF89a and no more")
    got = mgif_frames(tmp_path)
    assert [(name, f.shape, f.dtype) for name, f in got] == [(f"0000{i}", (8, 48, 48, 3), np.uint8) for i in range(2)]
    assert all((f[:, :3] == 255).all() and len({x.tobytes() for x in f}) == 8 for _, f in got)
    assert [(name, f.shape) for name, f in mgif_frames(tmp_path, "test", 16)] == [("00000", (5, 16, 16, 3))]
    with pytest.raises(MespotError, match="'val'"): mgif_frames(tmp_path, "val")


def test_colours_and_transparent_grounds(tmp_path):
    frames = np.zeros((3, 16, 16, 4), np.uint8)
    for t in range(3): frames[t, 4:8, 4*t:4*t + 4] = 200, 30, 0, 255
    (tmp_path/"train").mkdir()
    first, *others = (Image.fromarray(f) for f in frames)
    first.save(tmp_path/"train"/"a.gif", save_all=True, append_images=others, duration=100, disposal=2)
    (name, got), = mgif_frames(tmp_path)
    true = np.where(frames[..., 3:] > 0, frames[..., :3], 255)
    assert name == "a" and np.abs(got.astype(int) - true).max() <= 3


@pytest.mark.parametrize("shape", [(2, 5, 6), (2, 5, 6, 3), (4, 2, 5, 7)])
def test_flips(shape):
    frames = np.arange(np.prod(shape)).reshape(shape)
    h, w = (1, 2) if shape[-1] == 3 else (len(shape) - 2, len(shape) - 1)
    np.testing.assert_array_equal(flipped(frames, horizontal=True), frames.take(np.arange(shape[w])[::-1], w))
    np.testing.assert_array_equal(flipped(frames, vertical=True), frames.take(np.arange(shape[h])[::-1], h))
    np.testing.assert_array_equal(flipped(frames), frames)
