"StarGAN v2's losses against sums by hand, who learns from which of them, moving averages, batches, and that a training repeats."
import copy, math
from dataclasses import replace
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from torch import nn
from mespot.core import MespotError, one_thread
from mespot.nets.stargan2 import NETWORKS, StarGANConfig, build, landmark_mask, to_tensor
from mespot.train.stargan2 import (MAKERS, StarGANOptions, StarGANTask, StyleBatches, discriminator_loss, generator_loss, moving_average, r1_penalty,
                                   stargan_card, train_stargan2)

CONFIG = StarGANConfig(img_size=64, style_dim=4, latent_dim=3, max_conv_dim=4, dim_in=2, hidden_dim=6)
OPTIONS = StarGANOptions(steps=2, batch=2)
RNG = np.random.default_rng(0)
IMAGES, DOMAINS = RNG.integers(0, 256, (7, 64, 64, 3), dtype=np.uint8), np.array([0, 0, 0, 0, 0, 1, 1])

@pytest.fixture(autouse=True, scope="module")
def _one_thread(): one_thread()

def batch(config=CONFIG, size=4, seed=0, double=False):
    b = next(iter(StyleBatches(IMAGES, DOMAINS, config, StarGANOptions(steps=1, batch=size, seed=seed))))
    return {k: v.double() if double and v.is_floating_point() else v for k, v in b.items()}

def same(a, b): return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))

# losses

class Made(nn.Module):
    "A generator that adds the style's first number, more where there is a mask."
    def __init__(self): super().__init__(); self.w = nn.Parameter(torch.tensor(1.))
    def forward(self, x, s, masks=None): return self.w*x + s[:, 0, None, None, None]*(1 if masks is None else masks)

class Mean(nn.Module):
    "w times the mean of what comes, plus the domain; once (logits) or twice (styles)."
    def __init__(self, w, style): super().__init__(); self.w, self.style = nn.Parameter(torch.tensor(w)), style
    def forward(self, x, y):
        out = self.w*x.flatten(1).mean(1) + y
        return torch.stack([out, 2*out], 1) if self.style else out

def by_hand():
    nets = nn.ModuleDict(dict(generator=Made(), mapping_network=Mean(3., True), style_encoder=Mean(.5, True), discriminator=Mean(2., False)))
    x, x_ref, x_ref2 = (torch.tensor(v).reshape(2, 1, 1, 1).expand(2, 3, 2, 2) for v in ([.1, -.3], [.5, .2], [-.4, .6]))
    return nets, x, x_ref, x_ref2, torch.tensor([0, 1]), torch.tensor([1, 0]), torch.tensor([[.2], [-.6]]), torch.tensor([[.1], [.4]])

bce = lambda logit, real: -math.log(1/(1 + math.exp(-logit)) if real else 1 - 1/(1 + math.exp(-logit)))

@pytest.mark.parametrize("guide", ["latent", "reference"])
def test_losses_are_those_computed_by_hand(guide):
    nets, x, r, r2, y_org, y_trg, z, z2 = by_hand()
    o = StarGANOptions(lambda_reg=5., lambda_sty=2., lambda_ds=3., lambda_cyc=7.)
    s, s2 = ([3*.2 + 1, 3*-.6], [3*.1 + 1, 3*.4]) if guide == "latent" else ([.5*.5 + 1, .5*.2], [.5*-.4 + 1, .5*.6])
    pix, org, trg = [.1, -.3], [0, 1], [1, 0]
    fake = [p + a for p, a in zip(pix, s)]
    real, made = [2*p + y for p, y in zip(pix, org)], [2*f + y for f, y in zip(fake, trg)]
    want = dict(real=np.mean([bce(v, True) for v in real]), fake=np.mean([bce(v, False) for v in made]), reg=.5*12*(2/12)**2)
    one, pair = (dict(z_trg=z), dict(z_trgs=(z, z2))) if guide == "latent" else (dict(x_ref=r), dict(x_refs=(r, r2)))
    loss, parts = discriminator_loss(nets, o, x, y_org, y_trg, **one)
    assert {k: v.item() for k, v in parts.items()} == pytest.approx(want, rel=1e-5)
    assert loss.item() == pytest.approx(want["real"] + want["fake"] + 5*want["reg"], rel=1e-5)

    read = [.5*f + y for f, y in zip(fake, trg)]
    own = [.5*p + y for p, y in zip(pix, org)]
    want = dict(adv=np.mean([bce(v, True) for v in made]), sty=np.mean([(abs(e - a) + abs(2*e - 2*a))/2 for e, a in zip(read, s)]),
                ds=np.mean([abs(a - b) for a, b in zip(s, s2)]), cyc=np.mean([abs(f + a - p) for f, a, p in zip(fake, own, pix)]))
    loss, parts = generator_loss(nets, o, x, y_org, y_trg, **pair)
    assert {k: v.item() for k, v in parts.items()} == pytest.approx(want, rel=1e-5)
    assert loss.item() == pytest.approx(want["adv"] + 2*want["sty"] - 3*want["ds"] + 7*want["cyc"], rel=1e-5)

def test_masks_reach_every_made_picture():
    nets, x, r, r2, y_org, y_trg, z, z2 = by_hand()
    none, half = (generator_loss(nets, OPTIONS, x, y_org, y_trg, z_trgs=(z, z2), masks=m)[1] for m in (torch.zeros(2, 1, 2, 2), torch.full((2, 1, 2, 2), .5)))
    full = generator_loss(nets, OPTIONS, x, y_org, y_trg, z_trgs=(z, z2))[1]
    assert none["ds"] == 0 and none["cyc"] == 0 and half["ds"].item() == pytest.approx(full["ds"].item()/2) and half["cyc"] > 0
    d = [discriminator_loss(nets, OPTIONS, x, y_org, y_trg, z_trg=z, masks=m)[1]["fake"].item() for m in (torch.zeros(2, 1, 2, 2), None)]
    assert d[0] == pytest.approx(np.mean([bce(2*.1 + 1, False), bce(2*-.3, False)])) and d[0] != d[1]

def test_styles_come_from_one_of_two_guides():
    nets, x, r, r2, y_org, y_trg, z, z2 = by_hand()
    for kw in ({}, dict(z_trg=z, x_ref=r)):
        with pytest.raises(MespotError, match="one of the two"): discriminator_loss(nets, OPTIONS, x, y_org, y_trg, **kw)
    with pytest.raises(MespotError, match="one of the two"): generator_loss(nets, OPTIONS, x, y_org, y_trg)

@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_r1_of_a_linear_discriminator_is_half_its_squared_slope(n, d, seed):
    g = torch.Generator().manual_seed(seed)
    w, x = (torch.randn(*s, generator=g, dtype=torch.double).requires_grad_() for s in ((3*d*d,), (n, 3, d, d)))
    r1 = r1_penalty(x.flatten(1)@w + 7, x)
    r1.backward()
    assert r1.item() == pytest.approx((w@w).item()/2) and torch.allclose(w.grad, w)
    assert x.grad is None or not x.grad.any()

def test_r1_is_the_mean_over_pictures_of_their_own_gradients():
    x = torch.tensor([[1.], [2.], [4.]], requires_grad=True)
    assert r1_penalty(x[:, 0]**2, x).item() == pytest.approx(np.mean([2, 8, 32]))      # (2x)²/2

def test_no_r1_where_it_weighs_nothing():
    b, nets = batch(), build(CONFIG)
    args = b["x"], b["y_org"], b["y_trg"]
    _, parts = discriminator_loss(nets, replace(OPTIONS, lambda_reg=0.), *args, z_trg=b["z"])
    assert parts["reg"] == 0 and discriminator_loss(nets, OPTIONS, *args, z_trg=b["z"])[1]["reg"] > 0

def test_a_step_down_the_loss_makes_pictures_more_diverse():
    torch.manual_seed(1); nets, b = build(CONFIG).double(), batch(double=True)
    o = replace(OPTIONS, lambda_sty=0., lambda_cyc=0., lambda_ds=100.)
    def loss(): return generator_loss(nets, o, b["x"], b["y_org"], b["y_trg"], x_refs=(b["x_ref"], b["x_ref2"]))
    total, before = loss()
    total.backward()
    with torch.no_grad():
        for p in nets["generator"].parameters(): p -= 0 if p.grad is None else 1e-6*p.grad
    assert loss()[1]["ds"] > before["ds"]

def test_the_second_picture_of_a_pair_is_held_fixed():
    nets, x, r, r2, y_org, y_trg, z, z2 = by_hand()
    for k in (z, z2): k.requires_grad_()
    generator_loss(nets, OPTIONS, x, y_org, y_trg, z_trgs=(z, z2))[0].backward()
    assert z.grad.any() and z2.grad is None

# options

def test_diversity_fades_and_lazy_r1_weighs_the_same_in_the_mean():
    o = StarGANOptions(lambda_ds=2., lambda_reg=3., steps=20, ds_steps=8, r1_every=4)
    at = [o.at(i) for i in range(20)]
    assert [a.lambda_ds for a in at[:10]] == [2, 1.75, 1.5, 1.25, 1, .75, .5, .25, 0, 0] and at[19].lambda_ds == 0
    assert {a.lambda_reg for a in at} == {0., 12.} and at[0].lambda_reg and np.mean([a.lambda_reg for a in at]) == 3
    assert StarGANOptions(steps=4).at(2).lambda_ds == .5 and StarGANOptions().at(5).lambda_reg == 1

@pytest.mark.parametrize("bad", [dict(steps=0), dict(ds_steps=0), dict(batch=0), dict(r1_every=0), dict(ema=1.), dict(seconds=-1)])
def test_options_out_of_range(bad):
    with pytest.raises(MespotError, match=f"StarGAN options: {[*bad][0]}"): StarGANOptions(**bad)

# batches

@given(st.integers(1, 9), st.integers(0, 99), st.booleans())
@settings(max_examples=15, deadline=None)
def test_batches_are_balanced_and_true_to_their_domains(size, seed, mirror):
    o = StarGANOptions(steps=3, batch=size, seed=seed, mirror=mirror)
    for b in StyleBatches(IMAGES, DOMAINS, CONFIG, o):
        for k in ("y_org", "y_trg"): assert abs(2*b[k].sum().item() - size) <= 1
        for k, y in (("x", "y_org"), ("x_ref", "y_trg"), ("x_ref2", "y_trg")):
            for im, d in zip(b[k], b[y]):
                own = to_tensor(IMAGES[DOMAINS == d.item()])
                plain, flipped = ((own == v).flatten(1).all(1).any() for v in (im, im.flip(2)))
                assert plain or (mirror and flipped)
        assert b["z"].shape == b["z2"].shape == (size, 3) and not torch.equal(b["z"], b["z2"])

def test_half_of_the_pictures_are_mirrored_and_latent_codes_are_normal():
    own = to_tensor(IMAGES)
    b = [b for b in StyleBatches(IMAGES, DOMAINS, CONFIG, StarGANOptions(steps=40, batch=8))]
    plain = np.mean([(own == im).flatten(1).all(1).any().item() for c in b for im in c["x"]])
    z = torch.cat([torch.cat([c["z"], c["z2"]]) for c in b])
    assert .4 < plain < .6 and abs(z.mean()) < .1 and .9 < z.std() < 1.1

def test_batches_repeat_and_stop_at_the_time():
    first, again = (list(StyleBatches(IMAGES, DOMAINS, CONFIG, OPTIONS)) for _ in range(2))
    assert len(first) == 2 and all(torch.equal(a[k], b[k]) for a, b in zip(first, again) for k in a)
    assert not torch.equal(first[0]["x"], first[1]["x"])
    assert list(StyleBatches(IMAGES, DOMAINS, CONFIG, replace(OPTIONS, seconds=0))) == []

@pytest.mark.parametrize("images, domains, says", [
    (IMAGES[:5], DOMAINS[:5], "domain 1 has no pictures"), (IMAGES[:, :32], DOMAINS, r"takes uint8 \(n, 64, 64, 3\)"), (IMAGES/255, DOMAINS, "float64"),
    (IMAGES, DOMAINS[:6], "one number for each"), (IMAGES, DOMAINS + 1, "domain 2 is none of the config's 2")])
def test_pictures_that_do_not_fit(images, domains, says):
    with pytest.raises(MespotError, match=says): train_stargan2(images, domains, CONFIG, OPTIONS)

# training

def snapshot(nets): return {n: p.detach().clone() for n, p in nets.named_parameters()}

@pytest.fixture(scope="module", params=[1., 0.], ids=["high-pass", "residual"])
def watched(request):
    "One step of training: the config, and which parameters each of its updates changed. Wide enough that some unit of every layer of the mapping network answers."
    config, changes, update = replace(CONFIG, w_hpf=request.param, hidden_dim=32), [], StarGANTask.update
    def spy(self, *args, **kwargs):
        before = snapshot(self.nets)
        out = update(self, *args, **kwargs)
        changes.append({n for n, p in self.nets.named_parameters() if not torch.equal(p, before[n])})
        return out
    with pytest.MonkeyPatch.context() as m:
        m.setattr(StarGANTask, "update", spy)
        train_stargan2(IMAGES, DOMAINS, config, replace(OPTIONS, steps=1, batch=8))
    return config, changes

def idle(config):
    """Names of the generator's parameters that no picture depends on: constants added before an instance normalisation, and shortcuts that are left out.

    A block's first bias goes into its second normalisation; the second bias of the last encoding blocks and of every decoding one into a later one, unless the skip or the shortcuts' sum takes it past."""
    g = build(config)["generator"]
    sizes = [config.img_size//2**(i + 1) for i in range(len(g.encode))]
    names = {f"encode.{i}.conv1.bias" for i in range(len(g.encode))} | {f"encode.{i}.conv2.bias" for i, s in enumerate(sizes) if s < 32 or not config.w_hpf}
    names |= {f"decode.{i}.conv{k}.bias" for i in range(len(g.decode)) for k in (1, 2)} | ({"from_rgb.bias"} if not config.w_hpf else set())
    return {f"generator.{n}" for n in names}, {f"generator.{n}" for n, _ in g.named_parameters() if config.w_hpf and n.startswith("decode") and "conv1x1" in n}

def test_each_update_moves_its_networks_and_no_others(watched):
    _, changes = watched
    assert [{n.split(".")[0] for n in c} for c in changes] == [{"discriminator"}, {"discriminator"}, set(MAKERS), {"generator"}]

def test_a_step_moves_every_parameter_that_bears_on_the_outcome(watched):
    config, changes = watched
    everything = {n for n, _ in build(config).named_parameters()}
    constants, unused = idle(config)
    assert constants | unused < everything and set().union(*changes) >= everything - constants - unused
    assert not unused & set().union(*changes) and bool(unused) == (config.w_hpf > 0)

@pytest.mark.parametrize("w_hpf", [1., 0.])
def test_only_the_idle_parameters_leave_every_picture_as_it_is(w_hpf):
    config = replace(CONFIG, w_hpf=w_hpf)
    torch.manual_seed(0); nets, b = build(config).double(), batch(config, double=True)
    G, s = nets["generator"], nets["mapping_network"](b["z"], b["y_trg"]).detach()
    masks = torch.as_tensor(landmark_mask(64)).double().expand(4, 1, -1, -1)
    G(b["x"], s, masks).square().sum().backward()
    still = {f"generator.{n}" for n, p in G.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-9}
    assert still == set.union(*idle(config))
    with torch.no_grad():
        before = G(b["x"], s, masks)
        for n, p in G.named_parameters():
            if f"generator.{n}" in still: p += torch.randn_like(p)
        assert torch.allclose(G(b["x"], s, masks), before, atol=1e-9)

def test_the_averages_follow_the_networks():
    states, o = [], replace(OPTIONS, ema=.75, lr=1e-2, mapping_lr=1e-2)
    torch.manual_seed(o.seed); states.append(snapshot(build(CONFIG)))
    nets, _ = train_stargan2(IMAGES, DOMAINS, CONFIG, o, tick=lambda task: states.append(snapshot(task.nets)))
    assert len(states) == 3 and set(nets) == set(NETWORKS) == set(MAKERS) and not nets.training and nets.config == CONFIG
    for n, p in nets.named_parameters(): assert torch.allclose(p, .5625*states[0][n] + .1875*states[1][n] + .25*states[2][n], atol=1e-6), n

def test_every_network_has_the_gradient_of_its_own_last_loss():
    o, grads = replace(OPTIONS, lr=0., mapping_lr=0., lambda_ds=4., r1_every=2, lambda_reg=9., steps=3), {}
    train_stargan2(IMAGES, DOMAINS, CONFIG, o, tick=lambda task: grads.update((n, p.grad) for n, p in task.nets.named_parameters()))
    torch.manual_seed(o.seed); nets, b = build(CONFIG), list(StyleBatches(IMAGES, DOMAINS, CONFIG, o))[-1]
    args, masks = (nets, o.at(2), b["x"], b["y_org"], b["y_trg"]), torch.as_tensor(landmark_mask(64)).expand(2, 1, -1, -1)
    latent = generator_loss(*args, z_trgs=(b["z"], b["z2"]), masks=masks)[0]
    for names, loss in ((["discriminator"], discriminator_loss(*args, x_ref=b["x_ref"], masks=masks)[0]), (["mapping_network", "style_encoder"], latent),
                        (["generator"], generator_loss(*args, x_refs=(b["x_ref"], b["x_ref2"]), masks=masks)[0])):
        params = {f"{k}.{n}": p for k in names for n, p in nets[k].named_parameters()}
        for n, g in zip(params, torch.autograd.grad(loss, params.values(), allow_unused=True)):
            assert (g is None and grads[n] is None) or torch.allclose(g, grads[n], rtol=1e-3, atol=1e-5*(1 + g.abs().max())), n

def test_adam_takes_first_steps_of_each_networks_own_rate():
    after = {}
    torch.manual_seed(0); start = snapshot(build(CONFIG))
    train_stargan2(IMAGES, DOMAINS, CONFIG, replace(OPTIONS, steps=1, lr=1e-2, mapping_lr=1e-4), tick=lambda task: after.update(snapshot(task.nets)))
    largest = {name: max((after[n] - start[n]).abs().max().item() for n in start if n.startswith(name)) for name in ("mapping_network", "style_encoder", "generator", "discriminator")}
    assert largest["mapping_network"] == pytest.approx(1e-4, rel=.01) and largest["style_encoder"] == pytest.approx(1e-2, rel=.01)
    assert 1e-2 < largest["generator"] < 2.5e-2 and 1e-2 < largest["discriminator"] < 2.5e-2                  # two updates each

@given(st.floats(0, .999), st.lists(st.floats(-5, 5), min_size=1, max_size=6))
def test_a_moving_average_is_the_geometric_sum(beta, values):
    a, m, want = nn.Linear(1, 1), nn.Linear(1, 1), 2.
    nn.init.constant_(a.bias, want)
    for v in values:
        nn.init.constant_(m.bias, v); moving_average(m, a, beta)
        want = beta*want + (1 - beta)*v
    assert a.bias.item() == pytest.approx(want, abs=1e-4) and a.bias.requires_grad

def test_a_training_repeats_bit_for_bit_and_leaves_the_random_state_alone():
    torch.manual_seed(5); expected = torch.rand(2); torch.manual_seed(5)
    (a, ha), (b, hb), (c, _) = (train_stargan2(IMAGES, DOMAINS, CONFIG, replace(OPTIONS, seed=s)) for s in (3, 3, 4))
    assert torch.equal(torch.rand(2), expected)
    assert same(a, b) and not same(a, c) and ha.drop(columns="seconds").equals(hb.drop(columns="seconds"))
    assert len(ha) == 2 and np.isfinite(ha.to_numpy(float)).all() and ha.lambda_ds.tolist() == [1, .5]

def test_training_goes_on_from_what_was_learnt():
    a, _ = train_stargan2(IMAGES, DOMAINS, CONFIG, OPTIONS)
    kept = copy.deepcopy(a)
    b, _ = train_stargan2(IMAGES, DOMAINS, CONFIG, replace(OPTIONS, steps=1, lr=0., mapping_lr=0.), start=a)
    assert same(b, a) and same(a, kept)
    with pytest.raises(MespotError, match="give the same config"): train_stargan2(IMAGES, DOMAINS, replace(CONFIG, style_dim=5), OPTIONS, start=a)

def test_without_the_high_pass_skip_and_in_mixed_precision():
    _, h = train_stargan2(IMAGES, DOMAINS, replace(CONFIG, w_hpf=0.), replace(OPTIONS, steps=1, mixed=True))
    assert np.isfinite(h.to_numpy(float)).all()

def test_a_loss_that_is_not_finite_and_a_device_that_is_not_there():
    with pytest.raises(MespotError, match="step 0 was not finite .*d_reference_real"): train_stargan2(IMAGES, DOMAINS, CONFIG, replace(OPTIONS, lr=1e30))
    with pytest.raises(MespotError, match="device 'tpu'"): train_stargan2(IMAGES, DOMAINS, CONFIG, OPTIONS, device="tpu")

def test_a_card_has_the_options_that_repeat_a_training_ended_by_the_clock():
    o = replace(OPTIONS, steps=1000, seconds=.3)
    a, h = train_stargan2(IMAGES, DOMAINS, CONFIG, o)
    card = stargan_card(CONFIG, o, h, dict(pictures="noise", seeds=[0], command="none"))
    assert 0 < len(h) < 1000 and card["options"]["steps"] == len(h) and card["options"]["ds_steps"] == 1000 and card["options"]["seconds"] is None
    assert same(a, train_stargan2(IMAGES, DOMAINS, StarGANConfig(**card["config"]), StarGANOptions(**card["options"]))[0])
    with pytest.raises(MespotError, match="lack command"): stargan_card(CONFIG, o, h, dict(pictures="", seeds=0))
