"The spotting network: against Conv3d and torch's losses; fast prediction against the naive oracle in every odd situation; weight files."
import dataclasses, json
import numpy as np, pytest, torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
import mespot.nets.spotter as module
from mespot.core import MespotError
from mespot.nets.spotter import (LOSSES, PAIRS, Block, Spotter, SpotterConfig, deep_config, end_to_end_config, fold_batch_norm, frame_quads, load_weights,
                                 predict_naive, predict_video, save_weights, skip_frames, weighted_loss)

def lively(seed=0, config=None, **options):
    "A network with used batch norms and a loud head, so that a wrong frame shows in its output."
    torch.manual_seed(seed)
    net = Spotter(config or SpotterConfig(**options))
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

count = lambda net: sum(p.numel() for p in net.parameters())

OTHERWISE = dict(channels=(16, 32, 48), kernels=(5, 3, 5), strides=(2, 2, 1), halve="maxpool", separable=False, batch_norm=False, dropout=.6, pool="max", difference_start=False,
                 outputs=1, lcn=False, pair="forward")

@pytest.mark.parametrize("option", [f.name for f in dataclasses.fields(SpotterConfig)])
def test_every_option_has_an_effect(option):
    config = SpotterConfig(**{option: OTHERWISE[option]})
    if option in ("lcn", "pair"):                                        # what it is fed, not what it is made of
        net, v = lively(), film(40)
        other = Spotter(config).eval(); other.load_state_dict(net.state_dict())
        for f in (predict_video, predict_naive): assert np.abs(f(net, v, 30, (.2, 1.)) - f(other, v, 30, (.2, 1.))).max() > .01
        return
    def outcome(c):
        torch.manual_seed(3); net, x = Spotter(c), torch.randn(4, 4, 32, 32)
        torch.manual_seed(4); return net(x)
    assert torch.equal(outcome(SpotterConfig()), outcome(SpotterConfig()))
    a, b = outcome(SpotterConfig()), outcome(config)
    assert a.shape != b.shape or not torch.allclose(a, b, atol=1e-3)

def test_dropout_rests_in_evaluation_and_none_is_none():
    a, x = lively(), torch.randn(2, 4, 32, 32)
    assert torch.equal(a(x), a(x)) and not torch.equal(a.train()(x), a(x))
    c = Spotter(SpotterConfig(dropout=0, batch_norm=False)).train(); assert torch.equal(c(x), c(x))

def test_config_refuses():
    for bad in (dict(channels=(1, 2)), dict(kernels=(5, 3, 4)), dict(pool="sum"), dict(dropout=1), dict(dropout=-.1), dict(channels=(), kernels=(), strides=()),
                dict(channels=(16, 0, 64)), dict(strides=(2, 0, 2)), dict(kernels=(5, -3, 3)), dict(halve="avgpool"), dict(outputs=3), dict(outputs=0), dict(pair="middle")):
        with pytest.raises(MespotError) as e: SpotterConfig(**bad)
        assert next(iter(bad)) in str(e.value)
    with pytest.raises(TypeError): SpotterConfig(depth=3)
    with pytest.raises(dataclasses.FrozenInstanceError): SpotterConfig().pool = "max"

def by_hand(c):
    "Parameters of the network, layer by layer."
    n, a = 0, 2
    for i, (b, k) in enumerate(zip(c.channels, c.kernels)):
        n += a*k*k + a*b if c.separable and i else a*b*k*k
        n += 2*b if c.batch_norm else b                                  # a bias only where no normalisation follows
        a = b
    return n + (2*a)**2 + 2*a + (2*a + 1)*c.outputs                      # one matrix for both dense layers, and the head

@pytest.mark.parametrize("config", [SpotterConfig(), SpotterConfig(separable=False), SpotterConfig(batch_norm=False), SpotterConfig(outputs=1), SpotterConfig(halve="maxpool"),
                                    deep_config(10, 8), deep_config(6, separable=False), end_to_end_config(), end_to_end_config(6)])
def test_number_of_parameters(config): assert count(Spotter(config)) == by_hand(config)

def test_the_default_and_the_end_to_end_network_have_as_many_as_ever():
    assert count(Spotter()) == 20786                                     # shipped weights depend on it
    assert count(Spotter(end_to_end_config())) == 2826

@pytest.mark.parametrize("size", [32, 25, 7])
def test_maxpool_halves_as_stride_does_after_an_unstrided_block(size):
    torch.manual_seed(0)
    c, x = SpotterConfig(halve="maxpool"), torch.randn(2, 3, size, size)
    pooled, plain, strided = Block(3, 4, 5, 2, True, c).eval(), Block(3, 4, 5, 1, True, c).eval(), Block(3, 4, 5, 2, True, SpotterConfig()).eval()
    plain.load_state_dict(pooled.state_dict())
    torch.testing.assert_close(pooled(x), F.max_pool2d(plain(x), 2, ceil_mode=True))
    assert pooled(x).shape == strided(x).shape == (2, 4, -(-size//2), -(-size//2))

@pytest.mark.parametrize("depth", [3, 4, 6, 10, 20])
def test_deeper_networks_halve_three_times_and_only_then_go_on(depth):
    c = deep_config(depth, 4)
    assert len(c.channels) == depth and sorted(c.strides) == [1]*(depth - 3) + [2]*3 and set(c.channels) == {4, 8, 16} and list(c.channels) == sorted(c.channels)
    assert Spotter(c).eval().blocks(torch.randn(1, 2, 32, 32)).shape == (1, 16, 4, 4)

def test_named_configs():
    assert deep_config() == SpotterConfig() and deep_config(5, pool="max").pool == "max"
    with pytest.raises(MespotError, match="at least 3"): deep_config(2)
    b = end_to_end_config(outputs=1)
    assert (b.channels, b.kernels, b.halve, b.separable, b.outputs) == ((2, 2, 4, 4, 8, 8), (11, 9, 7, 5, 3, 3), "maxpool", False, 1)      # Figure B.1
    assert Spotter(b).eval().blocks(torch.randn(1, 2, 160, 160)).shape == (1, 8, 20, 20)
    assert len(end_to_end_config(6).channels) == 12 and Spotter(end_to_end_config(6)).eval().blocks(torch.randn(1, 2, 160, 160)).shape == (1, 8, 3, 3)
    with pytest.raises(MespotError, match="3 or 6"): end_to_end_config(4)

def test_movement_network_has_one_answer():
    net, v, ok = lively(outputs=1), film(60), np.arange(60) % 20 > 3
    p = predict_video(net, v, 30, (.2, 1.), ok=ok)
    assert net(torch.randn(3, 4, 24, 24)).shape == (3, 1) and p.shape == (60, 1) and (np.isnan(p[:, 0]) == ~ok).all()
    np.testing.assert_allclose(p, predict_naive(net, v, 30, (.2, 1.), ok=ok), **close)
    assert predict_video(net, v[:0], 30, (.2, 1.)).shape == (0, 1)

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

@settings(deadline=None, max_examples=50)
@given(st.integers(1, 9), st.sampled_from(sorted(LOSSES)), st.floats(0, 5), st.integers(0, 99))
def test_weight_of_what_is_absent(n, name, absent, seed):
    g, options = torch.Generator().manual_seed(seed), LOSSES[name] | dict(absent=absent)
    C, W = len(options["M"]), options["W"]
    z, t = torch.randn(n, C, generator=g)*4, (torch.rand(n, C, generator=g) < .5).float()
    s, T = 1/(1 + np.exp(-z.double().numpy())), t.numpy()
    assert weighted_loss(z, t, **options).item() == pytest.approx(-(np.array(options["M"])*(W*T*np.log(s) + absent*(1 - T)*np.log1p(-s))).sum(1).mean(), rel=1e-4, abs=1e-6)

def test_named_losses_weigh_as_their_sources_say():
    one = lambda name, z, t: weighted_loss(torch.tensor([z]), torch.tensor([t]), **LOSSES[name]).item()/np.log(2)     # at s = 1/2 a term is its weight times log 2
    assert one("thesis", [0., 0.], [1., 1.]) == pytest.approx(3) and one("thesis", [0., 0.], [1., 0.]) == pytest.approx(3*.9 + .1)
    assert one("paper", [0., 0.], [1., 0.]) == pytest.approx(.75*.1 + .25*.9) and one("paper", [0., 0.], [0., 1.]) == pytest.approx(.25*.1 + .75*.9)
    assert one("movement", [0.], [1.]) == pytest.approx(.75) and one("movement", [0.], [0.]) == pytest.approx(.25)
    assert one("unweighted", [0., 0.], [1., 0.]) == pytest.approx(2)

def test_loss_wants_a_weight_for_each_kind():
    with pytest.raises(MespotError, match="1 kind"): weighted_loss(torch.zeros(3, 1), torch.zeros(3, 1))
    with pytest.raises(MespotError, match="2 kind"): weighted_loss(torch.zeros(3, 2), torch.zeros(3, 2), **LOSSES["movement"])

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
    net, v = lively(pair=pair, lcn=lcn), film(n)
    fast = predict_video(net, v, fps, (.2, 1.), batch)
    assert fast.shape == (n, 2) and fast.dtype == np.float32
    np.testing.assert_allclose(fast, predict_naive(net, v, fps, (.2, 1.)), **close)
    if n == 90: assert fast.std(0).min() > .001                          # else the comparison would mean nothing

@pytest.mark.parametrize("config", [SpotterConfig(**o) for o in (dict(separable=False), dict(batch_norm=False), dict(pool="max"), dict(halve="maxpool"), dict(outputs=1),
                                    dict(channels=(4, 8), kernels=(3, 3), strides=(2, 1)))] + [deep_config(7, 4), end_to_end_config()])
def test_fast_equals_naive_for_every_network(config):
    net, v = lively(config=config), film(40)
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

# weights

def test_weights_there_and_back(tmp_path):
    net = lively(channels=(4, 8), kernels=(3, 3), strides=(2, 2), halve="maxpool", outputs=1, lcn=False, pair="backward").to(memory_format=torch.channels_last)
    save_weights(tmp_path/"deep"/"w.safetensors", net, dict(thresholds=np.array([.5, .25]), note="ü"))
    back, card = load_weights(tmp_path/"deep"/"w")
    assert back.config == net.config and card["thresholds"] == [.5, .25] and card["note"] == "ü" and not back.training
    assert np.array_equal(predict_video(back, film(20), 30, (.2, 1.)), predict_video(net, film(20), 30, (.2, 1.)))
    assert sorted(p.name for p in (tmp_path/"deep").iterdir()) == ["w.json", "w.safetensors"]

def test_weights_from_before_there_were_more_settings(tmp_path):
    net = lively()
    save_weights(tmp_path/"w", net, {})
    card = json.loads((tmp_path/"w.json").read_text())
    (tmp_path/"w.json").write_text(json.dumps(dict(config={k: v for k, v in card["config"].items() if k not in ("halve", "outputs", "lcn", "pair")})))
    assert load_weights(tmp_path/"w")[0].config == net.config

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
