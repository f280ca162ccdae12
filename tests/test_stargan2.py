"StarGAN v2: the published format by name and shape; merged kernels against plain layers; where masks, styles and batches act; every refusal; weight files."
import dataclasses, hashlib, json, warnings
import numpy as np, pytest, torch
import torch.nn as nn
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from mespot.core import MespotError
from mespot.nets.stargan2 import (LANDMARKS, NETWORKS, PARTS, Discriminator, Generator, HighPass, MappingNetwork, StarGANConfig, StyleEncoder, build, conv_down,
                                  conv_up, flops, landmark_mask, load_networks, load_published, save_networks, to_images, to_tensor)

TINY = StarGANConfig(img_size=64, dim_in=4, max_conv_dim=12, style_dim=6, latent_dim=5, hidden_dim=8, num_domains=3, w_hpf=2.5)
close = lambda a, b, tol=1e-4: torch.testing.assert_close(a, b, rtol=0, atol=tol)

@pytest.fixture(autouse=True)
def no_gradients():
    torch.manual_seed(0)
    with torch.no_grad(): yield

def lively(config=TINY):
    "Networks whose biases and norms are not zeros and ones, so that one in the wrong place shows."
    nets = build(config).eval()
    for p in nets.parameters():
        if p.ndim == 1: nn.init.normal_(p, .5, .3)
    return nets

def inputs(config=TINY, n=3):
    S = config.img_size
    return torch.rand(n, 3, S, S)*2 - 1, torch.randn(n, config.style_dim), torch.rand(n, 1, S, S), torch.randn(n, config.latent_dim), torch.arange(n) % config.num_domains

# the published format

# the authors' networks at 256 pixels and two domains: parameters, and a hash of the sorted lines "key shape" of the state dict
PUBLISHED = {(1., "generator"): (43467395, "f1d2880e94ecd5e6"), (0., "generator"): (33892995, "7e1f6d446d31d77e"), (1., "mapping_network"): (2438272, "926b6df34578ff78"),
             (1., "style_encoder"): (20916928, "9e2e2843c04b3025"), (1., "discriminator"): (20852290, "4ab0b2e42ce46dd4")}

@pytest.mark.parametrize("w_hpf, name", PUBLISHED)
def test_names_shapes_and_parameters_are_the_authors(w_hpf, name):
    with torch.device("meta"): net = build(StarGANConfig(w_hpf=w_hpf))[name]
    lines = "\n".join(sorted(f"{k} {tuple(t.shape)}" for k, t in net.state_dict().items()))
    assert (sum(p.numel() for p in net.parameters()), hashlib.sha256(lines.encode()).hexdigest()[:16]) == PUBLISHED[w_hpf, name]

@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("w_hpf", [0., 1.])
def test_shapes_at_every_size(size, w_hpf):
    config = StarGANConfig(img_size=size, dim_in=4, max_conv_dim=8, style_dim=6, latent_dim=5, hidden_dim=8, w_hpf=w_hpf)
    nets, (x, s, m, z, y) = build(config).eval(), inputs(config, 2)
    assert nets["generator"](x, s).shape == nets["generator"](x, s, m).shape == x.shape
    assert nets["mapping_network"](z, y).shape == nets["style_encoder"](x, y).shape == s.shape
    assert nets["discriminator"](x, y).shape == (2,)

def test_networks_alone_and_together_are_the_same_classes():
    nets = build(TINY)
    assert [type(n) for n in nets.values()] == [Generator, MappingNetwork, StyleEncoder, Discriminator] and nets.config == TINY

def test_they_start_as_he_et_al_propose():
    nets = build(StarGANConfig(img_size=64, dim_in=32, max_conv_dim=64, style_dim=32, hidden_dim=64))
    for name, m in nets.named_modules():
        if isinstance(m, nn.Conv2d | nn.Linear):
            assert m.bias is None or not m.bias.any(), name
            fan_in = m.weight[0].numel()
            if m.weight.numel() > 5000: assert abs(m.weight.std().item()/(2/fan_in)**.5 - 1) < .08, name
        elif isinstance(m, nn.InstanceNorm2d): assert (m.weight == 1).all() and not m.bias.any(), name

# merged kernels against the plain layers

@settings(deadline=None, max_examples=25)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_merged_kernels_equal_the_plain_layers_up_to_the_border(n, c_in, c_out, h, w, bias):
    conv, x = nn.Conv2d(c_in, c_out, 3, padding=1, bias=bias).double(), torch.randn(n, c_in, 2*h, 2*w).double()
    close(conv_down(x, conv), F.avg_pool2d(conv(x), 2), 1e-12)
    close(conv_up(x, conv), conv(F.interpolate(x, scale_factor=2)), 1e-12)

def test_merged_kernels_have_the_same_gradients_twice():
    with torch.enable_grad():
        x, conv = torch.randn(1, 2, 4, 4, dtype=torch.double, requires_grad=True), nn.Conv2d(2, 3, 3, padding=1).double()
        for merged, plain in ((conv_down, lambda x, c: F.avg_pool2d(c(x), 2)), (conv_up, lambda x, c: c(F.interpolate(x, scale_factor=2)))):
            penalty = lambda f: torch.autograd.grad(f(x, conv).pow(3).sum(), x, create_graph=True)[0].square().sum()       # as R1 differentiates twice
            for a, b in zip(*(torch.autograd.grad(penalty(f), conv.parameters()) for f in (merged, plain))): close(a, b, 1e-9*b.abs().max().item())

def plain_generator(g, x, s, masks=None):
    "The generator as the paper's appendix draws it, layer by layer, from the same weights; `masks` one for each size."
    conv = lambda m, x: F.conv2d(x, m.weight, m.bias, padding=m.weight.shape[2]//2)
    def normal(x): return (x - x.mean((2, 3), keepdim=True))/(x.var((2, 3), correction=0, keepdim=True) + 1e-5).sqrt()
    affine = lambda m, x: normal(x)*m.weight[:, None, None] + m.bias[:, None, None]
    def styled(m, x):
        h = s @ m.fc.weight.T + m.fc.bias
        C = x.shape[1]
        return (1 + h[:, :C, None, None])*normal(x) + h[:, C:, None, None]
    act, c = (lambda x: torch.where(x > 0, x, .2*x)), g.config
    short = lambda b, x: conv(b.conv1x1, x) if hasattr(b.conv1x1, "weight") else x
    smaller, larger = (lambda x: F.avg_pool2d(x, 2)), (lambda x: x.repeat_interleave(2, 2).repeat_interleave(2, 3))
    same = lambda x: x
    steps = len(g.encode) - 2
    x, seen = conv(g.from_rgb, x), {}
    for i, b in enumerate(g.encode):
        seen.setdefault(x.shape[2], x)
        f = smaller if i < steps else same
        x = (f(short(b, x)) + conv(b.conv2, act(affine(b.norm2, f(conv(b.conv1, act(affine(b.norm1, x))))))))/2**.5
    for i, b in enumerate(g.decode):
        f = larger if i >= 2 else same
        h = conv(b.conv2, act(styled(b.norm2, conv(b.conv1, f(act(styled(b.norm1, x)))))))
        x = (h + short(b, f(x)))/2**.5 if c.w_hpf == 0 else h
        if masks and x.shape[2] in masks:
            fine = F.pad(masks[x.shape[2]]*seen[x.shape[2]], (1, 1, 1, 1))
            x = x + (9*fine[:, :, 1:-1, 1:-1] - 9*F.avg_pool2d(fine, 3, 1))/c.w_hpf
    return conv(g.to_rgb[2], act(affine(g.to_rgb[0], x)))

@pytest.mark.parametrize("w_hpf", [0., 1., 2.5])
def test_generator_equals_the_plain_layers(w_hpf):
    config = dataclasses.replace(TINY, w_hpf=w_hpf)
    g, (x, s, m, *_) = lively(config)["generator"].double(), [t.double() if t.is_floating_point() else t for t in inputs(config)]
    close(g(x, s), plain_generator(g, x, s), 1e-9)
    half = F.avg_pool2d(m, 2)                                                               # halving bilinearly is the mean of 2×2
    close(g(x, s, m), plain_generator(g, x, s, {32: half, 64: m} if w_hpf else None), 1e-6)           # the filter is in single precision
    ones = torch.ones_like(m)
    close(g(x, s, (ones, m)), plain_generator(g, x, s, {32: ones[:, :, ::2, ::2], 64: m} if w_hpf else None), 1e-6)

def test_skip_acts_at_32_64_and_128_only():
    config = StarGANConfig(img_size=256, dim_in=2, max_conv_dim=4, style_dim=6, hidden_dim=8)
    g, (x, s, m, *_) = build(config)["generator"].double().eval(), [t.double() if t.is_floating_point() else t for t in inputs(config, 1)]
    masks = {size: F.interpolate(m, size=size, mode="bilinear") for size in (32, 64, 128)}
    close(g(x, s, m), plain_generator(g, x, s, masks), 1e-9)
    assert (g(x, s, m) - plain_generator(g, x, s, masks | {256: m})).abs().max() > 1e-3

# what the networks answer to

def test_no_mask_is_a_mask_of_zeros_and_without_high_pass_masks_do_nothing():
    g, (x, s, m, *_) = lively()["generator"], inputs()
    close(g(x, s), g(x, s, 0*m), 1e-6)
    assert (g(x, s) - g(x, s, m)).abs().mean() > .01
    without = lively(dataclasses.replace(TINY, w_hpf=0.))["generator"]
    assert torch.equal(without(x, s), without(x, s, m))

def test_mask_acts_where_it_is(monkeypatch):
    g, (x, s, m, *_) = lively()["generator"], inputs()
    here = torch.zeros_like(m); here[:, :, 20:30, 36:50] = 1
    inside = torch.zeros(64, 64, dtype=torch.bool); inside[19:31, 35:51] = True             # the filter reaches a pixel further
    change = (g(x, s, (0*m, here)) - g(x, s)).abs().mean((0, 1))
    assert change[inside].mean() > 3*change[~inside].mean()                                 # outside only by what normalisation spreads
    monkeypatch.setattr(F, "instance_norm", lambda x, *a, **k: x/10)                        # without it: nowhere else at all
    change = (g(x, s, (0*m, here)) - g(x, s)).abs().amax((0, 1))
    assert not change[~inside].any() and (change[inside] > 0).all()

def test_high_pass_sees_edges_only():
    h = HighPass(2.)
    assert h(torch.full((1, 2, 6, 6), 7.))[..., 1:-1, 1:-1].abs().max() == 0
    spot = torch.zeros(1, 2, 5, 5); spot[0, 1, 2, 2] = 1
    assert h(spot)[0, 0].abs().max() == 0 and h(spot)[0, 1, 2, 2] == 4 and h(spot)[0, 1, 1:4, 1:4].sum() == 0

def test_style_noise_domain_and_picture_all_count():
    nets, (x, s, _, z, y) = lively(), inputs()
    g, mapping, encoder, d = nets.values()
    assert (g(x, s) - g(x, s.roll(1, 0))).abs().mean() > .01
    for f, a in ((mapping, z), (encoder, x), (d, x)):
        assert (f(a, y) - f(a, y.roll(1))).abs().amin() > 0                                 # another domain, another answer
        every = torch.stack([f(a, torch.full((3,), k)) for k in range(3)], 1)
        close(f(a, y), every[torch.arange(3), y], 1e-6)                                     # and that of its own domain
        assert (f(a, y*0) - f(a.roll(1, 0), y*0)).abs().amax() > 1e-4

def test_pictures_of_a_batch_are_independent_and_evaluation_is_deterministic():
    nets, (x, s, m, z, y) = lively(), inputs()
    for net, args in zip(nets.values(), [(x, s, m), (z, y), (x, y), (x, y)]):
        out = net(*args)
        assert torch.equal(out, net(*args)) and torch.equal(out, net.train()(*args))        # no dropout, no running statistics
        close(out[1:2], net(*(a[1:2] for a in args)))
        close(out.flip(0), net(*(a.flip(0) for a in args)))

# published checkpoints

def published(path, change=lambda states: None, config=TINY, prefix="", legacy=False, nets=None):
    "A file as the authors' CheckpointIO writes it."
    nets = nets or lively(config)
    states = {name: {prefix + k: t for k, t in nets[name].state_dict().items()} for name in NETWORKS}
    changed = change(states)
    torch.save(states if changed is None else changed, path, _use_new_zipfile_serialization=not legacy)
    return nets

@pytest.mark.parametrize("config", [TINY, dataclasses.replace(TINY, w_hpf=0.), dataclasses.replace(TINY, img_size=128, num_domains=1, w_hpf=1.)])
@pytest.mark.parametrize("prefix, legacy", [("", False), ("module.", True)])
def test_published_round_trip_tells_its_own_configuration(tmp_path, config, prefix, legacy):
    ours = published(tmp_path/"x.ckpt", config=config, prefix=prefix, legacy=legacy)
    for expected in (None, config):
        nets = load_published(tmp_path/"x.ckpt", expected)
        assert list(nets) == list(NETWORKS) and nets.config == nets["generator"].config == config and not nets.training and not any(m.training for m in nets.modules())
        x, s, m, z, y = inputs(config)
        for name, args in zip(NETWORKS, [(x, s, m), (z, y % config.num_domains), (x, y % config.num_domains)]): assert torch.equal(nets[name](*args), ours[name](*args))

def test_published_sizes_are_told_without_being_given(tmp_path):
    config = StarGANConfig(dim_in=2, max_conv_dim=3, hidden_dim=4)                          # 256 pixels: six halvings
    published(tmp_path/"x.ckpt", config=config, nets=build(config))
    assert load_published(tmp_path/"x.ckpt").config == config

def test_landmark_network_is_left_aside_and_said_so(tmp_path):
    published(tmp_path/"x.ckpt", lambda s: s.update(fan={"conv1.weight": torch.ones(2)}))
    with pytest.warns(UserWarning, match="fan .* left aside"): assert list(load_published(tmp_path/"x.ckpt")) == list(NETWORKS)
    published(tmp_path/"y.ckpt")
    with warnings.catch_warnings(): warnings.simplefilter("error"); load_published(tmp_path/"y.ckpt")

def one(states, name, key, value=None):
    "One tensor replaced, or taken away."
    states[name].pop(key) if value is None else states[name].update({key: value})

@pytest.mark.parametrize("change, says", [
    (lambda s: s.pop("mapping_network") and None, "has no mapping_network, only generator, style_encoder"),
    (lambda s: {}, "no generator and no mapping_network and no style_encoder, only nothing"),
    (lambda s: s.update(discriminator={"a": torch.ones(1)}), "also has a discriminator"),
    (lambda s: one(s, "generator", "encode.1.conv1.bias"), r"generator has no tensor encode\.1\.conv1\.bias"),
    (lambda s: one(s, "generator", "hpf.filter"), "generator has shape|generator has no|generator has a"),
    (lambda s: one(s, "style_encoder", "shared.9.weight", torch.ones(2)), r"style_encoder has a tensor shared\.9\.weight that does not belong"),
    (lambda s: one(s, "style_encoder", "shared.1.conv1.weight", torch.ones(4, 5, 3, 3)), r"shared\.1\.conv1\.weight of style_encoder has shape \(4, 5, 3, 3\), expected is \(4, 4, 3, 3\)"),
    (lambda s: one(s, "mapping_network", "shared.0.weight"), "cannot be told"),
    (lambda s: one(s, "mapping_network", "shared.0.weight", torch.tensor(1.)), "cannot be told"),
    (lambda s: one(s, "generator", "hpf.filter", torch.full((3, 3), float("nan"))), "cannot be told .*w_hpf is nan"),
    (lambda s: s["style_encoder"].update({f"module.{k}": s["style_encoder"].pop(k) for k in list(s["style_encoder"])[:3]}), "style_encoder|cannot be told"),      # some keys only
    (lambda s: s.update(generator=[1, 2]), "not a dict of state dicts"),
    (lambda s: s["generator"].update(epoch=3), "not a dict of state dicts"),
    (lambda s: s.update(generator={}), "cannot be told"),
    (lambda s: torch.ones(3), "not a dict of state dicts"),
])
def test_what_does_not_fit_is_refused_by_name(tmp_path, change, says):
    published(tmp_path/"x.ckpt", change)
    with pytest.raises(MespotError, match=says): load_published(tmp_path/"x.ckpt")

def test_given_configuration_must_fit(tmp_path):
    published(tmp_path/"x.ckpt")
    for options, says in [(dict(style_dim=7), r"has shape \(.*6\), expected is \(.*7\)"), (dict(num_domains=4), r"mapping_network has no tensor unshared\.3"),
                          (dict(num_domains=2), r"unshared\.2.* does not belong"), (dict(w_hpf=0.), r"generator has .*")]:
        with pytest.raises(MespotError, match=says): load_published(tmp_path/"x.ckpt", dataclasses.replace(TINY, **options))

class Harmful:
    def __reduce__(self): return (open, (str(Harmful.path), "w"))

def test_files_that_are_no_checkpoints(tmp_path):
    with pytest.raises(MespotError, match="there is no"): load_published(tmp_path/"none.ckpt")
    published(tmp_path/"x.ckpt"); whole = (tmp_path/"x.ckpt").read_bytes()
    rng = np.random.default_rng(0)
    for content in (b"", b"not weights", whole[:len(whole)//2], rng.bytes(1000), b"PK\x03\x04" + rng.bytes(200)):
        (tmp_path/"bad.ckpt").write_bytes(content)
        with pytest.raises(MespotError, match="not a file of tensors only"): load_published(tmp_path/"bad.ckpt")
    with pytest.raises(MespotError, match="not a file of tensors only"): load_published(tmp_path)
    Harmful.path = tmp_path/"written"
    torch.save(dict(generator=Harmful()), tmp_path/"harm.ckpt")
    Harmful.path.unlink(missing_ok=True)
    with pytest.raises(MespotError, match="not a file of tensors only"): load_published(tmp_path/"harm.ckpt")
    assert not Harmful.path.exists()                                                        # nothing in the file was run

# our own files

def test_own_weights_round_trip(tmp_path):
    nets, card = lively(), dict(trained_on="nothing", steps=3)
    save_networks(tmp_path/"small", nets, card)
    assert next(nets.parameters()).dtype == torch.float32                                   # what was given stays as it was
    again, read = load_networks(tmp_path/"small.safetensors")
    assert again.config == TINY and list(again) == list(NETWORKS) and not again.training and {k: read[k] for k in card} == card
    for name in NETWORKS:
        for k, t in again[name].state_dict().items():
            assert t.dtype == torch.float32
            close(t, nets[name].state_dict()[k], 1e-3*max(1, t.abs().max().item()))
    x, s, m, *_ = inputs()
    assert (again["generator"](x, s, m) - nets["generator"](x, s, m)).abs().mean()*127.5 < 1
    assert (tmp_path/"small.safetensors").stat().st_size < 2.2*sum(t.numel() for n in NETWORKS for t in nets[n].state_dict().values()) + 20_000

def test_own_weights_that_do_not_fit(tmp_path):
    save_networks(tmp_path/"x", lively(), {})
    card = json.loads((tmp_path/"x.json").read_text())
    def with_card(**config): (tmp_path/"x.json").write_text(json.dumps(card | dict(config=card["config"] | config))); return load_networks(tmp_path/"x")
    assert with_card()[0].config == TINY
    with pytest.raises(MespotError, match="has shape"): with_card(style_dim=9)
    with pytest.raises(MespotError, match="img_size 60"): with_card(img_size=60)
    with pytest.raises(MespotError, match="do not make a StarGAN v2"): with_card(colour=9)
    (tmp_path/"x.json").write_text("{}")
    with pytest.raises(MespotError, match="do not make a StarGAN v2"): load_networks(tmp_path/"x")
    (tmp_path/"x.json").unlink()
    with pytest.raises(MespotError, match="there is no .*x.json"): load_networks(tmp_path/"x")
    save_networks(tmp_path/"x", lively(), {}); (tmp_path/"x.safetensors").write_text("no")
    with pytest.raises(MespotError, match="do not make a StarGAN v2"): load_networks(tmp_path/"x")
    with pytest.raises(MespotError, match="there is no"): load_networks(tmp_path/"none")

# settings, pictures, masks, costs

@pytest.mark.parametrize("options, says", [(dict(img_size=32), "power of two from 64"), (dict(img_size=96), "power of two"), (dict(img_size=0), "power of two"), (dict(style_dim=0), "style_dim is 0"),
    (dict(latent_dim=-1), "latent_dim"), (dict(num_domains=0), "num_domains"), (dict(max_conv_dim=0), "max_conv_dim"), (dict(dim_in=0), "dim_in"), (dict(hidden_dim=0), "hidden_dim"),
    (dict(w_hpf=-.1), "w_hpf"), (dict(w_hpf=float("nan")), "w_hpf"), (dict(w_hpf=float("inf")), "w_hpf"), (dict(img_size=2**15), "dim_in is 0")])
def test_settings_that_cannot_be_built(options, says):
    with pytest.raises(MespotError, match=says): StarGANConfig(**options)

def test_channels_at_full_size_follow_from_the_size():
    assert [StarGANConfig(img_size=s).dim_in for s in (64, 128, 256)] == [256, 128, 64] and StarGANConfig(img_size=64, dim_in=16).dim_in == 16

@settings(deadline=None, max_examples=25)
@given(arrays(np.uint8, (2, 4, 4, 3)))
def test_pictures_come_back_unchanged(images):
    x = to_tensor(images)
    assert x.shape == (2, 3, 4, 4) and x.is_contiguous() and -1 <= x.min() and x.max() <= 1
    assert x[1, 2, 0, 3] == pytest.approx(images[1, 0, 3, 2]/127.5 - 1, abs=1e-6)
    np.testing.assert_array_equal(to_images(x), images)

def test_pictures_beyond_the_range_are_clipped_and_wrong_ones_refused():
    assert to_images(torch.tensor([-1.5, 0.001, 1.5])[None, :, None, None]).ravel().tolist() == [0, 128, 255]
    for wrong in (np.zeros((2, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4, 4, 1), np.uint8), np.zeros((2, 4, 5, 3), np.uint8)):
        with pytest.raises(MespotError, match="expected are uint8"): to_tensor(wrong)

def test_mask_lies_over_what_moves():
    for size in (64, 256):
        m = landmark_mask(size)
        at = lambda x, y: m[int(y*size), int(x*size)]
        assert m.shape == (size, size) and m.dtype == np.float32 and 0 <= m.min() and .9 < m.max() <= 1
        assert min(at(*p) for p in LANDMARKS) > .85
        assert min(at(*p) for p in [(.375, .4725), (.625, .4725), (.5, .7475)]) > .8        # both eyes, the mouth
        assert max(at(*p) for p in [(.5, .2), (.25, .6), (.75, .6), (.5, .9), (.05, .5), (.5, .03)]) < .05          # forehead, cheeks, chin, background
        np.testing.assert_allclose(m, m[:, ::-1], atol=1e-6)                                # the canonical face is symmetric
    np.testing.assert_allclose(F.avg_pool2d(torch.from_numpy(landmark_mask(256))[None], 4)[0], landmark_mask(64), atol=.1)      # the same at every size
    covered = np.zeros(len(LANDMARKS)); [covered.__setitem__(p, covered[p] + 1) for p in PARTS.values()]
    assert (covered == 1).all()

@settings(deadline=None, max_examples=25)
@given(arrays(float, (4, 2), elements=st.floats(-.2, 1.2)))
def test_mask_of_points_is_the_sum_of_each_up_to_1_and_lost_points_do_not_count(points):
    each = np.sum([landmark_mask(16, p[None]) for p in points], 0)
    np.testing.assert_allclose(landmark_mask(16, points), np.minimum(each, 1), atol=1e-6)
    np.testing.assert_array_equal(landmark_mask(16, np.vstack([points, [[np.nan, .5]]])), landmark_mask(16, points))
    assert landmark_mask(16, points[:0]).max() == 0

def test_mask_refuses_other_shapes():
    for wrong in (np.zeros(4), np.zeros((4, 3))):
        with pytest.raises(MespotError, match=r"expected is \(k, 2\)"): landmark_mask(64, wrong)

def test_costs_by_hand():
    c = StarGANConfig(img_size=64, dim_in=2, max_conv_dim=2, style_dim=3, latent_dim=5, hidden_dim=4, num_domains=2)
    counts = flops(c)
    assert counts["mapping_network"] == 5*4 + 3*16 + 2*(3*16 + 4*3)
    trunk = 3*2*9*64**2 + sum(2*2*(16 + 9)*(64//2**i)**2 for i in (1, 2, 3, 4)) + 2*2*16       # each block: 4×4 and 3×3 at half the size
    assert counts["style_encoder"] == trunk + 2*2*3 and counts["discriminator"] == trunk + 2*2
    assert counts["generator"] > flops(dataclasses.replace(c, w_hpf=0.))["generator"]
