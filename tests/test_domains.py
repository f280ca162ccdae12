"Other domains: what is drawn and read, that the numbers tell a mover from a stander and an overlap from none, and what the networks that ship have learnt."
import json
import struct
import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from hypothesis import given, settings, strategies as st
from figures import title_of
from mespot.core import MespotError, package_file
from mespot.data.digits import digits, draw_animals
from mespot.nets.sequence import SequenceConfig, SequenceNet
from mespot.train import domains
from mespot.train.digits import digit_classifier
from mespot.train.domains import RECIPES, all_ways, domain_net, drift_curves, drift_summary, drifts, faces, flip_table, known_digits, movement, neutral_faces, overlap_table, plot_sheet, read_digits, walks

IMAGES, LABELS = digits(part="test")
CLASSIFIER, _ = digit_classifier(*digits(), IMAGES, LABELS)


def knows(truth):
    "A stand-in for `generate` that gives the true frames of the sequences `truth`, found by their first two."
    table = {s[:2].tobytes(): s for s in truth}
    return lambda net, neutral, steps, start: np.stack([table[a.tobytes() + b.tobytes()][2:2 + steps] for a, b in zip(*start)])


def stands(net, neutral, steps, start=None): return np.repeat(start[1][:, None], steps, 1)


# walks and drifts

def test_parts_are_different_animals_and_repeat():
    parts = {part: walks(part=part, n=3, length=12, size=32) for part in ("train", "validation", "test")}
    assert all(x.shape == (3, 12, 32, 32) and x.dtype == np.uint8 for x in parts.values())
    assert not any((a[:, None] == b[None]).all((2, 3, 4)).any() for i, a in enumerate(parts.values()) for j, b in enumerate(parts.values()) if i != j)
    np.testing.assert_array_equal(walks(part="test", n=2, length=12, size=32), parts["test"][:2])


def test_a_folder_takes_the_place_of_drawings(tmp_path):
    draw_animals(tmp_path, 11, frames=4, side=24, seed=3)
    draw_animals(tmp_path, 2, frames=7, side=24, seed=4, part="test")
    train, validation, test = (walks(tmp_path, part, length=9, size=24) for part in ("train", "validation", "test"))
    assert (len(train), len(validation), len(test)) == (10, 1, 2)
    np.testing.assert_array_equal(train[:, 4:8], train[:, :4])                            # a loop of 4 goes round
    np.testing.assert_array_equal(test[:, 7:], test[:, :2])
    last = np.stack([np.asarray(f.convert("RGB")) for f in frames_of(tmp_path/"moving-gif/train/00009.gif")])
    np.testing.assert_array_equal(validation[0, :4], np.stack([cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for f in last]))
    assert len(walks(tmp_path, n=3, size=24)) == 3
    draw_animals(tmp_path/"few", 4, frames=4, side=24)
    with pytest.raises(MespotError, match="too few animations"): walks(tmp_path/"few", "validation")


def frames_of(path):
    gif = Image.open(path)
    for i in range(gif.n_frames):
        gif.seek(i)
        yield gif.copy()


def test_the_file_of_moving_digits_is_divided_without_overlap(tmp_path):
    array = np.lib.format.open_memmap(tmp_path/"mnist_test_seq.npy", "w+", np.uint8, (20, 10000, 64, 64))     # a sparse file
    for i in (0, 7999, 8000, 9000): array[:, i] = i//50
    array.flush()
    assert drifts(tmp_path, n=1).max() == 0 and drifts(tmp_path, "validation", 1, 3)[0, 2].min() == 160 and drifts(tmp_path, "test", 1, 2).shape == (1, 2, 32, 32)
    assert (drifts(tmp_path, "test", 2, 1)[0] == 180).all()


@pytest.mark.parametrize("draw", [walks, drifts, faces, neutral_faces])
def test_another_part_is_refused(draw):
    with pytest.raises(MespotError, match="not 'val'"): draw(part="val")


# turned animals

@given(st.integers(2, 4), st.integers(2, 6), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_all_ways_are_four_and_turn_back(n, k, seed):
    x = np.random.default_rng(seed).integers(0, 256, (n, k, 6, 8), np.uint8)
    turned = all_ways(x)
    np.testing.assert_array_equal(np.concatenate([turned[:n], turned[n:2*n, ..., ::-1], turned[2*n:3*n, ..., ::-1, :], turned[3*n:, ..., ::-1, ::-1]]), np.concatenate([x]*4))


def test_movement_is_by_halves():
    x = np.zeros((2, 3, 8, 8), np.uint8)
    x[:, 1, 6] = 80                                                                        # one row of four below, there and back
    assert movement(x) == (0, 20)


def test_the_table_of_turns_knows_a_perfect_network_from_one_that_stands(monkeypatch):
    x = walks(part="test", n=3, length=8, size=32)
    monkeypatch.setattr(domains, "generate", knows(list(all_ways(x))))
    perfect = flip_table(None, x, 5)
    monkeypatch.setattr(domains, "generate", stands)
    still = flip_table(None, x, 5)
    assert list(perfect.index) == ["as they are", "mirrored", "upside down"]
    assert (perfect["error"] == 0).all() and (perfect["gain"] == 1).all() and (perfect["ssim"] > .999).all() and np.allclose(perfect["bottom"], perfect["true bottom"])
    assert (still["gain"] == 0).all() and (still["moves"] == 0).all() and still["bottom"].isna().all() and np.allclose(still["ssim"], still["ssim, copied"]) and (still["error, copied"] > 0).all()
    assert perfect["true bottom"]["as they are"] > .8 and perfect["true bottom"]["upside down"] < .2
    assert perfect["error, copied"].nunique() == 1 or np.ptp(perfect["error, copied"]) < 1e-9


def test_legs_are_moved_at_the_bottom_of_animals_upside_down_unless_they_were_shown():
    "Thesis 6.4: mirrored animals are animated, those upside down are not, and what moves there is below."
    x = walks(part="test", n=8, length=12)
    plain, every = (flip_table(domain_net(name), x) for name in ("walks", "walks_flipped"))
    assert plain["gain"]["as they are"] > .5 and plain["gain"]["mirrored"] > .1 and plain["gain"]["upside down"] < 0
    assert plain["bottom"]["upside down"] > 2*plain["true bottom"]["upside down"]
    assert every["gain"].min() > .3 and every["bottom"]["upside down"] < plain["bottom"]["upside down"]


# digits that meet

@given(st.integers(0, 500), st.integers(1, 3), st.sampled_from([24, 32, 64]))
@settings(max_examples=15, deadline=None)
def test_marks_are_where_the_digits_are(seed, count, side):
    frames, marks, touch = known_digits(IMAGES, LABELS, 2, 5, side, count, seed)
    small = round(side*28/64)
    assert frames.shape == (2, 5, side, side) and marks.shape == (2, count, 5, side, side) and touch.shape == (2, 5)
    assert ((marks > 0).sum((3, 4)) == small**2).all() and set(np.unique(marks)) <= set(range(11))
    assert (frames[(marks == 0).all(1)] == 0).all() and (marks.max((3, 4)) == marks[:, :, :1].max((3, 4))).all()
    if count == 1: assert not touch.any()


def test_digits_are_read_at_their_place_and_nowhere_else():
    frames, marks, _ = known_digits(IMAGES, LABELS, 25, 3, count=1)
    due = marks.max((3, 4)) - 1
    assert np.mean(read_digits(CLASSIFIER, frames, marks) == due) > .85
    assert np.mean(read_digits(CLASSIFIER, np.roll(frames, 13, 3), marks) == due) < .5


def test_overlap_needs_ink_of_both():
    solid = np.full((1, 8, 8), 255, np.uint8)
    _, marks, touch = known_digits(solid, np.array([4], np.uint8), 30, 6)
    np.testing.assert_array_equal(touch, ((marks > 0).sum(1) > 1).any((2, 3)))              # squares of solid ink overlap where their places do
    assert 0 < touch.mean() < 1
    assert not known_digits(solid//6, np.array([4], np.uint8), 30, 6)[2].any()              # too faint to count as ink


def test_the_table_of_overlaps_counts_every_digit_once(monkeypatch):
    n, ahead = 40, 8
    sequences = [known_digits(IMAGES, LABELS, n, ahead + 2, 32, count)[0] for count in (1, 2)]
    net = SequenceNet(SequenceConfig(size=32, width=1, levels=1))
    monkeypatch.setattr(domains, "generate", knows([s for x in sequences for s in x]))
    perfect = overlap_table(net, CLASSIFIER, IMAGES, LABELS, n, ahead)
    assert list(perfect.index) == ["one", "apart", "overlapping", "after"]
    np.testing.assert_allclose(perfect["right"], perfect["right, true frames"])
    kept = n - known_digits(IMAGES, LABELS, n, ahead + 2)[2][:, :2].any(1).sum()
    assert perfect.digits["one"] == n*ahead and perfect.digits[1:].sum() == 2*kept*ahead
    assert perfect.ahead["one"] == (ahead + 1)/2 and perfect.ahead["apart"] < perfect.ahead["after"]
    assert perfect["right"]["overlapping"] < perfect["right"]["apart"]                     # two digits on one place are read badly even if true
    monkeypatch.setattr(domains, "generate", lambda net, neutral, steps, start: np.zeros((len(neutral), steps, 32, 32), np.uint8))
    assert (overlap_table(net, CLASSIFIER, IMAGES, LABELS, n, ahead)["right"] < .35).all()


# faces

def test_drift_tells_staying_from_becoming_another(monkeypatch):
    own, others = faces("test", 2)[::3], neutral_faces(people=4)
    assert np.abs(neutral_faces("test", 2).astype(int) - own[:, 0]).mean() < 2 and not (neutral_faces(people=1) == own[:1, 0]).all()
    monkeypatch.setattr(domains, "generate", lambda net, neutral, steps, start: np.repeat(neutral[:, None], steps, 1))
    stays = drift_curves(None, own, others, 3)
    assert len(stays) == 6 and stays.frame.tolist() == [1, 2, 3]*2 and np.allclose(stays.own, 1) and (stays.margin > .1).all() and drift_summary(stays).lost == 0
    monkeypatch.setattr(domains, "generate", lambda net, neutral, steps, start: np.stack([[neutral[0], others[2], others[2]], [neutral[1], neutral[1], others[1]]]))
    leaves = drift_curves(None, own, others, 3)
    assert leaves.nearest[[1, 2, 5]].tolist() == [2, 2, 1] and (leaves.margin[[1, 2, 5]] < 0).all() and np.allclose(leaves.other[[1, 2, 5]], 1)
    np.testing.assert_allclose(leaves.margin, leaves.own - leaves.other)
    summary = drift_summary(leaves)
    assert summary.lost == 1 and summary["lost at"] == 2.5 and summary.people == 2


def test_drift_begins_with_the_frames_that_were_asked_for(monkeypatch):
    own, seen = faces("test", 1)[:1], []
    monkeypatch.setattr(domains, "generate", lambda net, neutral, steps, start: seen.extend(start) or np.repeat(neutral[:, None], steps, 1))
    drift_curves(None, own, neutral_faces(people=1), 1, start=7)
    np.testing.assert_array_equal(np.stack(seen, 1)[0], own[0, 7:9])
    with pytest.raises(MespotError, match="n = 24 frames"): drift_curves(None, own[:, :23], own[:, 0], start=22)


# weights and sheets

@pytest.mark.parametrize("name", RECIPES)
def test_weights_that_ship_are_small_and_say_what_they_are(name):
    path = package_file("weights", f"domains_{name}.safetensors")
    card = json.loads(path.with_suffix(".json").read_text())
    config, options = RECIPES[name]
    assert path.stat().st_size < 500_000 and card["seeds"]["train"] != card["seeds"]["test"] and card["options"]["steps"] == options.steps and name in card["command"]
    assert domain_net(name).config == config and (card["scores"]["network"] < card["scores"]["copied"] or name.startswith("faces"))
    (size,) = struct.unpack("<Q", path.read_bytes()[:8])
    assert {v["dtype"] for v in json.loads(path.read_bytes()[8:8 + size]).values()} == {"F16"}


def test_unknown_names_are_refused(tmp_path):
    with pytest.raises(MespotError, match="walks_flipped"): domain_net("cats")
    with pytest.raises(MespotError, match="no recipe for 'cats'"): domains.make_domain_weights(tmp_path, ["cats"])
    assert not list(tmp_path.iterdir())


def test_a_sheet_shows_every_frame_named_and_marks_the_given():
    rows = [np.full((3, 8, 8), 100, np.uint8), np.full((2, 8, 8, 3), 50, np.uint8)]
    fig = plot_sheet(rows, ["grey", "colour"], ["0 s", "1 s", "2 s"], given=[2, 0])
    axes = np.array(fig.axes).reshape(2, 3)
    assert [title_of(ax) for ax in axes[0]] == ["0 s", "1 s", "2 s"] and [ax.get_ylabel() for ax in axes[:, 0]] == ["grey", "colour"]
    assert [len(ax.images) for ax in axes.flat] == [1, 1, 1, 1, 1, 0] and [ax.spines["top"].get_visible() for ax in axes.flat] == [True, True] + [False]*4
    for bad in (dict(rows=rows, labels=["one"]), dict(rows=[], labels=[]), dict(rows=rows, labels=["a", "b"], columns=["0"])):
        with pytest.raises(MespotError, match="a sheet of"): plot_sheet(**bad)


def test_training_again_gives_the_same_weights(tmp_path):
    recipes = {"digits": (SequenceConfig(size=32, inputs=("previous", "current"), stages=2, width=2, levels=2), domains.SequenceOptions(steps=2, batch=2))}
    for folder in ("a", "b"): card = domains.make_domain_weights(tmp_path/folder, ["digits"], recipes, progress=False, digits=3)["digits"]
    assert (tmp_path/"a/domains_digits.safetensors").read_bytes() == (tmp_path/"b/domains_digits.safetensors").read_bytes()
    assert torch.__version__ == card["torch"] and "3 drawn sequences" in card["trained_on"]
