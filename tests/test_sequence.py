"The sequence generator: shapes, recursion against its definition, order, noise, gradients through time, memory, costs, losses, frames, weight files and every refusal."
import dataclasses, itertools, json, weakref
import numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from mespot.core import MespotError
from mespot.nets.sequence import (INPUTS, LOSS_PARTS, NOISE_AT, PRESETS, Encoder, NaiveConfig, NaiveNet, SequenceConfig, SequenceNet, cost, generate, load_sequence, recurse, rollout,
                                  rollout_loss, save_sequence, stream, to_frames, to_tensor, warped)

TINY = dict(size=16, width=4, levels=2)
close = lambda a, b, tol=1e-5: torch.testing.assert_close(a, b, rtol=0, atol=tol)

@pytest.fixture(autouse=True)
def seeded(): torch.manual_seed(0)

def build(**options):
    "A small network in eval mode, whose conditions have an effect."
    net = SequenceNet(SequenceConfig(**TINY | options)).eval()
    for p in net.parameters():
        if p.ndim == 1 or not p.any(): torch.nn.init.normal_(p, std=.3)
    return net

def frames(net, k=3, B=2): return torch.rand(k, B, net.config.channels, net.config.size, net.config.size)

def like(net, **options):
    other = SequenceNet(dataclasses.replace(net.config, **options)).eval()
    other.load_state_dict(net.state_dict())
    return other

def conditions(net, steps, B=2):
    c = net.config
    return dict(phase=torch.rand(B, steps, c.phase) if c.phase else None, label=torch.arange(B) % c.label if c.label else None)

# shapes and ranges

@pytest.mark.parametrize("size, channels, residual", [*itertools.product([64, 128], [1, 3], [False, True])])
def test_shapes_and_range(size, channels, residual):
    net = SequenceNet(SequenceConfig(size=size, channels=channels, residual=residual, width=4)).eval()
    with torch.no_grad():
        net.stages[0]["decoder"].head.bias.fill_(.7)                                # would leave 0..1
        made = rollout(net, *frames(net), 3)
    assert made.shape == (2, 3, channels, size, size) and made.min() >= 0 and made.max() <= 1

def test_latents_halve_and_double():
    z = Encoder(SequenceConfig(width=4, levels=3))(torch.rand(2, 1, 64, 64))
    assert [tuple(x.shape) for x in z] == [(2, 4, 32, 32), (2, 8, 16, 16), (2, 16, 8, 8)]

@pytest.mark.parametrize("size", [8, 28])
def test_naive_network_sees_both_digits_in_order(size):
    net = NaiveNet(NaiveConfig(size=size, width=4))
    a, b = torch.rand(2, 3, 1, size, size)
    made = net(a, b)
    assert made.shape == a.shape and 0 <= made.min() and made.max() <= 1
    assert not torch.allclose(made, net(b, a)) and not torch.allclose(made, net(b, b)) and not torch.allclose(made, net(a, a))
    recurse(net, a, b, 2).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in net.parameters())

def test_an_untrained_residual_network_nearly_stands_still():
    net, direct = (SequenceNet(SequenceConfig(residual=r)).eval() for r in (True, False))
    x = frames(net)
    with torch.no_grad(): assert 0 < (net(*x) - x[2]).abs().mean() < .2 < (direct(*x) - x[2]).abs().mean()

# the recursion

def test_recurse_shifts_current_to_previous():
    seen = []
    def step(p, c): seen.append((p.item(), c.item())); return p + 10*c
    made = recurse(step, torch.full((1, 1, 1, 1), 1.), torch.full((1, 1, 1, 1), 2.), 3)
    assert seen == [(1, 2), (2, 21), (21, 212)] and made.flatten().tolist() == [21, 212, 2141]

@pytest.mark.parametrize("options", [dict(), dict(residual=True), dict(skips=False), dict(inputs=INPUTS[1:]), dict(inputs=("current", "constant", "previous")), dict(phase=2, label=3),
                                     dict(stages=3), dict(stages=2, inputs=INPUTS[1:], phase=1)], ids=str)
def test_rollout_is_the_recursion_by_hand(options):
    net = build(**options)
    constant, previous, current = x = frames(net)
    extra, by_hand = conditions(net, 5), []
    with torch.no_grad():
        made = rollout(net, *x, 5, **extra)
        for i in range(5):
            phase = None if extra["phase"] is None else extra["phase"][:, i]
            by_hand.append(net(constant, previous, current, phase=phase, label=extra["label"], stage=i % net.config.stages))
            previous, current = current, by_hand[-1]
        close(made, torch.stack(by_hand, 1))
        close(made[1:], rollout(net, *x[:, 1:], 5, **{k: v if v is None else v[1:] for k, v in extra.items()}))      # sequences of a batch do not touch
    assert (made[:, 1:] - made[:, :-1]).abs().amax((0, 2, 3, 4)).min() > 1e-5                                        # and something happens

def test_each_frame_has_one_noise():
    "F₂ + N₂ is the current frame of P₁ and the previous one of P₂ (thesis 6.2.2)."
    net, g = build(noise=.3), lambda: torch.Generator().manual_seed(5)
    c, p, t = x = frames(net)
    with torch.no_grad():
        made = rollout(net, *x, 3, g())
        g1 = g(); z = [net.encode(p, g1), net.encode(t, g1)]
        for i in range(3):
            t = net.decode(dict(constant=net.encode(c, noisy=False), previous=z[-2], current=z[-1]), t)
            close(made[:, i], t)
            z.append(net.encode(t, g1))

@pytest.mark.parametrize("stages", [1, 2])
def test_the_constant_frame_has_no_noise_in_training_either(stages):
    net, strengths = build(noise=.3, stages=stages).train(), []
    for stage in net.stages: stage["encoder"].register_forward_pre_hook(lambda m, a: strengths.append(a[1]))
    rollout(net, *frames(net), 2)
    assert strengths == [0]*stages + [.3]*(3 if stages == 1 else 4)

def test_a_cascade_uses_every_stage_in_turn():
    net = build(stages=3)
    x = frames(net)
    with torch.no_grad():
        before = rollout(net, *x, 4)
        for p in net.stages[1].parameters(): p.mul_(.5)
        after = rollout(net, *x, 4)
    assert torch.equal(before[:, 0], after[:, 0]) and not torch.allclose(before[:, 1], after[:, 1])
    net.train(); rollout(net, *x, 3).sum().backward()
    assert all(p.grad is not None for p in net.parameters())

# what is fed

def test_order_matters_and_a_swap_is_what_it_says():
    net = build()
    c, p, t = frames(net)
    with torch.no_grad():
        assert not torch.allclose(net(c, p, t), net(c, t, p), atol=1e-3)
        close(like(net, inputs=("constant", "current", "previous"))(c, p, t), net(c, t, p), 0)
        close(like(net, inputs=("current", "previous", "constant"))(c, p, t), net(t, p, c), 0)

def test_every_input_is_used_but_not_a_constant_that_is_left_out():
    net, without = build(), build(inputs=INPUTS[1:])
    x = frames(net)
    with torch.no_grad():
        for i in range(3): assert not torch.allclose(net(*x), net(*(y.flip(3) if j == i else y for j, y in enumerate(x))), atol=1e-4), INPUTS[i]
        assert torch.equal(without(x[0], *x[1:]), without(None, *x[1:])) and torch.equal(rollout(without, x[0], *x[1:], 3), rollout(without, None, *x[1:], 3))

def test_skips_carry_the_fine_levels():
    x = torch.rand(3, 1, 1, 16, 16)
    for skips in (True, False):
        net = build(skips=skips)
        z = {name: net.encode(y) for name, y in zip(INPUTS, x)}
        coarse = {name: [torch.zeros_like(levels[0]), *levels[1:]] for name, levels in z.items()}
        assert torch.equal(net.decode(z, x[2]), net.decode(coarse, x[2])) != skips

@pytest.mark.parametrize("name", ["phase", "label"])
def test_conditions_start_without_effect_and_can_have_one(name):
    fresh = SequenceNet(SequenceConfig(**TINY, **{name: 3})).eval()
    x, values = frames(fresh), dict(phase=torch.rand(2, 2, 3), label=torch.tensor([[0, 1], [2, 2]]))[name]
    with torch.no_grad():
        assert torch.equal(*(fresh(*x, **{name: v}) for v in values))
        changed = build(**{name: 3})
        assert (changed(*x, **{name: values[0]}) - changed(*x, **{name: values[1]})).abs().amax((1, 2, 3)).min() > 1e-4

def test_a_condition_scales_and_shifts_every_level():
    net = build(phase=1)
    x, film = frames(net), net.stages[0]["decoder"].film
    with torch.no_grad():
        w = film.weight.clone()
        for k in range(len(w)):
            film.weight.zero_(); film.weight[k] = w[k]
            assert not torch.equal(net(*x, phase=torch.ones(2, 1)), net(*x, phase=torch.zeros(2, 1))), k

# noise

@pytest.mark.parametrize("at", NOISE_AT)
def test_noise_repeats_with_its_seed_and_is_off_in_eval(at):
    net = build(noise=.1, noise_at=(at,))
    x, g = frames(net), lambda seed: torch.Generator().manual_seed(seed)
    with torch.no_grad():
        quiet = rollout(net, *x, 3)
        assert torch.equal(quiet, rollout(net, *x, 3)) and torch.equal(quiet, rollout(like(net, noise=0.), *x, 3, g(1)))
        assert torch.equal(rollout(net, *x, 3, g(1)), rollout(net, *x, 3, g(1)))
        for other in (quiet, rollout(net, *x, 3, g(2)), rollout(net.train(), *x, 3)): assert not torch.equal(rollout(net.eval(), *x, 3, g(1)), other)
        net.noise = 0.
        assert torch.equal(quiet, rollout(net.train(), *x, 3))                      # its strength may be scheduled

def test_noise_has_the_strength_and_places_it_should():
    one = lambda **o: Encoder(SequenceConfig(size=64, width=16, levels=2, **o))
    x, g = torch.full((4, 1, 64, 64), .7), torch.Generator().manual_seed(0)
    for at, levels, hit in [("activations", 1, True), ("activations", 0, False), ("weights", 1, True), ("weights", 0, False)]:
        e = one(noise_at=(at,), noisy_levels=levels)
        torch.nn.init.normal_(e.convs[0].bias)
        clean, noisy = e(x)[0], e(x, .1, g)[0]
        assert torch.equal(clean, noisy) != hit
        if at == "activations" and hit: assert abs((noisy - clean).std()/clean.square().mean().sqrt() - .1) < .005
    e = one(noise_at=("input",))
    with torch.no_grad():
        for p in e.parameters(): p.zero_()
        e.convs[0].weight[:, 0, 1, 1] = 1.; e.convs[0].bias.fill_(10.)              # one pixel, away from the kink
        seen = e(x, .1, g)[0][:, 0]
        assert abs(seen.mean() - 10.4) < .01 and abs(seen.std() - .2) < .01                    # 2x - 1 doubles it
    net = build(noise=.5, noise_at=NOISE_AT)
    assert torch.equal(net.encode(x[:, :, :16, :16], g, noisy=False)[0], net.encode(x[:, :, :16, :16])[0])

# gradients

@pytest.mark.parametrize("options", [dict(), dict(residual=True, phase=2, label=2), dict(noise_at=NOISE_AT), dict(inputs=INPUTS[1:], skips=False)], ids=str)
def test_one_step_reaches_every_parameter(options):
    net = SequenceNet(SequenceConfig(**TINY | options)).train()
    x = frames(net, 4)
    rollout_loss(rollout(net, *x[:3], 1, **conditions(net, 1)), x[3][:, None])[0].backward()
    for name, p in net.named_parameters(): assert p.grad is not None and p.grad.abs().sum() > 0, name

@pytest.mark.parametrize("residual", [False, True])
def test_the_last_frame_depends_on_the_first_through_time(residual):
    net = SequenceNet(SequenceConfig(**TINY, residual=residual))
    x = frames(net).mul(.5).add(.25).requires_grad_()
    rollout(net, *x, 5)[:, -1].sum().backward()
    assert x.grad.abs().sum((1, 2, 3, 4)).min() > 0

# length and memory

def test_a_stream_forgets_its_frames():
    net = build()
    with torch.no_grad():
        alive = [weakref.ref(f) for f in stream(net, *frames(net), 40)]
        assert sum(r() is not None for r in alive) <= 2
    alive = []
    with torch.no_grad():
        for f in stream(net, *frames(net), 20):
            alive.append(weakref.ref(f)); del f
            assert sum(r() is not None for r in alive) <= 3

def test_time_is_linear_in_length():
    net, encoded = build(), []
    net.encode = lambda *a, encode=net.encode, **k: (encoded.append(1), encode(*a, **k))[1]
    for steps in (1, 10): encoded.clear(); rollout(net, *frames(net), steps); assert len(encoded) == steps + 2

@pytest.mark.parametrize("channels", [1, 3])
def test_generate(channels):
    net = build(channels=channels, noise=.1).train()
    face, other = np.random.default_rng(0).integers(0, 256, (2, 3, 16, 16, channels), np.uint8)
    if channels == 1: face, other = face[..., 0], other[..., 0]
    made = generate(net, face, 25)
    assert made.shape == (3, 25, *face.shape[1:]) and made.dtype == np.uint8 and net.training
    np.testing.assert_array_equal(generate(net, face, 25), made)                     # without noise, even of a network in training
    x = to_tensor(face)
    with torch.no_grad(): np.testing.assert_array_equal(to_frames(rollout(net.eval(), x, x, x, 4)), made[:, :4])      # the neutral frame three times
    y = to_tensor(other)
    with torch.no_grad(): np.testing.assert_array_equal(to_frames(rollout(net, x, x, y, 2)), generate(net, face, 2, start=(face, other)))
    np.testing.assert_array_equal(generate(net, face, 3, seed=7), generate(net, face, 3, seed=7))
    assert (generate(net, face, 3, seed=7) != generate(net, face, 3, seed=8)).any()
    assert generate(net, face, 0).shape == (3, 0, *face.shape[1:])

def test_generate_with_conditions_and_training_state_after_a_failure():
    net = build(phase=2, label=3).train()
    face = np.zeros((2, 16, 16), np.uint8)
    phase = np.random.default_rng(0).normal(size=(2, 4, 2))
    made = generate(net, face, 4, phase=phase, label=[0, 2])
    assert (made != generate(net, face, 4, phase=phase, label=[2, 0])).any() and (made != generate(net, face, 4, phase=phase[:, ::-1].copy(), label=[0, 2])).any()
    for wrong, says in [(dict(label=[0, 3]), "below 3"), (dict(phase=phase[:, :3]), "a vector for each frame"), (dict(phase=None), "phase of one step has shape None"),
                        (dict(label=[0]), r"label of one step has shape \(1,\)"), (dict(phase=phase[..., :1]), r"phase of one step has shape \(2, 1\)")]:
        with pytest.raises(MespotError, match=says): generate(net, face, 4, **dict(phase=phase, label=[0, 2]) | wrong)
        assert net.training

# cost

# parameters; operations of a frame by itself and in a sequence
PINNED = dict(tiny=(347577, 48562176, 41746432), small=(1389425, 765984768, 661127168), domains=(5445187, 2180513792, 1899495424), thesis=(22223427, 19080806400, 16485580800))

@pytest.mark.parametrize("name", PRESETS)
def test_presets_cost_what_they_did(name):
    found = cost(PRESETS[name])
    assert (found["parameters"], *(round(1e9*found[k]) for k in ("gflops", "gflops_in_sequence"))) == PINNED[name]

def test_the_thesis_preset_is_of_the_size_stated():
    found = cost(PRESETS["thesis"])
    assert abs(found["gflops"]/18.01 - 1) < .1 and abs(found["encoder_mb"]/10 - 1) < .15 and abs(found["decoder_mb"]/80 - 1) < .05 and found["encoder_mb"] + found["decoder_mb"] < 100

def test_operations_by_hand():
    c = SequenceConfig(size=8, width=2, levels=2, inputs=INPUTS[1:])
    encode = 16*1*2*16 + 16*2*4*4                                                   # kernel × in × out × pixels out
    decode = 16*8*4*4 + 16*(4 + 4)*2*16 + 9*2*1*64                                  # a transposed convolution: pixels in
    found = cost(c)
    np.testing.assert_allclose([found["gflops"], found["gflops_in_sequence"]], [2e-9*(2*encode + decode), 2e-9*(encode + decode)])
    assert cost(dataclasses.replace(c, phase=2, label=3))["parameters"] - found["parameters"] == 6*2*6

def test_memory_is_in_one_order():
    "Convolutions that must reorder memory first are many times slower."
    net = build(channels=3, width=8)
    last = lambda x: x.is_contiguous(memory_format=torch.channels_last)
    inputs = []
    for m in net.modules():
        if isinstance(m, torch.nn.Conv2d | torch.nn.ConvTranspose2d): assert last(m.weight); m.register_forward_pre_hook(lambda m, a: inputs.append(last(a[0])))
    with torch.no_grad(): rollout(net, *frames(net), 2, torch.Generator().manual_seed(0))
    assert len(inputs) == 6 and all(inputs)                                         # the decoder's; the encoder's show in its latents
    z = net.encode(frames(net)[0], torch.Generator().manual_seed(0))
    assert all(map(last, z))

# movement by a field

def test_a_frame_is_moved_along_a_field():
    "No field, no movement; three pixels to the right and one up; beyond the edge the edge is repeated."
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    still, field = torch.zeros(2, 2, 16, 16), torch.zeros(2, 2, 16, 16)
    field[:, 0], field[:, 1] = 3, -1
    assert torch.allclose(warped(x, still), x, atol=1e-5)
    moved = warped(x, field)
    assert torch.allclose(moved[:, :, :15, 3:], x[:, :, 1:, :13], atol=1e-4) and torch.allclose(moved[:, :, :15, 0], x[:, :, 1:, 0], atol=1e-4)

def test_a_warping_network_moves_the_constant_frame():
    "With a head that draws a constant field of two pixels, every frame of a rollout is the constant one, moved by two pixels: not by two more each time."
    net = build(warp=True)
    head = net.stages[0]["decoder"].head
    torch.nn.init.zeros_(head.weight); torch.nn.init.zeros_(head.bias); head.bias.data[-2] = 2.
    constant, previous, current = frames(net)
    made = rollout(net, constant, previous, current, 3)
    for i in range(3): assert torch.allclose(made[:, i, :, :, 2:], constant[..., :-2], atol=1e-4)
    alone = build(warp=True, inputs=("previous", "current")); head = alone.stages[0]["decoder"].head
    torch.nn.init.zeros_(head.weight); torch.nn.init.zeros_(head.bias); head.bias.data[-2] = 2.
    made = rollout(alone, None, previous, current, 2)
    assert torch.allclose(made[:, 1, :, :, 4:], current[..., :-4], atol=1e-4)        # there, on and on

# losses

def test_loss_is_the_thesis_equation():
    made, true = torch.rand(2, 4, 3, 1, 8, 8)
    loss, parts = rollout_loss(made, true)
    assert loss.item() == pytest.approx(sum(((made[:, i] - true[:, i])**2).mean().item() for i in range(3))/3, rel=1e-5) and parts == {"mse": pytest.approx(loss.item())}

def test_parts_one_by_one_and_their_weights():
    made, true, neutral = torch.rand(2, 3, 1, 8, 8), torch.rand(2, 3, 1, 8, 8), torch.rand(2, 1, 8, 8)
    m, t, c = made.numpy(), true.numpy(), neutral.numpy()[:, None]
    away = np.abs(t - c)
    expected = dict(mse=((m - t)**2).mean(), mae=np.abs(m - t).mean(), neutral=(away/away.mean()*(m - t)**2).mean(),
                    motion=np.mean([np.abs((m[:, i + 1] - m[:, i]) - (t[:, i + 1] - t[:, i])).mean() for i in range(2)]))
    weights = dict(zip(LOSS_PARTS, (1., .5, 2., 3.)))
    loss, parts = rollout_loss(made.requires_grad_(), true, weights, neutral)
    assert parts == pytest.approx(expected, rel=1e-5) and loss.item() == pytest.approx(sum(weights[k]*expected[k] for k in weights), rel=1e-5)
    loss.backward(); assert made.grad.abs().sum() > 0
    assert rollout_loss(true, true, weights, neutral)[0] == 0
    assert torch.isfinite(rollout_loss(made, neutral[:, None].expand(-1, 3, -1, -1, -1), dict(neutral=1), neutral)[0])       # nothing ever moves

def test_standing_still_is_no_loss_in_motion_only_where_nothing_moves():
    still, moving = torch.zeros(1, 3, 1, 4, 4), torch.arange(3.).view(1, 3, 1, 1, 1).expand(1, 3, 1, 4, 4)
    assert rollout_loss(still, still + .3, dict(motion=1))[0] == 0 and rollout_loss(still, moving, dict(motion=1))[0] == 1

@pytest.mark.parametrize("arguments, says", [(dict(weights=dict(flow=1)), "no part 'flow'"), (dict(weights={}), "no part at all"), (dict(weights=dict(neutral=1)), "needs the neutral frames"),
                                             (dict(weights=dict(motion=1), n=1), "two frames or more"), (dict(more=1), "as many and as large")], ids=str)
def test_loss_refuses(arguments, says):
    n, more = arguments.pop("n", 2), arguments.pop("more", 0)
    with pytest.raises(MespotError, match=says): rollout_loss(torch.rand(1, n, 1, 4, 4), torch.rand(1, n + more, 1, 4, 4), **arguments)

# frames

@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, st.one_of(st.tuples(st.integers(1, 2), st.integers(4, 6), st.integers(4, 6)), st.tuples(st.integers(1, 2), st.integers(1, 2), st.integers(4, 6), st.just(5), st.just(3)))))
def test_frames_come_back(f):
    x = to_tensor(f)
    assert x.shape[-3] == (3 if f.shape[-1] == 3 else 1) and x.min() >= 0 and x.max() <= 1
    np.testing.assert_array_equal(to_frames(x), f)

def test_frames_are_clipped_rounded_and_refused():
    assert to_frames(torch.tensor([-.5, 0, .0021, 1, 7]).view(1, 1, 5)).ravel().tolist() == [0, 0, 1, 255, 255]
    for wrong in (np.zeros((2, 8, 8)), np.zeros(8, np.uint8)):
        with pytest.raises(MespotError, match="expected are uint8 frames"): to_tensor(wrong)

# refusals and weight files

@pytest.mark.parametrize("wrong, says", [(dict(size=100), "multiple of 16"), (dict(levels=7), "cannot be halved 7 times"), (dict(inputs=("previous",)), "in some order"), (dict(inputs=INPUTS + INPUTS[1:]), "in some order"),
                                         (dict(noise_at=("output",)), "noise_at"), (dict(noise=-.1), "noise is"), (dict(noise=float("nan")), "noise is"), (dict(noisy_levels=5), "there are 4 levels"),
                                         (dict(label=-1), "label -1"), (dict(width=0), "width is 0"), (dict(stages=1.5), "stages is 1.5")], ids=str)
def test_configuration_refuses(wrong, says):
    with pytest.raises(MespotError, match=says): SequenceConfig(**wrong)

def test_naive_configuration_refuses():
    for wrong, says in [(dict(size=30), "multiple of 4"), (dict(latent=0), "latent is 0")]:
        with pytest.raises(MespotError, match=says): NaiveConfig(**wrong)

def test_frames_that_do_not_fit_are_refused():
    net = build()
    c, p, t = frames(net)
    for arguments, says in [((None, p, t), "needs a constant frame"), ((c, p[..., :8], t), r"previous frame has shape \(2, 1, 16, 8\)"), ((c, p, t.expand(-1, 3, -1, -1)), "current frame has shape"),
                            ((c[:1], p, t), "not equally many")]:
        with pytest.raises(MespotError, match=says): net(*arguments)
    with pytest.raises(MespotError, match="phase of one step has shape"): net(c, p, t, phase=torch.rand(2, 1))

@pytest.mark.parametrize("net", [build(phase=1, inputs=("current", "previous"), stages=2), NaiveNet(NaiveConfig(width=4))], ids=["sequence", "naive"])
def test_weights_come_back(net, tmp_path):
    save_sequence(tmp_path/"w", net, dict(steps=7))
    again, card = load_sequence(tmp_path/"w.safetensors")
    assert (type(again), again.config, card["steps"], again.training) == (type(net), net.config, 7, False)
    for a, b in zip(net.parameters(), again.parameters(), strict=True): assert torch.equal(a, b) and a.stride() == b.stride()

def test_loading_refuses_in_one_sentence(tmp_path):
    save_sequence(tmp_path/"w", build(), {})
    good, weights = json.loads((tmp_path/"w.json").read_text()), (tmp_path/"w.safetensors").read_bytes()
    config = lambda **o: json.dumps(good | {"config": good["config"] | o})
    for card, data, says in [(config(width=8), weights, "size mismatch"), (config(stages=2), weights, "Missing key"), (config(size=15), weights, "cannot be halved"), (config(colour=1), weights, "colour"),
                             (json.dumps(good | {"network": "spotter"}), weights, "spotter"), ("{", weights, "JSONDecodeError"), (json.dumps(good), weights[:50], "SafetensorError")]:
        (tmp_path/"w.json").write_text(card); (tmp_path/"w.safetensors").write_bytes(data)
        with pytest.raises(MespotError, match="do not make a sequence network") as e: load_sequence(tmp_path/"w")
        assert says in str(e.value) and "\n" not in str(e.value)
    (tmp_path/"w.json").unlink()
    with pytest.raises(MespotError, match="there is no .*json"): load_sequence(tmp_path/"w")
