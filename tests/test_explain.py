"""Explanations of the spotting network: heat lies where the known movement of a phantom is, and comes from training."""
import copy
import sys

import numpy as np
import pytest
import torch
import torch.nn as nn
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("captum")
from mespot.core import MespotError, one_thread
from mespot.data.phantom import phantom
from mespot.nets.explain import (REGIONS, act_out, explain_event, grad_cam, guided_backprop, guided_layers, plot_heat, plot_layers, region_means,
                                 shuffle_weights)
from mespot.nets.spotter import Spotter, SpotterConfig, predict_naive
from mespot.signal.lcn import lcn_torch
from mespot.spot import load_spotter

one_thread()
ACTS = dict(macro=dict(seconds=1.5, intensity=3.5), micro=dict(seconds=.4, intensity=2.6))


@pytest.fixture(scope="module")
def shipped(): return load_spotter()


@pytest.fixture(scope="module")
def acts():
    "Twelve people the network was not trained on, each moving one action unit: dict (kind, AU, person) -> frames, onset, offset."
    ph = phantom("varied", seed=7, subjects=12)
    return {(kind, au, person): act_out(ph, person, (au,), **how) for person in ph.videos.video for kind, how in ACTS.items() for au in (4, 12)}


def heat_of(model, card, act, kind, layer=-1):
    "Mean heat (2, 112, 112) over the frames of an act."
    frames, onset, offset = act
    return explain_event(model, frames, 30., card["skips"], np.linspace(onset, offset, 6).astype(int), kind, layer)[0].mean(0)


def brows_and_mouth(model, card, acts, kind, layer=-1, stream=None):
    "dict AU -> (people, 2): relative heat of brows and mouth; of the sum of the streams, or of one."
    out = {}
    for au in (4, 12):
        heats = [heat_of(model, card, a, kind, layer) for (k, u, _), a in acts.items() if (k, u) == (kind, au)]
        means = [region_means(h.sum(0) if stream is None else h[stream]) for h in heats]
        out[au] = np.array([[m["brows"], m["mouth"]] for m in means])
    return out


def contrast(r): return np.log(r[4].mean(0)[0]/r[4].mean(0)[1]), np.log(r[12].mean(0)[1]/r[12].mean(0)[0])


# --- where the movement is -------------------------------------------------------------------------------------------------------------------------------------
def test_a_lowered_brow_heats_the_brows_and_a_smile_the_mouth(shipped, acts):
    r = brows_and_mouth(*shipped, acts, "macro")
    assert len(r[4]) == len(r[12]) == 12
    assert (r[4][:, 0] > r[4][:, 1]).sum() >= 11 and (r[12][:, 1] > r[12][:, 0]).sum() >= 11          # person by person
    assert min(contrast(r)) > np.log(4)                                                           # and on average, clearly


def test_the_same_for_micro_expressions(shipped, acts):
    r = brows_and_mouth(*shipped, acts, "micro")
    assert (r[4][:, 0] > r[4][:, 1]).sum() >= 11 and (r[12][:, 1] > r[12][:, 0]).sum() >= 11
    assert min(contrast(r)) > np.log(1.5)
    assert min(contrast(brows_and_mouth(*shipped, acts, "micro", stream=0))) > np.log(4)          # what is short is seen by the micro stream


def test_one_block_earlier_says_the_same(shipped, acts):
    assert min(contrast(brows_and_mouth(*shipped, acts, "macro", layer=-2))) > np.log(1.5)


def test_with_meaningless_weights_the_heat_does_not_tell_the_regions_apart(shipped, acts):
    model, card = shipped
    four = {k: a for k, a in acts.items() if k[0] == "macro" and k[2] < "p005"}
    trained, shuffled = contrast(brows_and_mouth(model, card, four, "macro")), []
    for seed in range(3):
        m = shuffle_weights(model, seed)
        shuffled.append(contrast(brows_and_mouth(m, card, four, "macro")))
        alike = [np.corrcoef(heat_of(model, card, a, "macro").ravel(), heat_of(m, card, a, "macro").ravel())[0, 1] for a in list(four.values())[::4]]
        assert np.mean(alike) < .5
    assert np.abs(np.mean(shuffled)) < .5*np.mean(trained) and max(map(min, shuffled)) < np.log(1.5)


def test_shuffling_keeps_the_numbers_and_the_model(shipped):
    before = {k: v.clone() for k, v in shipped[0].state_dict().items()}
    a, b, c = shuffle_weights(shipped[0], 1), shuffle_weights(shipped[0], 1), shuffle_weights(shipped[0], 2)
    for (k, v), p, q, r in zip(before.items(), *(m.state_dict().values() for m in (a, b, c))):
        assert torch.equal(v, shipped[0].state_dict()[k]) and torch.equal(p, q)
        assert torch.equal(v.flatten().sort().values, r.flatten().sort().values)
    assert not torch.equal(a.head.weight, c.head.weight) and not torch.equal(a.head.weight, before["head.weight"])


# --- Grad-CAM --------------------------------------------------------------------------------------------------------------------------------------------------
def plain_network(**options):
    "A network that adds up what it sees: all weights 1, no dense layer."
    net = Spotter(SpotterConfig(channels=(2, 2, 2), batch_norm=False, dropout=0, **options)).eval()
    with torch.no_grad():
        for name, p in net.named_parameters(): p.fill_(0. if name.endswith("bias") or name.startswith("dense") else 1.)
    return net


@given(st.integers(24, 88), st.integers(24, 88), st.integers(0, 1), st.sampled_from(["stride", "maxpool"]))
@settings(max_examples=30, deadline=None)
def test_heat_is_in_the_stream_and_at_the_pixel_that_caused_it(y, x, stream, halve):
    pictures = torch.zeros(2, 4, 112, 112); pictures[1, 2*stream + 1, y, x] = 1
    for layer in (0, 1, 2):
        heat = grad_cam(plain_network(halve=halve), pictures, "micro", layer)
        assert heat.shape == (2, 2, 112, 112) and heat[0].max() == 0 and heat[1, 1 - stream].max() == 0
        h = heat[1, stream]/heat[1, stream].sum()
        assert abs((h.sum(1)*np.arange(112)).sum() - y) < 2 and abs((h.sum(0)*np.arange(112)).sum() - x) < 2     # half a cell would be 3.5 pixels


@pytest.mark.parametrize("options", [{}, dict(pool="max"), dict(halve="maxpool"), dict(batch_norm=False, separable=False), dict(channels=(4,)*4, kernels=(3,)*4, strides=(2, 2, 2, 1))])
def test_samples_do_not_mix_and_the_model_is_left_alone(options):
    torch.manual_seed(0)
    net, x = Spotter(SpotterConfig(**options)).train(), torch.randn(3, 4, 112, 112)
    before = copy.deepcopy(net.state_dict())
    for method in (grad_cam, guided_backprop):
        together = method(net, x, "macro")
        assert together.dtype == np.float32 and np.isfinite(together).all()
        np.testing.assert_allclose(together, np.concatenate([method(net, x[[i]].numpy(), 1) for i in range(3)]), atol=1e-5*np.abs(together).max())
        other = method(net, x, "micro")                                          # Grad-CAM of one kind may be 0 all over: nothing speaks for it
        assert np.abs(together - other).max() > .01*max(together.max(), other.max()) > 0
    assert net.training and all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters()) and not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_grad_cam_agrees_with_its_definition(shipped):
    model, x = shipped[0], torch.randn(2, 4, 112, 112)
    for layer, cells in ((-1, 14), (0, 56)):
        a = model.blocks[:layer % 3 + 1](x.reshape(4, 2, 112, 112)).detach().requires_grad_()
        g, = torch.autograd.grad(model.head(model.dense(model.blocks[layer % 3 + 1:](a).mean((2, 3)).reshape(2, -1)))[:, 0].sum(), a)
        expected = (g.mean((2, 3), keepdim=True)*a).sum(1).clamp_min(0).reshape(2, 2, cells, cells).detach()
        step = 112//cells
        np.testing.assert_allclose(grad_cam(model, x, "micro", layer)[:, :, ::step, ::step], expected, atol=1e-5*expected.max())


def test_a_movement_network_has_one_kind():
    net, x = Spotter(SpotterConfig(outputs=1)), torch.randn(1, 4, 64, 80)
    assert grad_cam(net, x, "movement").shape == (1, 2, 64, 80) and guided_backprop(net, x, "movement").shape == (1, 4, 64, 80)
    with pytest.raises(MespotError, match="kind 'micro' is not among what this network tells: movement"): grad_cam(net, x, "micro")


def test_errors_say_what_to_do(monkeypatch):
    net, x = Spotter(), torch.randn(1, 4, 112, 112)
    for kind in ("mikro", 2, -1, None):
        with pytest.raises(MespotError, match="this network tells: micro, macro"): guided_layers(net, x, kind)
    with pytest.raises(MespotError, match=r"\(B, 4, H, W\).*\(4, 112, 112\)"): grad_cam(net, x[0], "micro")
    with pytest.raises(MespotError, match="no block 3; it has 3"): grad_cam(net, x, "micro", layer=3)
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    for f in (grad_cam, guided_backprop):
        with pytest.raises(MespotError, match=r"pip install 'mespot\[explain\]'"): f(net, x, "micro")


# --- guided backpropagation ------------------------------------------------------------------------------------------------------------------------------------
class _Guided(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x): ctx.save_for_backward(x); return x.clamp_min(0)

    @staticmethod
    def backward(ctx, g): x, = ctx.saved_tensors; return g.clamp_min(0)*(x > 0)


class GuidedReLU(nn.Module):
    def forward(self, x): return _Guided.apply(x)


@pytest.mark.parametrize("k, kind", [(0, "micro"), (1, "macro")])
def test_guided_backpropagation_agrees_with_a_relu_that_guides(shipped, k, kind):
    torch.manual_seed(1)
    x, net = torch.randn(2, 4, 112, 112), copy.deepcopy(shipped[0])
    for b in net.blocks: b.act = GuidedReLU()
    a, activations = x.clone().requires_grad_(), []
    z = a.reshape(4, 2, 112, 112)
    for b in net.blocks: z = b(z); activations.append(z)
    logit = net.head(net.dense(z.mean((2, 3)).reshape(2, -1)))[:, k].sum()
    g, *layers = torch.autograd.grad(logit, [a, *activations])
    assert np.abs(guided_backprop(shipped[0], x, kind) - g.numpy()).max() < 1e-4*g.abs().max()
    for found, act, grad in zip(guided_layers(shipped[0], x, kind), activations, layers, strict=True):
        expected = (act*grad.clamp_min(0)).sum(1).detach().reshape(2, 2, *act.shape[2:]).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-4*expected.max())


# --- moments of a video ----------------------------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("config", [SpotterConfig(), SpotterConfig(pair="backward", lcn=False)])
def test_a_moment_is_explained_on_the_frames_it_is_predicted_from(config):
    torch.manual_seed(0)
    net, rng = Spotter(config).eval(), np.random.default_rng(0)
    frames, ok = rng.integers(0, 255, (40, 112, 112), np.uint8), np.arange(40) % 9 != 4
    t = np.array([0, 7, 20, 39])
    heat, four = explain_event(net, frames, 20., (.2, .9), t, "macro", ok=ok)
    x = torch.from_numpy(four).float()/255
    x = lcn_torch(x) if config.lcn else x
    np.testing.assert_allclose(net(x).sigmoid().detach(), predict_naive(net, frames, 20., (.2, .9), ok=ok)[t], atol=1e-6)
    np.testing.assert_array_equal(heat, grad_cam(net, x, "macro"))
    one, its_four = explain_event(net, frames, 20., (.2, .9), 7, "macro", ok=ok)
    np.testing.assert_array_equal(its_four, four[[1]]); np.testing.assert_allclose(one, heat[[1]], atol=1e-6*heat.max())
    with pytest.raises(MespotError, match="no face in frame 13"): explain_event(net, frames, 20., (.2, .9), [12, 13], "macro", ok=ok)
    for outside in (-1, 40):
        with pytest.raises(MespotError, match="frames 0 to 39"): explain_event(net, frames, 20., (.2, .9), [3, outside], "macro")


def test_an_act_moves_only_what_it_is_told_to():
    ph = phantom("varied", seed=7, subjects=3, fps=15., drift=1e-9, jitter=0., illumination=1e-9, noise=1e-9)
    frames, onset, offset = act_out(ph, "p003_1", (4,))
    assert offset - onset + 1 == 22 and onset == 9 == len(frames) - 1 - offset
    apart = np.abs(frames.astype(int) - frames[0]).max(0)                       # gaze and flicker go on, so brows and the rest of the face are compared
    x0, y0, x1, y1 = REGIONS["mouth"]
    assert np.abs(frames[onset + 10].astype(int) - frames[0])[6:25, 14:98].max() > 3*apart[y0:y1, x0:x1].max()
    with pytest.raises(MespotError, match="no action unit 10"): act_out(ph, "p003_1", (4, 10))


# --- regions and pictures --------------------------------------------------------------------------------------------------------------------------------------
@given(arrays(np.float64, (2, 56, 56), elements=st.floats(.01, 10)), st.floats(.1, 100))
@settings(max_examples=20, deadline=None)
def test_region_means_do_not_depend_on_scale(heat, factor):
    a, b = region_means(heat), region_means(factor*heat)
    for name in REGIONS: np.testing.assert_allclose(a[name], b[name])


def test_region_means_of_known_heat():
    heat = np.zeros((3, 112, 112)); heat[1] = 1; heat[2, 6:25, 14:98] = 5
    m = region_means(heat)
    assert all(np.isnan(v[0]) and v[1] == 1 for v in m.values())
    assert m["brows"][2] == pytest.approx(112**2/(19*84)) and all(m[name][2] == 0 for name in REGIONS if name != "brows")
    twice = region_means(np.kron(heat[2], np.ones((2, 2))))
    assert all(twice[name] == pytest.approx(m[name][2]) for name in REGIONS)


def test_regions_lie_in_the_view_and_apart():
    covered = np.zeros((112, 112), int)
    for x0, y0, x1, y1 in REGIONS.values():
        assert 0 <= x0 < x1 <= 112 and 0 <= y0 < y1 <= 112
        covered[y0:y1, x0:x1] += 1
    assert covered.max() == 1


def test_pictures(shipped):
    import matplotlib.pyplot as plt
    four, heat = np.zeros((4, 112, 112), np.uint8), np.zeros((2, 112, 112), np.float32)
    four[3], heat[1, 80, 40] = 7, 2
    fig = plot_heat(four, heat, "AU12")
    assert fig.get_suptitle() == "AU12"
    (micro, micro_heat), (macro, macro_heat), (_, total) = ([np.asarray(i.get_array()) for i in ax.images] for ax in fig.axes[:3])
    assert micro.max() == 0 and macro.max() == 7 and micro_heat.max() == 0 and macro_heat[80, 40] == total[80, 40] == 1
    plot_heat(four, 0*heat).canvas.draw()                                        # nothing to show is no error
    maps = [m[0] for m in guided_layers(shipped[0], torch.randn(1, 4, 112, 112), "micro")]
    assert len(plot_layers(four, maps).axes) == 2*4
    plt.close("all")
