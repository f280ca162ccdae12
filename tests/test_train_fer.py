"Training of the expression networks: targets, weights, augmentation, that it repeats and learns, and what is refused."
import numpy as np
import pandas as pd
import pytest
import torch
from dataclasses import replace
from mespot.core import MespotError
from mespot.data.fer import CLASSES, phantom_stills
from mespot.data.phantom_sequences import expression_sequences
from mespot.nets.fer import HEADS, FerConfig, as_class, rate
from mespot.train.fer import (AUGMENTATIONS, FerBatches, FerOptions, augment_stills, class_weights, load_fer, make_fer_weights, sequence_scores, still_scores, targets, trace_of,
                              train_fer)
from mespot.train.sequence import TEST_SEED

STILLS = phantom_stills(6, each=1, neutral=3, parts=1, size=32, seed=12)
NET = FerConfig(size=32, width=4, depth=3, dropout=0.)
FEW = FerOptions(steps=12, batch=8)
same = lambda a, b: all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values()))


def test_targets_of_apices_and_parts():
    table = pd.DataFrame({"class": pd.Categorical(["negative", "neutral", "neutral", "positive", "positive", "negative"], CLASSES), "share": [1, 0, 1, .25, .5, .75]})
    classes, values = targets(table)
    assert classes.tolist() == [0, 1, 1, 1, 2, 0] and np.allclose(values, [0, .5, .5, .625, .75, .125])


@pytest.mark.parametrize("weights, ratio", [("thesis", (3, 2, 1)), ("none", (1, 1, 1)), ("counts", (1/6, 1/2, 1)), ((0, 1, 4), (0, 1, 4))])
def test_class_weights(weights, ratio):
    classes = np.repeat([0, 1, 2], [6, 2, 1])
    w = class_weights(classes, weights)
    assert np.isclose(w[classes].mean(), 1) and np.allclose(w/w[2], np.array(ratio)/ratio[2])


def test_an_absent_class_has_no_weight():
    assert class_weights(np.array([0, 0, 2])).tolist() == [.75, 0, 1.5]
    with pytest.raises(MespotError, match="nothing to learn"): class_weights(np.array([2, 2]), (1, 1, 0))


def test_weights_enter_the_loss():
    "A class without weight is not learnt: the network never says it."
    stills = STILLS.part(STILLS.table.share.isin([0, 1]).to_numpy())
    net, _ = train_fer(stills, NET, FerOptions(steps=40, batch=16, weights=(0, 1, 1), augmentation="none"))
    assert 0 not in as_class(rate(net, stills.frames))


@pytest.mark.parametrize("bad", [dict(steps=0), dict(batch=0), dict(lr=0), dict(decay=-1), dict(weights="many"), dict(weights=(1, 2)), dict(weights=(1, -1, 1)), dict(weights=(0, 0, 0)), dict(augmentation="wild")])
def test_options_that_cannot_be(bad):
    with pytest.raises(MespotError): FerOptions(**bad)


def test_augmentation_one_by_one():
    x, r = torch.rand(64, 1, 16, 16)*.4 + .3, lambda: torch.Generator().manual_seed(3)
    assert torch.equal(augment_stills(x, r()), x)
    flipped = augment_stills(x, r(), flip=.5)
    which = (flipped == x.flip(-1)).flatten(1).all(1)
    assert 16 < which.sum() < 48 and torch.equal(flipped[~which], x[~which])
    brighter = augment_stills(x, r(), brightness=.1) - x
    assert brighter.abs().max() <= .1 + 1e-6 and brighter.flatten(1).std(1).max() < 1e-6 and brighter.mean((1, 2, 3)).std() > .03
    factor = augment_stills(x, r(), contrast=(.2, .4)).std((2, 3))/x.std((2, 3))
    assert .2 - 1e-3 <= factor.min() < .23 and .37 < factor.max() <= .4 + 1e-3
    assert torch.allclose(augment_stills(x, r(), contrast=(.2, .4)).mean((2, 3)), x.mean((2, 3)), atol=1e-5)
    assert (augment_stills(x, r(), blur=1.).std((2, 3)) < x.std((2, 3)) + 1e-6).all() and (augment_stills(x, r(), noise=.05) != x).float().mean() > .9


def test_faces_are_moved_by_about_as_much_as_is_asked():
    spot = torch.zeros(400, 1, 64, 64); spot[:, :, 30:34, 30:34] = 1
    at = torch.arange(64.)
    moved = augment_stills(spot, torch.Generator().manual_seed(0), shift=.05)
    x = (moved.sum((1, 2))*at).sum(1)/moved.sum((1, 2, 3))
    assert abs(float(x.std())/(.05*64) - 1) < .15
    spot = torch.zeros(400, 1, 64, 64); spot[:, :, 30:34, 52:56] = 1
    turned = augment_stills(spot, torch.Generator().manual_seed(0), degrees=5.)
    x, y = ((turned.sum((1, d))*at).sum(1)/turned.sum((1, 2, 3)) - 31.5 for d in (2, 3))
    assert abs(float(torch.rad2deg(torch.atan2(y, x)).std())/5 - 1) < .15
    assert (turned.sum((1, 2, 3)) > 12).all()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_batches_are_pictures_with_their_targets(name):
    options = replace(FEW, augmentation=name)
    batches = FerBatches(STILLS, NET, options)
    assert len(batches) == 12
    for (x, classes, values), (again, *_) in zip(batches, batches):
        assert x.shape == (8, 1, 32, 32) and x.min() >= 0 and x.max() <= 1 and torch.equal(x, again) and classes.dtype == torch.int64
        assert torch.allclose(values, classes/2)                       # apices and neutral only
        if name == "none":
            at = [int(np.flatnonzero((STILLS.frames == (255*im[0]).round().numpy()).all((1, 2)))[0]) for im in x]
            assert (targets(STILLS.table)[0][at] == classes.numpy()).all()


def test_parts_are_learnt_from_if_asked():
    values = torch.cat([v for _, _, v in FerBatches(STILLS, NET, replace(FEW, parts=True))])
    assert ((values % .5) > 0).any()
    only = STILLS.part(~STILLS.table.share.isin([0, 1]).to_numpy())
    with pytest.raises(MespotError, match="no stills to learn from"): FerBatches(only, NET, FEW)


@pytest.mark.parametrize("head", HEADS)
def test_it_repeats_and_it_learns(head):
    config, options = replace(NET, head=head), FerOptions(steps=60, batch=16, lr=.01, augmentation="none")
    before = torch.random.get_rng_state()
    (net, history), (again, _), (other, _) = (train_fer(STILLS, config, o) for o in (options, options, replace(options, seed=1)))
    assert same(net, again) and not same(net, other) and not net.training and torch.equal(before, torch.random.get_rng_state())
    assert history.loss.tail(10).mean() < .6*history.loss.head(5).mean() and history.attrs["absent"] == []
    learnt = STILLS.part(STILLS.table.share.isin([0, 1]).to_numpy())
    assert still_scores(net, learnt).accuracy["all"] > .6


def test_the_two_heads_see_the_same_pictures():
    a, b = (list(FerBatches(STILLS, replace(NET, head=h), FEW)) for h in HEADS)
    assert all(torch.equal(x, y) for s, t in zip(a, b) for x, y in zip(s, t))


def test_a_class_absent_from_a_fold():
    fold = STILLS.part((STILLS.table["class"] != "positive").to_numpy())
    for head in HEADS:
        net, history = train_fer(fold, replace(NET, head=head), FEW)
        assert history.attrs["absent"] == ["positive"] and np.isfinite(history.loss).all()
    table = still_scores(net, fold)
    assert table.n["positive"] == 0 and np.isnan(table.accuracy["positive"]) and 0 <= table.accuracy["all"] <= 1
    with pytest.raises(MespotError, match="all stills to learn from are negative"): train_fer(STILLS.part((STILLS.table.emotion == "fear").to_numpy() & (STILLS.table.share == 1).to_numpy()), NET, FEW)


def test_what_does_not_fit_is_refused():
    with pytest.raises(MespotError, match="32 pixels a side"): train_fer(STILLS, FerConfig(), FEW)
    with pytest.raises(MespotError, match="device"): train_fer(STILLS, NET, FEW, device="tpu")


def test_a_picture_that_cannot_be_read_is_named_in_training():
    table = STILLS.table.assign(path="/nowhere/face.png")
    with pytest.raises(MespotError, match="/nowhere/face.png"): train_fer(replace(STILLS, frames=None, table=table), NET, FEW)


def test_scores_count_what_is_right(monkeypatch):
    classes, _ = targets(STILLS.table)
    monkeypatch.setattr("mespot.train.fer.rate", lambda net, frames: np.where(np.arange(len(frames)) == int(np.flatnonzero(classes == 2)[0]), 0., classes/2))
    table = still_scores(None, STILLS)
    n = int((classes == 2).sum())
    assert np.isclose(table.accuracy["positive"], 1 - 1/n) and table.accuracy["negative"] == 1 and table.n["all"] == len(STILLS)


def test_a_trace_that_follows_the_intensity_correlates(monkeypatch):
    sequences = expression_sequences(1, ("happiness", "sadness", "surprise"), length=10, size=32, seed=3)
    ideal = {f.tobytes(): .5 + s*t/10 for f, t, s in zip(sequences.frames, sequences.strength, (1, -1, 0))}
    monkeypatch.setattr("mespot.train.fer.rate", lambda net, frames: ideal[frames.tobytes()])
    table = sequence_scores(None, sequences)
    assert np.allclose(table.correlation[:2], 1) and np.isnan(table.correlation[2]) and table.apex.all() and table.neutral.eq(1).all()
    assert trace_of(np.array([[.1, .2, .7]]))[0] == pytest.approx(.6) and trace_of(np.array([0., .5, 1.])).tolist() == [-1, 0, 1]


def test_weights_are_made_and_loaded(tmp_path):
    cards = make_fer_weights(tmp_path, people=2, config=replace(NET, size=32), options=FEW, tested=1, progress=False)
    assert set(cards) == set(HEADS) and cards["regression"]["seeds"]["test"] == TEST_SEED and len(cards["regression"]["history"]) == 10
    for head in HEADS: assert load_fer(head, tmp_path/f"fer_{head}").config.head == head
    with pytest.raises(MespotError, match="is a network for regression"): load_fer("classification", tmp_path/"fer_regression")
    with pytest.raises(MespotError, match="no head"): load_fer("both")


@pytest.mark.parametrize("head, least", [("classification", .90), ("regression", .85)])
def test_the_shipped_weights_recognise_people_whom_they_have_not_seen(head, least):
    net = load_fer(head)
    apices = phantom_stills(10, each=1, neutral=0, seed=TEST_SEED + 100)
    assert still_scores(net, apices).accuracy["all"] >= least
    if head == "regression": assert sequence_scores(net, expression_sequences(3, ("happiness", "anger", "sadness"), seed=TEST_SEED + 100)).correlation.mean() >= .85
