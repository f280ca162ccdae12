"Samples and training: what is drawn, that it learns a toy, that a seed repeats it bit for bit, and that it keeps quiet."
import signal, threading
import numpy as np, pytest, torch
from mespot.core import MespotError
from mespot.nets.spotter import LOSSES, Spotter, SpotterConfig, predict_video, weighted_loss
from mespot.train.fit import SpotterTask, fit_checkpoints, fit_spotter
from mespot.train.thresholds import frame_auc
from mespot.train.samples import FrameSamples, LabelledVideo, batches, draw_moments

def blobs(subject, n=360, size=36, fps=30):
    "Texture, flickering light and two blobs that move together: aside and back (micro), or slowly away until they jump back (macro)."
    rng = np.random.default_rng(subject)
    Y, X = np.mgrid[:size, :size]
    texture = sum(np.sin(X*a + Y*b + c) for a, b, c in rng.uniform(-.6, .6, (6, 3))*[1, 1, 10])*.03
    shift, labels, t, kind = np.zeros(n), np.zeros((n, 2), np.uint8), 20, subject % 2
    while t < n - 60:
        length = int((rng.uniform(.3, .45), rng.uniform(1.2, 1.8))[kind]*fps)
        s = np.linspace(0, 1, length)
        shift[t:t + length] = (4*np.sin(np.pi*s), 8*s)[kind]; labels[t:t + length, kind] = 1
        t, kind = t + length + int(rng.uniform(.5, 1.5)*fps), 1 - kind
    spots = sum(np.exp(-((X - x)**2 + (Y - y - shift[:, None, None])**2)/12) for x, y in rng.uniform(size*.3, size*.7, (2, 2)))
    light = 1 + .3*np.sin(np.arange(n)*rng.uniform(.05, .2) + rng.uniform(0, 6))
    frames = (.3 + texture + .2*spots)*light[:, None, None]*255 + rng.normal(0, 2, (n, size, size))
    return LabelledVideo(frames.clip(0, 255).astype(np.uint8), labels, fps, f"s{subject}")

VIDEOS = [blobs(s) for s in range(12)]
FEW = dict(epochs=2, frames_per_epoch=48)
timeless = lambda history: history.drop(columns=["seconds", "waiting"])
weights = lambda m: torch.cat([v.flatten().float() for v in m.state_dict().values()])

def counter(n=200, fps=30, subject="c", ok=None):
    "Frames that show their index."
    labels = np.zeros((n, 2)); labels[20:40, 0] = labels[30:90, 1] = 1
    return LabelledVideo(np.repeat(np.arange(n, dtype=np.uint8), 4).reshape(n, 2, 2), labels, fps, subject, ok)

# samples

@pytest.mark.parametrize("pair", ["centred", "backward", "forward"])
def test_samples_are_the_frames_they_say(pair):
    s = FrameSamples([counter(), counter(120, 60, "d")], pair=pair, seed=1)
    x, y = s[np.arange(len(s))]
    assert (x[:, :, 0, 0].numpy() == s.quads).all() and len(s) == 320
    video, t = s.moments[s.rows].T
    assert (y.numpy() == np.stack([s.videos[v].labels[i] for v, i in zip(video, t)])).all()
    assert sorted(map(tuple, s.moments[s.rows])) == [(0, i) for i in range(200)] + [(1, i) for i in range(120)]
    skip = np.diff(s.quads.reshape(-1, 2, 2))[..., 0]
    free = (video == 0) & (t >= 60) & (t < 140)
    assert skip[free, 0].min() >= 4 and skip[free, 0].max() <= 11 and skip[free, 1].min() >= 30 and skip[free, 1].max() <= 60
    assert len(np.unique(skip[free, 1])) > 20
    middle = s.quads.reshape(-1, 2, 2)[free]
    for q in middle.transpose(1, 0, 2):
        if pair == "centred": assert (abs(q.mean(1) - t[free]) <= .5).all()
        else: assert (q[:, 1 if pair == "backward" else 0] == t[free]).all()

def test_epochs_are_drawn_anew_and_repeat():
    a, b = FrameSamples([counter()], seed=2, frames_per_epoch=50), FrameSamples([counter()], seed=2, frames_per_epoch=50)
    a.set_epoch(3); assert not np.array_equal(a.quads, b.quads)
    b.set_epoch(3); assert np.array_equal(a.quads, b.quads) and np.array_equal(a.rows, b.rows)
    assert not np.array_equal(a.quads, FrameSamples([counter()], seed=3, frames_per_epoch=50).quads)
    assert len(set(a.rows)) == 50

def test_balance():
    labels = counter().labels
    rows = draw_moments(labels, np.random.default_rng(0), 3000, (.5, .25, .25))
    neutral = ~labels[rows].any(1)
    assert len(rows) == 3000 and neutral.sum() == 750 and labels[rows, 0].sum() >= 1500 and labels[rows, 1].sum() >= 750
    assert set(rows) <= set(range(200)) and len(set(rows)) == 200
    with pytest.raises(MespotError, match="macro"): draw_moments(labels*[1, 0], np.random.default_rng(0), 10, (0, 1, 1))

def test_masked_frames_are_never_used():
    ok = np.ones(200, bool); ok[50:80] = ok[100] = False
    s = FrameSamples([counter(ok=ok)])
    assert len(s) == 169 and ok[s.quads].all()

@pytest.mark.parametrize("workers", [0, 1])
def test_batches(workers):
    s = FrameSamples([counter()], frames_per_epoch=40)
    got = list(batches(s, 16, workers))
    assert [tuple(x.shape) for x, _ in got] == [(16, 4, 2, 2), (16, 4, 2, 2), (8, 4, 2, 2)] and got[0][0].dtype == torch.uint8
    assert np.array_equal(torch.cat([x for x, _ in got])[:, :, 0, 0].numpy(), s.quads)

def test_bad_videos():
    u8 = np.zeros((5, 4, 4), np.uint8)
    for frames, labels, fps, ok in [(u8, np.zeros((4, 2)), 30, None), (u8/2, np.zeros((5, 2)), 30, None), (u8, np.zeros((5, 2)), 0, None),
                                    (u8, np.zeros((5, 2)), 30, np.ones(4)), ([1, 2], np.zeros((2, 2)), 30, None), (u8, np.zeros((5, 3)), 30, None)]:
        with pytest.raises(MespotError, match="s9"): LabelledVideo(frames, labels, fps, "s9", ok)
    with pytest.raises(MespotError, match="different sizes"): FrameSamples([counter(), blobs(1, 100)])
    with pytest.raises(MespotError, match="usable"): FrameSamples([counter(ok=np.zeros(200))])

# learning

def test_auc():
    assert frame_auc([[0, 0], [1, 1]], [[0, 1], [1, 0]]).tolist() == [1, 0]
    assert np.isnan(frame_auc([[0, 1], [0, 1]], np.random.rand(2, 2))).all() and np.isnan(frame_auc([[0, 1], [1, 0]], np.full((2, 2), np.nan))).all()

def test_it_learns():
    model, history = fit_spotter(VIDEOS[:9], VIDEOS[9:11], epochs=5, frames_per_epoch=800, val_frames=300, loss=dict(W=3, M=(.5, .5)), skips=((.125, .375), (.6, 1.2)))
    auc = frame_auc(VIDEOS[11].labels, predict_video(model, VIDEOS[11].frames, 30, (.2, .9)))
    assert (auc > .94).all(), auc
    assert history.train_loss.iloc[-1] < .8*history.train_loss.iloc[0] and history[["auc_micro", "auc_macro"]].iloc[-1].min() > .85

def test_a_seed_repeats_bit_for_bit_and_random_state_survives():
    torch.manual_seed(5); a, ha = fit_spotter(VIDEOS[:2], VIDEOS[2:3], **FEW); after = torch.rand(1)
    torch.manual_seed(5); assert torch.equal(torch.rand(1), after)
    torch.rand(7); b, hb = fit_spotter(VIDEOS[:2], VIDEOS[2:3], **FEW)
    assert torch.equal(weights(a), weights(b))
    assert timeless(ha).equals(timeless(hb))
    assert not torch.equal(weights(a), weights(fit_spotter(VIDEOS[:2], VIDEOS[2:3], seed=1, **FEW)[0]))

@pytest.mark.parametrize("change", [*(dict(config=SpotterConfig(**o)) for o in (dict(lcn=False), dict(pair="forward"), dict(pool="max"), dict(dropout=.4))),
                                    dict(augmentation=False), dict(loss=dict(W=1.)), dict(loss=dict(M=(.1, .9))), dict(loss=dict(absent=2.)), dict(loss=LOSSES["paper"]), dict(lr=.001),
                                    dict(optimiser="sgd", lr=.007), dict(balance=(1, 1, 1)), dict(batch=8), dict(skips=((.3, .4), (1, 2)))])
def test_every_option_changes_the_result(change):
    a, b = (fit_spotter(VIDEOS[:2], VIDEOS[2:3], epochs=1, frames_per_epoch=32, **c)[0] for c in ({}, change))
    assert not torch.equal(weights(a), weights(b))

def test_every_epoch_is_drawn_anew_and_validation_is_not(monkeypatch):
    calls, real = [], FrameSamples.set_epoch
    monkeypatch.setattr(FrameSamples, "set_epoch", lambda self, e: calls.append((self.videos[0].subject, e)) or real(self, e))
    fit_spotter(VIDEOS[:2], VIDEOS[2:3], epochs=3, frames_per_epoch=16)
    assert [e for s, e in calls if s == "s0"][:3] == [0, 1, 2] and [e for s, e in calls if s == "s2"] == [0]

# checkpoints

STILL = dict(frames_per_epoch=64, val_frames=720, skips=((.2, .2), (.9, .9)))     # fixed skips: every pass over the validation frames sees the same
PAIR = {"for s10": ["s9"], "for s9": ["s10"]}

def test_a_checkpoint_is_what_a_training_validated_by_that_person_alone_keeps():
    for seed in range(2, 9):
        options = dict(STILL, epochs=6, lr=.1, seed=seed, patience=9)
        models, h, when = fit_checkpoints(VIDEOS[:3], VIDEOS[9:11], PAIR, **options)
        if len(set(when.values())) == 2: break
    assert list(models) == list(when) == list(PAIR) and len(set(when.values())) == 2, "they should be best at different epochs here, or this test sees little"
    for name, who in PAIR.items():
        alone, g, w = fit_checkpoints(VIDEOS[:3], [v for v in VIDEOS if v.subject in who], {"alone": who}, **options | dict(val_frames=360))
        assert torch.equal(weights(alone["alone"]), weights(models[name])) and w["alone"] == when[name]
        np.testing.assert_allclose(h[f"val_loss {name}"], g.val_loss, rtol=1e-5)
    assert np.array_equal(h.train_loss, g.train_loss)                    # who validates changes nothing about what is learned

def test_validation_losses_are_those_of_the_people_and_of_the_states_that_come_back():
    models, h, when = fit_checkpoints(VIDEOS[:2], VIDEOS[8:11], {"one": ["s8"], "two": ["s9", "s10"]}, epochs=4, lr=.02, frames_per_epoch=48, val_frames=200, batch=32)
    assert [c for c in h if c.startswith("val_loss")] == ["val_loss", "val_loss one", "val_loss two"]
    np.testing.assert_allclose(h.val_loss, h[["val_loss one", "val_loss two"]].mean(axis=1))
    samples = FrameSamples(VIDEOS[8:11], frames_per_epoch=200)
    x, y = samples[np.arange(200)]
    for name, who in dict(one=["s8"], two=["s9", "s10"]).items():
        rows, m = np.isin(samples.subjects, who), models[name]
        with torch.no_grad(): loss = weighted_loss(m(SpotterTask(m, {}).prepare(x, False))[rows], y[rows]).item()
        assert 0 < rows.sum() < 200 and not m.training
        assert loss == pytest.approx(h[f"val_loss {name}"][when[name]], rel=1e-4) and when[name] == h[f"val_loss {name}"].idxmin()
    assert "val_loss best" not in fit_spotter(VIDEOS[:2], VIDEOS[2:3], **FEW)[1]

@pytest.mark.parametrize("patience", [1, 2, 3])
def test_it_stops_when_no_checkpoint_has_improved_for_so_long(patience):
    _, h, when = fit_checkpoints(VIDEOS[:2], VIDEOS[9:11], PAIR, epochs=25, patience=patience, lr=.05, optimiser="sgd", frames_per_epoch=48, val_frames=100)
    improved = np.zeros(len(h), bool)
    for name in PAIR: improved |= h[f"val_loss {name}"] < h[f"val_loss {name}"].shift(fill_value=np.inf).cummin()
    waited, steps = 0, []
    for yes in improved: waited = 0 if yes else waited + 1; steps.append(waited)
    assert steps[-1] == patience and max(steps[:-1]) < patience and len(h) < 25 and max(when.values()) == len(h) - 1 - patience

def test_training_goes_on_as_long_as_one_checkpoint_improves(monkeypatch):
    losses, task, told = dict(a=[5, 4, *[4]*10], b=[5, 5, 5, 4, 5, 3, *[5]*6]), [], []    # the first alone would end it after epoch 3
    init = SpotterTask.__init__
    def remember(self, *args, **options): init(self, *args, **options); task.append(self)
    def loss(logits, *_, **__):
        if logits.requires_grad: return logits.mean()
        told.append("ab"[len(told) % 2])
        return torch.tensor(float(losses[told[-1]][task[0].current_epoch]))
    monkeypatch.setattr(SpotterTask, "__init__", remember)
    monkeypatch.setattr("mespot.train.fit.weighted_loss", loss)
    _, h, when = fit_checkpoints(VIDEOS[:1], VIDEOS[9:11], {"a": ["s9"], "b": ["s10"]}, epochs=12, patience=2, frames_per_epoch=16)
    assert when == dict(a=1, b=5) and h.epoch.tolist() == list(range(8)) and h["val_loss b"].tolist() == losses["b"][:8]

def test_checkpoints_need_people_to_validate():
    for who in ([], ["s11"], ["s9", "s1"]):
        with pytest.raises(MespotError, match="checkpoint x is to be chosen by"): fit_checkpoints(VIDEOS[:2], VIDEOS[9:11], {"ok": ["s9"], "x": who}, **FEW)

def test_best_state_comes_back_and_patience_stops():
    model, h = fit_spotter(VIDEOS[:2], VIDEOS[2:3], epochs=30, frames_per_epoch=64, patience=2, lr=.05, optimiser="sgd")
    best = h.val_loss.idxmin()
    assert len(h) == best + 3 < 30 and not model.training
    task = SpotterTask(model, {})
    x, y = FrameSamples(VIDEOS[2:3], frames_per_epoch=64)[np.arange(64)]
    with torch.no_grad(): assert weighted_loss(model(task.prepare(x, False)), y).item() == pytest.approx(h.val_loss[best], rel=1e-4)

def test_training_goes_on_from_a_start_and_leaves_it_alone():
    start, _ = fit_spotter(VIDEOS[3:5], VIDEOS[2:3], **FEW, lr=.02)
    before = weights(start)
    still = dict(epochs=1, frames_per_epoch=16, lr=1e-7, start=start)
    on, _ = fit_spotter(VIDEOS[:2], VIDEOS[2:3], **still)
    for (name, a), b in zip(start.named_parameters(), on.parameters()): assert (a - b).abs().max() < 1e-5, name
    further, _ = fit_spotter(VIDEOS[:2], VIDEOS[2:3], **still | dict(lr=.02))
    assert torch.equal(weights(start), before) and not start.training
    assert not torch.allclose(weights(further), before, atol=1e-3) and not torch.equal(weights(further), weights(fit_spotter(VIDEOS[:2], VIDEOS[2:3], **still | dict(lr=.02, start=None))[0]))

def test_history():
    ticks = []
    _, h = fit_spotter(VIDEOS[:2], VIDEOS[2:3], **FEW, tick=lambda: ticks.append(1))
    assert list(h) == ["epoch", "train_loss", "val_loss", "auc_micro", "auc_macro", "lr", "seconds", "waiting"] and h.epoch.tolist() == [0, 1] and len(ticks) == 2
    assert (h.seconds > 0).all() and h.waiting.between(0, 1).all()

def test_movement_network_learns_either_kind():
    model, h = fit_spotter(VIDEOS[:6], VIDEOS[9:11], SpotterConfig(outputs=1), epochs=3, frames_per_epoch=500, val_frames=200, loss=LOSSES["movement"], skips=((.125, .375), (.6, 1.2)))
    p = predict_video(model, VIDEOS[11].frames, 30, (.2, .9))
    either = np.repeat(VIDEOS[11].labels.any(1, keepdims=True), 2, 1)
    assert p.shape == (360, 1) and "auc_movement" in h and "auc_micro" not in h and frame_auc(either, np.repeat(p, 2, 1))[0] > .8
    with pytest.raises(MespotError, match="1 kind"): fit_spotter(VIDEOS[:2], VIDEOS[2:3], SpotterConfig(outputs=1), **FEW)

def test_linear_decay_ends_near_zero():
    _, h = fit_spotter(VIDEOS[:2], VIDEOS[2:3], epochs=4, frames_per_epoch=32, lr=.004)
    np.testing.assert_allclose(h.lr, [.003, .002, .001, 0], atol=1e-9)
    _, h = fit_spotter(VIDEOS[:2], VIDEOS[2:3], epochs=2, frames_per_epoch=32, lr=.004, optimiser="sgd")
    assert (h.lr == .004).all()

def test_quiet_and_leaves_no_files(tmp_path, monkeypatch, capfd, recwarn):
    monkeypatch.chdir(tmp_path)
    fit_spotter(VIDEOS[:2], VIDEOS[2:3], **FEW)
    out, err = capfd.readouterr()
    assert out + err == "" and not list(tmp_path.iterdir()) and not [w for w in recwarn if "lightning" in str(w.filename)]

def test_user_errors():
    for bad, match in [(dict(optimiser="rmsprop"), "adam"), (dict(device="tpu9"), "cpu"), (dict(loss=dict(M=(1, 2, 3))), "one for each")]:
        with pytest.raises(MespotError, match=match): fit_spotter(VIDEOS[:2], VIDEOS[2:3], **FEW, **bad)
    with pytest.raises(MespotError, match="s1"): fit_spotter(VIDEOS[:2], VIDEOS[1:3], **FEW)
    with pytest.raises(MespotError, match="validation"): fit_spotter(VIDEOS[:2], [], **FEW)
    with pytest.raises(MespotError, match="no frame of theirs is among the 1 "): fit_checkpoints(VIDEOS[:2], VIDEOS[9:11], PAIR, epochs=1, frames_per_epoch=16, val_frames=1)
    with pytest.raises(MespotError, match="other parts"): fit_spotter(VIDEOS[:2], VIDEOS[2:3], **FEW, start=Spotter(SpotterConfig(dropout=.3)))
    with pytest.raises(MespotError, match="never finite"): fit_spotter(VIDEOS[:2], VIDEOS[2:3], lr=1e18, optimiser="sgd", **FEW)

def test_interrupt_is_an_interrupt_and_the_next_one_works():
    before, v = signal.getsignal(signal.SIGINT), blobs(9)
    class Stop(np.ndarray):
        def __getitem__(self, i): raise KeyboardInterrupt
    v.frames = v.frames.view(Stop)
    with pytest.raises(KeyboardInterrupt): fit_spotter([v], VIDEOS[2:3], **FEW)
    assert signal.getsignal(signal.SIGINT) is before

def test_works_in_a_thread():
    done = []
    t = threading.Thread(target=lambda: done.append(fit_spotter(VIDEOS[:2], VIDEOS[2:3], epochs=1, frames_per_epoch=16))); t.start(); t.join()
    assert len(done) == 1

@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu():
    model, _ = fit_spotter(VIDEOS[:2], VIDEOS[2:3], device="cuda", **FEW)
    on_cpu = predict_video(model, VIDEOS[6].frames, 30, (.2, 1.))
    np.testing.assert_allclose(predict_video(model.cuda(), VIDEOS[6].frames, 30, (.2, 1.)), on_cpu, atol=1e-3)
