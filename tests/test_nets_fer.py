"The expression networks: shapes, one body for two heads, ratings, and weights."
import json
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from mespot.core import MespotError
from mespot.nets.fer import HEADS, FerConfig, FerNet, as_class, parameters, rate, read_fer, save_fer, to_size

SMALL = dict(size=32, width=4, depth=3)


def made(seed=0, **options):
    torch.manual_seed(seed)
    return FerNet(FerConfig(**SMALL | options)).eval()


@pytest.mark.parametrize("size, width, depth", [(32, 4, 3), (33, 3, 5), (48, 6, 4), (64, 16, 1)])
def test_the_two_networks_are_the_same_but_for_the_last_layer(size, width, depth):
    torch.manual_seed(1); a = FerNet(FerConfig(size, width, depth)).eval()
    torch.manual_seed(1); b = FerNet(FerConfig(size, width, depth, head="regression")).eval()
    assert a(torch.rand(2, 1, size, size)).shape == (2, 3) and b(torch.rand(2, 1, size, size)).shape == (2, 1)
    other = [k for k, v in a.state_dict().items() if v.shape != b.state_dict()[k].shape or not torch.equal(v, b.state_dict()[k])]
    assert other == ["head.weight", "head.bias"]
    assert parameters(a) - parameters(b) == 2*(a.head.in_features + 1)


def test_every_layer_halves_by_its_stride_and_nothing_pools():
    net = FerNet(FerConfig())
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(c.stride, c.out_channels) for c in convolutions] == [((2, 2), n) for n in (16, 32, 64, 128)]
    assert net.body[-2].in_features == 128*4*4 and FerNet(FerConfig(hidden=0)).head.in_features == 128*4*4 and not any("pool" in type(m).__name__.lower() for m in net.modules())


@pytest.mark.parametrize("bad", [dict(head="both"), dict(size=7), dict(width=0), dict(depth=0), dict(hidden=-1), dict(dropout=1.), dict(lcn=-1.), dict(lcn=float("nan"))])
def test_what_cannot_be_built_is_refused(bad):
    with pytest.raises(MespotError): FerConfig(**SMALL | bad)


@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 3, 32, 32), (2, 1, 31, 32), (2, 1, 64, 64)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(MespotError, match="takes pictures"): made()(torch.rand(shape))


def test_local_contrast_normalisation_makes_it_blind_to_light():
    frames = np.random.default_rng(0).integers(60, 120, (3, 32, 32)).astype(np.uint8)
    brighter = (2*frames).astype(np.uint8)
    assert np.allclose(rate(made(lcn=2., hidden=0), frames), rate(made(lcn=2., hidden=0), brighter), atol=1e-6)
    assert not np.allclose(rate(made(lcn=0., hidden=0), frames), rate(made(lcn=0., hidden=0), brighter), atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_ratings_do_not_depend_on_the_batch_and_leave_the_network_alone(head):
    net, frames = made(head=head).train(), np.random.default_rng(1).integers(0, 256, (7, 112, 112)).astype(np.uint8)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    whole = rate(net, frames)
    assert whole.shape == ((7, 3) if head == "classification" else (7,)) and whole.dtype == np.float32
    assert np.allclose(whole, rate(net, frames, batch=2), atol=1e-5) and np.allclose(whole[3], rate(net, frames[3:4])[0], atol=1e-5)
    assert net.training and all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert len(rate(net, frames[:0])) == 0 and rate(net, frames[:0]).ndim == whole.ndim
    assert np.allclose(whole, rate(net, to_size(frames, 32)), atol=1e-5)
    if head == "classification": assert np.allclose(whole.sum(1), 1, atol=1e-5)


def test_a_regression_is_not_clipped():
    net = made(head="regression")
    with torch.no_grad(): net.head.bias.fill_(7.); net.head.weight.zero_()
    assert np.allclose(rate(net, np.zeros((2, 32, 32), np.uint8)), 7)


@pytest.mark.parametrize("frames", [np.zeros((32, 32), np.uint8), np.zeros((2, 32, 31), np.uint8), np.zeros((2, 32, 32), float), np.zeros((2, 32, 32, 3), np.uint8), [[0]], np.zeros((2, 0, 0), np.uint8)])
def test_frames_of_another_kind_are_refused(frames):
    with pytest.raises(MespotError, match="uint8"): rate(made(), frames)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-5, 5), min_size=1, max_size=20))
def test_a_value_has_the_class_of_the_nearest_target(values):
    distance = np.abs(np.array(values)[:, None] - [0, .5, 1])
    found = as_class(np.array(values))
    assert np.allclose(distance[np.arange(len(values)), found], distance.min(1)) and found.dtype.kind == "i"


def test_probabilities_have_the_class_of_the_largest():
    assert as_class([[.2, .5, .3], [.9, .1, 0], [0, .4, .6]]).tolist() == [1, 0, 2]
    for bad in (np.zeros((2, 2)), np.zeros((2, 3, 1)), [np.nan, .5]):
        with pytest.raises(MespotError): as_class(bad)


def test_weights_are_read_back_and_damage_is_named(tmp_path):
    net, frames = made(head="regression"), np.random.default_rng(2).integers(0, 256, (2, 32, 32)).astype(np.uint8)
    save_fer(tmp_path/"a", net, dict(note="x"))
    again, card = read_fer(tmp_path/"a.safetensors")
    assert np.array_equal(rate(net, frames), rate(again, frames)) and card["note"] == "x" and not again.training and again.config == net.config
    with pytest.raises(MespotError, match="there is no"): read_fer(tmp_path/"b")
    path = tmp_path/"a.json"
    for change in (dict(network="sequence"), dict(config=card["config"] | dict(width=5)), dict(config=dict(colour=1))):
        path.write_text(json.dumps(card | change))
        with pytest.raises(MespotError, match="do not make an expression network"): read_fer(tmp_path/"a")
    path.write_text(json.dumps(card)); (tmp_path/"a.safetensors").write_bytes(b"junk")
    with pytest.raises(MespotError, match="do not make"): read_fer(tmp_path/"a")
