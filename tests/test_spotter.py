"The spotting network: against Conv3d and torch's losses; fast prediction against the naive oracle in every odd situation; weight files."
import dataclasses, json
import numpy as np, pytest, torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
import mespot.nets.spotter as module
from mespot.core import MespotError
from mespot.nets.spotter import (PAIRS, Spotter, SpotterConfig, fold_batch_norm, frame_quads, load_weights, predict_naive, predict_video, save_weights,
                                 skip_frames, weighted_loss)

def lively(seed=0, **config):
    "A network with used batch norms and a loud head, so that a wrong frame shows in its output."
    torch.manual_seed(seed)
    net = Spotter(SpotterConfig(**config))
    with torch.no_grad():
        for _ in range(10): net.train()(torch.randn(8, 4, 32, 32)*2 + .5)
        net.head.weight *= 30
    return net.eval()

def film(n=90, size=24, seed=0):
    "A moving pattern: neighbouring frames differ a little, distant ones more."
    rng = np.random.default_rng(seed)
    walk = rng.normal(0, 9, (n, size, size)).cumsum(0) + rng.integers(60, 190, (size, size))
    return np.abs(walk % 510 - 255).astype(np.uint8)

close = dict(rtol=0, atol=1e-4)

# network

class AsPrinted(torch.nn.Module):
    "Figure 5.5 literally: 3-D convolutions over (1, 4, H, W), depth stride 2 in the first, depth 1 in the others."
    def __init__(self, net):
        super().__init__(); self.net = net
    def forward(self, x):
        x = x[:, None]                                                                     # (B, 1, 4, H, W)
        for i, b in enumerate(self.net.blocks):
            for c in b.conv:
                w = c.weight[:, None] if i == 0 else c.weight[:, :, None]   # (out, in, depth, k, k)
                depth = 2 if i == 0 else 1
                x = F.conv3d(x, w, c.bias, (depth, *c.stride), (0, *c.padding), groups=c.groups)
            x = F.relu(F.batch_norm(x, b.norm.running_mean, b.norm.running_var, b.norm.weight, b.norm.bias))
        x = x.mean((3, 4)).transpose(1, 2).flatten(1)                                      # (B, C, 2) -> (B, 2C)
        d = self.net.dense.dense
        return self.net.head(x + d(F.relu(d(x))))

@pytest.mark.parametrize("separable", [True, False])
def test_equals_3d_convolution_with_stride_in_depth(separable):
    net, x = lively(separable=separable), torch.randn(3, 4, 32, 32)
    torch.testing.assert_close(net(x), AsPrinted(net)(x), atol=1e-4, rtol=1e-4)

def test_difference_start_and_training_moves_it():
    net = Spotter()
    w = net.blocks[0].conv[0].weight
    assert torch.equal(w[:, 1], -w[:, 0]) and w[:, 0].abs().max() > 0
    weighted_loss(net(torch.randn(4, 4, 32, 32)), torch.ones(4, 2)).backward()
    assert not torch.allclose(w.grad[:, 1], -w.grad[:, 0])              # a start, not a constraint
    v = Spotter(SpotterConfig(difference_start=False)).blocks[0].conv[0].weight
    assert not torch.equal(v[:, 1], -v[:, 0])

def test_pool_and_dropout_do_something():
    a, x = lively(), torch.randn(2, 4, 32, 32)
    b = lively(pool="max"); b.load_state_dict(a.state_dict())
    assert not torch.allclose(a(x), b(x))
    torch.manual_seed(0); assert not torch.equal(a.train()(x), a(x))
    c = Spotter(SpotterConfig(dropout=0, batch_norm=False)).train(); assert torch.equal(c(x), c(x))

def test_config_refuses():
    for bad in (dict(channels=(1, 2)), dict(kernels=(5, 3, 4)), dict(pool="sum"), dict(dropout=1), dict(dropout=-.1), dict(channels=(), kernels=(), strides=())):
        with pytest.raises(MespotError): SpotterConfig(**bad)
    with pytest.raises(TypeError): SpotterConfig(depth=3)
    with pytest.raises(dataclasses.FrozenInstanceError): SpotterConfig().pool = "max"

# loss

@settings(deadline=None, max_examples=50)
@given(st.integers(1, 9), st.floats(.1, 10), st.tuples(st.floats(0, 2), st.floats(0, 2)), st.integers(0, 99))
def test_loss_against_formula_and_torch(n, W, M, seed):
    g = torch.Generator().manual_seed(seed)
    z, t = torch.randn(n, 2, generator=g)*4, (torch.rand(n, 2, generator=g) < .5).float()
    got = weighted_loss(z, t, W, M).item()
    s, T = 1/(1 + np.exp(-z.double().numpy())), t.numpy()
    assert got == pytest.approx(-(np.array(M)*(W*T*np.log(s) + (1 - T)*np.log1p(-s))).sum(1).mean(), rel=1e-4, abs=1e-6)
    theirs = F.binary_cross_entropy_with_logits(z, t, torch.tensor(M), pos_weight=torch.full((2,), W), reduction="none").sum(1).mean()
    assert got == pytest.approx(theirs.item(), rel=1e-4, abs=1e-6) and got >= 0

def test_loss_weighs_micro_misses_most_and_stays_finite():
    one = lambda z, t: weighted_loss(torch.tensor([z]), torch.tensor([t])).item()
    miss_me, miss_mae, alarm_me = one([-5., -5.], [1., 0.]), one([-5., -5.], [0., 1.]), one([5., -5.], [0., 0.])
    assert miss_me > alarm_me > miss_mae and miss_me == pytest.approx(3*alarm_me, rel=1e-2)
    assert np.isfinite(one([-1e4, 1e4], [1., 0.]))

# frames

@settings(deadline=None, max_examples=100)
@given(st.integers(1, 60), st.integers(1, 80), st.integers(1, 80), st.sampled_from(PAIRS), st.data())
def test_quads(n, a, b, pair, data):
    ok = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    t = np.arange(n)
    q = frame_quads(t, (a, b), n, pair)
    assert q.shape == (n, 4) and q.min() >= 0 and q.max() < n and (np.diff(q.reshape(n, 2, 2)) >= 0).all() and (np.diff(q, axis=0) >= 0).all()
    for s, k in ((0, a), (1, b)):
        first = {"centred": t - k//2, "backward": t - k, "forward": t}[pair]
        assert (q[:, 2*s] == first.clip(0, n - 1)).all() and (q[:, 2*s + 1] == (first + k).clip(0, n - 1)).all()
    m = frame_quads(t, (a, b), n, pair, ok)[ok]
    assert ok[m].all() and (abs(m - t[ok][:, None]) <= abs(q[ok] - t[ok][:, None])).all()
    assert ((m == q[ok]) | ~ok[q[ok]]).all()                             # only what was not usable has moved

def test_skips_scale_with_fps():
    assert skip_frames((.185, 1.085), 200).tolist() == [37, 217] and skip_frames((.001, .1), 30).tolist() == [1, 3]

# prediction

@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("lcn", [True, False])
@pytest.mark.parametrize("n,fps,batch", [(90, 30, 8), (90, 30, 7), (40, 200, 16), (5, 30, 8), (1, 30, 8), (2, 200, 1)])
def test_fast_equals_naive(n, fps, batch, lcn, pair):
    net, v = lively(), film(n)
    fast = predict_video(net, v, fps, (.2, 1.), pair, lcn, batch)
    assert fast.shape == (n, 2) and fast.dtype == np.float32
    np.testing.assert_allclose(fast, predict_naive(net, v, fps, (.2, 1.), pair, lcn), **close)
    if n == 90: assert fast.std(0).min() > .001                          # else the comparison would mean nothing

@pytest.mark.parametrize("config", [dict(separable=False), dict(batch_norm=False), dict(pool="max"), dict(channels=(4, 8), kernels=(3, 3), strides=(2, 1))])
def test_fast_equals_naive_for_every_network(config):
    net, v = lively(**config), film(40)
    np.testing.assert_allclose(predict_video(net, v, 30, (.2, 1.)), predict_naive(net, v, 30, (.2, 1.)), **close)
    x = torch.randn(5, 4, 32, 32)
    torch.testing.assert_close(fold_batch_norm(net)(x), net(x), atol=1e-4, rtol=1e-5)

@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 40)), min_size=1, max_size=5), st.integers(1, 20))
def test_gaps(runs, batch):
    ok = np.concatenate([np.full(k, b) for b, k in runs])
    net, v = lively(), film(len(ok), 16)
    p = predict_video(net, v, 30, (.1, .7), batch=batch, ok=ok)
    np.testing.assert_allclose(p, predict_naive(net, v, 30, (.1, .7), ok=ok), **close)
    assert (np.isnan(p).all(1) == ~ok).all() and (np.isnan(p).any(1) == ~ok).all()
    v2 = v.copy(); v2[~ok] = 0                                          # what a frame without a face shows never matters
    np.testing.assert_array_equal(p, predict_video(net, v2, 30, (.1, .7), batch=batch, ok=ok))

def test_memory_map_no_frame_normalised_twice_in_small_pieces(tmp_path, monkeypatch):
    np.save(tmp_path/"v.npy", film(300, 16)); v = np.load(tmp_path/"v.npy", mmap_mode="r")
    seen, real = [], module.lcn_torch
    monkeypatch.setattr(module, "lcn_torch", lambda x: seen.append(len(x)) or real(x))
    p = predict_video(lively(), v, 60, (.2, 1.), batch=16)
    assert sum(seen) == 300 and max(seen) <= 16
    np.testing.assert_allclose(p, predict_video(lively(), np.array(v), 60, (.2, 1.)), **close)

def test_prediction_leaves_the_model_alone():
    net = lively().train(); before = {k: v.clone() for k, v in net.state_dict().items()}
    for f in (predict_video, predict_naive):
        a, b = f(net, film(20), 30, (.2, 1.)), f(net, film(20), 30, (.2, 1.))
        assert net.training and np.array_equal(a, b)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())

def test_empty_and_wrong_videos():
    net = lively()
    assert predict_video(net, film(9)[:0], 30, (.2, 1.)).shape == (0, 2)
    for bad in (film(9)[0], film(9)/255, film(9)[..., None], [1, 2]):
        for f in (predict_video, predict_naive):
            with pytest.raises(MespotError, match="uint8"): f(net, bad, 30, (.2, 1.))
    with pytest.raises(MespotError, match="mask"): predict_video(net, film(9), 30, (.2, 1.), ok=np.ones(8, bool))
    with pytest.raises(MespotError, match="centred"): predict_video(net, film(9), 30, (.2, 1.), pair="middle")

# weights

def test_weights_there_and_back(tmp_path):
    net = lively(channels=(4, 8), kernels=(3, 3), strides=(2, 2)).to(memory_format=torch.channels_last)
    save_weights(tmp_path/"deep"/"w.safetensors", net, dict(thresholds=np.array([.5, .25]), note="ü"))
    back, card = load_weights(tmp_path/"deep"/"w")
    assert back.config == net.config and card["thresholds"] == [.5, .25] and card["note"] == "ü" and not back.training
    assert np.array_equal(predict_video(back, film(20), 30, (.2, 1.)), predict_video(net, film(20), 30, (.2, 1.)))
    assert sorted(p.name for p in (tmp_path/"deep").iterdir()) == ["w.json", "w.safetensors"]

def damage(p, what):
    card = json.loads((p/"w.json").read_text())
    if what == "no card": (p/"w.json").unlink()
    if what == "no weights": (p/"w.safetensors").unlink()
    if what == "card not JSON": (p/"w.json").write_text("{")
    if what == "no config": (p/"w.json").write_text("{}")
    if what == "card is a list": (p/"w.json").write_text("[]")
    if what == "unknown setting": (p/"w.json").write_text(json.dumps(dict(config={**card["config"], "layers": 9})))
    if what == "other network": (p/"w.json").write_text(json.dumps(dict(config={**card["config"], "channels": [8, 8, 8]})))
    if what == "cut short": (p/"w.safetensors").write_bytes((p/"w.safetensors").read_bytes()[:1000])

@pytest.mark.parametrize("what", ["no card", "no weights", "card not JSON", "no config", "card is a list", "unknown setting", "other network", "cut short"])
def test_damaged_weights_are_one_sentence(tmp_path, what):
    save_weights(tmp_path/"w", lively(), {})
    damage(tmp_path, what)
    with pytest.raises(MespotError) as e: load_weights(tmp_path/"w")
    assert str(tmp_path) in str(e.value) and "\n" not in str(e.value)

def test_a_card_that_cannot_be_written_leaves_nothing_half(tmp_path):
    with pytest.raises(AttributeError): save_weights(tmp_path/"w", lively(), dict(x=object()))
    assert not (tmp_path/"w.json").exists() and not list(tmp_path.glob(".*"))
