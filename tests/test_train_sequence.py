"Training of a sequence generator: what a batch holds, that it repeats, that it learns, and what is refused."
import numpy as np
import pytest
import torch
from mespot.core import MespotError
from mespot.data.phantom_sequences import expression_sequences
from mespot.nets.sequence import SequenceConfig, to_frames
from mespot.train.sequence import RolloutBatches, SequenceOptions, completed, phase_course, train_sequence

SET = expression_sequences(4, ("happiness", "surprise"), length=12, seed=8)
NET = SequenceConfig(width=4, levels=3, residual=True)


@pytest.mark.parametrize("ahead", [1, 3, 10])
def test_a_batch_is_consecutive_frames_of_one_sequence(ahead):
    batch = next(iter(RolloutBatches(SET, SequenceConfig(phase=2, label=2), SequenceOptions(batch=6, ahead=ahead))))
    for i in range(6):
        frames = [to_frames(batch[k][i]) for k in ("previous", "current")] + list(to_frames(batch["true"][i]))
        at = [(k, s) for k in range(8) for s in range(12 - ahead - 1) if all(np.array_equal(f, SET.frames[k, s + j]) for j, f in enumerate(frames))]
        def fits(k, s):                                                # at rest, two sequences of one person can be the same for three frames
            r = SET.table.iloc[k]
            return np.array_equal(to_frames(batch["constant"][i]), SET.frames[k, 0]) and bool(batch["label"][i]) == (r.emotion == "surprise") and torch.equal(
                batch["phase"][i], torch.from_numpy(phase_course(12, r.onset, r.apex, r.offset)[s + 2:s + 2 + ahead]))
        assert len(at) <= 2 and any(fits(*found) for found in at)


def test_every_start_is_drawn():
    "A rollout may begin with the first frame, and end with the last."
    starts = set()
    for batch in RolloutBatches(SET, NET, SequenceOptions(batch=8, ahead=3, steps=30)):
        for p, c in zip(to_frames(batch["previous"]), to_frames(batch["current"])): starts |= {s for k in range(8) for s in range(11) if np.array_equal(p, SET.frames[k, s]) and np.array_equal(c, SET.frames[k, s + 1])}
    assert starts == set(range(8))


def test_it_repeats_and_it_learns():
    options = SequenceOptions(steps=25, batch=4, lr=.005, loss=dict(mae=1.))
    (net, history), (again, _), (other, _) = (train_sequence(SET, NET, o) for o in (options, options, SequenceOptions(steps=25, batch=4, lr=.005, loss=dict(mae=1.), seed=1)))
    same = lambda a, b: all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))
    assert same(net, again) and not same(net, other) and not net.training
    assert history.loss.tail(8).mean() < .8*history.loss.head(4).mean() and history.ahead.eq(3).all() and history.loss.equals(history.mae)


def test_rollouts_grow():
    _, history = train_sequence(SET, NET, SequenceOptions(steps=9, batch=1, ahead=1, ahead_last=3))
    assert history.ahead.tolist() == [1]*3 + [2]*3 + [3]*3


def test_the_true_sequence_is_complete_and_a_still_one_is_not(monkeypatch):
    table = SET.table
    monkeypatch.setattr("mespot.train.sequence.generate", lambda net, neutral, steps, **given: SET.frames[:, 1:1 + steps])
    found, curves = completed(_fake(), SET)
    assert found.complete.all() and (found.error == 0).all() and curves.shape == (8, 12) and np.allclose([c[a] for c, a in zip(curves, table.apex)], 1, atol=.01)
    monkeypatch.setattr("mespot.train.sequence.generate", lambda net, neutral, steps, **given: np.repeat(neutral[:, None], steps, 1))
    still, _ = completed(_fake(), SET)
    assert not still.complete.any() and still.peak.abs().max() < .05
    stuck = lambda net, neutral, steps, **given: np.stack([np.r_[SET.frames[k, 1:a + 1], np.repeat(SET.frames[k, [a]], steps - a, 0)] for k, a in enumerate(table.apex)])
    monkeypatch.setattr("mespot.train.sequence.generate", stuck)
    assert (completed(_fake(), SET)[0].end > .9).all()                          # it rises and stays at the apex

def _fake():
    class Net: config = SequenceConfig()
    return Net()


@pytest.mark.parametrize("make, says", [
    (lambda: SequenceOptions(ahead=0), "ahead 0"), (lambda: SequenceOptions(ahead=4, ahead_last=2), "can only grow"), (lambda: RolloutBatches(SET, SequenceConfig(size=32), SequenceOptions()), "64 pixels"),
    (lambda: RolloutBatches(SET, NET, SequenceOptions(ahead=3, ahead_last=11)), "need sequences of 13"), (lambda: RolloutBatches(SET, SequenceConfig(label=1), SequenceOptions()), "2 expressions"),
    (lambda: RolloutBatches(SET, SequenceConfig(phase=3), SequenceOptions()), "two numbers"), (lambda: train_sequence(SET, NET, device="tpu"), "device 'tpu'"), (lambda: phase_course(9, 4, 4, 8), "not in this order")])
def test_what_is_refused(make, says):
    with pytest.raises(MespotError, match=says): make()
