"Training on digits: what a batch holds, that it repeats and learns, and that the check of a generated loop can fail."
import numpy as np
import pytest
import torch
from mespot.core import MespotError
from mespot.data.digits import digit_loops, digits, moving_digits
from mespot.nets.sequence import NaiveConfig, NaiveNet, SequenceConfig, to_frames
from mespot.train.digits import MOVING, DigitBatches, digit_classifier, generated_loop, loop_check, moving_errors, train_moving, train_naive, wanted
from mespot.train.sequence import SequenceOptions

(IMAGES, LABELS), (UNSEEN, UNSEEN_LABELS) = digits(), digits(part="test")
CLASSIFIER, ACCURACY = digit_classifier(IMAGES, LABELS, UNSEEN, UNSEEN_LABELS)
SMALL = SequenceConfig(size=32, width=4, levels=2, inputs=MOVING.inputs, stages=2, noise=0.)


def same(a, b): return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_batches_are_three_digits_in_a_row_from_anywhere_in_the_loop():
    of = {i.tobytes(): int(label) for i, label in zip(IMAGES, LABELS)}
    batches = list(DigitBatches(IMAGES, LABELS, 5, 20, seed=2))
    rows = np.array([[of[f.tobytes()] for f in loop] for b in batches for loop in to_frames(b)])
    assert rows.shape == (100, 3) and ((rows[:, 1:] - rows[:, :-1]) % 10 == 1).all() and set(rows[:, 0].tolist()) == set(range(10))
    assert all(torch.equal(a, b) for a, b in zip(batches, DigitBatches(IMAGES, LABELS, 5, 20, seed=2)))


def test_it_repeats_and_it_learns():
    (net, history), (again, _), (other, _) = (train_naive(IMAGES, LABELS, steps=60, lr=.01, seed=s) for s in (0, 0, 1))
    assert same(net, again) and not same(net, other) and not net.training
    assert history.loss.tail(10).mean() < .6*history.loss.head(5).mean() and history.step.tolist() == list(range(60))


@pytest.mark.parametrize("given, says", [(dict(config=NaiveConfig(size=28)), "takes 28"), (dict(steps=0), "at least 1"), (dict(device="tpu"), "tpu"), (dict(lr=1e30, steps=20), "not finite")])
def test_training_refuses(given, says):
    with pytest.raises(MespotError, match=says): train_naive(IMAGES, LABELS, **given)


def as_net(step):
    net = NaiveNet()
    net.forward = step
    return net


def counting(styles):
    "A step that knows the truth: the digit after `current` in the style of its row."
    def step(previous, current):
        at = [next(i for i, f in enumerate(loop) if torch.equal(f, c)) for loop, c in zip(styles, current)]
        return torch.stack([loop[(i + 1) % 10] for loop, i in zip(styles, at)])
    return step


def test_the_check_tells_counting_from_copying():
    n, seed = 20, 5
    styles = torch.from_numpy(digit_loops(UNSEEN, UNSEEN_LABELS, n, 10, seed)).float().div(255)[:, :, None]
    true = loop_check(as_net(counting(styles)), CLASSIFIER, UNSEEN, UNSEEN_LABELS, n, 20, seed)
    assert ACCURACY > .93 and true.shape == (n, 20) and abs(true.mean() - ACCURACY) < .06
    copied = loop_check(as_net(lambda previous, current: current), CLASSIFIER, UNSEEN, UNSEEN_LABELS, n, 9, seed)
    assert copied.mean() < .06
    assert loop_check(as_net(lambda previous, current: torch.zeros_like(current)), CLASSIFIER, UNSEEN, UNSEEN_LABELS, n, 10, seed).mean() == pytest.approx(.1)    # one class for all: a tenth


def test_wanted_goes_round():
    assert wanted(7, 12).tolist() == [[9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0]]
    assert wanted([0, 9], 2).tolist() == [[2, 3], [1, 2]]


def test_a_loop_is_made_from_what_was_made():
    given = digit_loops(IMAGES, LABELS, 3, 2, first=[1, 5, 9])
    made = generated_loop(as_net(lambda previous, current: previous), given[:, 0], given[:, 1], 5)
    np.testing.assert_array_equal(made, given[:, [0, 1, 0, 1, 0]])
    with pytest.raises(MespotError, match="previous frame has shape"): generated_loop(NaiveNet(), given[:, 0, :4], given[:, 1], 1)


def test_a_classifier_of_wrong_labels_is_found_out():
    _, accuracy = digit_classifier(IMAGES[:300], (LABELS[:300] + 1) % 10, UNSEEN, UNSEEN_LABELS)
    assert accuracy < .1


def test_moving_digits_are_learnt_and_repeat():
    train, test = moving_digits(IMAGES, 30, 6, 32, 1, seed=1), moving_digits(UNSEEN, 8, 6, 32, 1, seed=2)
    options = SequenceOptions(steps=12, batch=4, ahead=2, lr=.01)
    (net, history), (again, _) = (train_moving(train, SMALL, options) for _ in range(2))
    assert same(net, again) and history.loss.tail(3).mean() < history.loss.head(3).mean()
    errors = moving_errors(net, test, 4)
    assert errors.index.tolist() == [1, 2, 3, 4] and np.isfinite(errors).all(axis=None)
    with pytest.raises(MespotError, match="these have 6"): moving_errors(net, test, 5)
    with pytest.raises(MespotError, match="uint8"): train_moving(train/255, SMALL, options)


def test_errors_by_frames_ahead(monkeypatch):
    "Known frames: the second is 51 grey levels (.2), later ones .2 more each; a true network has no error."
    frames = np.broadcast_to((np.arange(5, dtype=np.uint8)*51)[None, :, None, None], (2, 5, 8, 8)).copy()
    monkeypatch.setattr("mespot.train.digits.generate", lambda net, neutral, steps, start: frames[:, 2:2 + steps])
    errors = moving_errors(None, frames, 3)
    np.testing.assert_allclose(errors["network"], 0)
    np.testing.assert_allclose(errors["copied"], [.04, .16, .36])
    np.testing.assert_allclose(errors["black"], [.16, .36, .64])
