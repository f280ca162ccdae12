"Many trainings: who may do what, what is kept, and that a killed run ends as an undisturbed one does."
import dataclasses, multiprocessing as mp, os, random, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
from hypothesis import given, settings, strategies as st
import mespot.signal.lcn, mespot.train.trainings as module
from mespot.core import MespotError
from mespot.data.frames import FrameStore
from mespot.data.phantom import phantom, stored
from mespot.data.recordings import Recordings, of_phantom
from mespot.measure.intervals import KINDS, durations, frame_labels, score_intervals
from mespot.nets.spotter import SpotterConfig, predict_video
from mespot.signal.postprocess import PostProcessing
from mespot.train.thresholds import choose_postprocessing, labels_of, predictions_of
from mespot.train.trainings import (PROTOCOLS, Trained, Training, decode, gather, labelled, load_trained, mean_skips, plan, run_trainings, save_trained, score_videos,
                                    shared_start, train_one, training_key)

SMALL = dict(config=SpotterConfig(channels=(4, 4), kernels=(5, 3), strides=(4, 2)), options=dict(epochs=3, frames_per_epoch=64, lr=.01))


def recorded(): ph = phantom("tiny"); return of_phantom(ph, stored(ph, workers=1, progress=False))

def trainings(recordings): return plan(recordings.subjects, "loso", validation=0, **SMALL)


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def rec(cache): return recorded()


@pytest.fixture(scope="module")
def undisturbed(rec):
    "Leave-one-subject-out on six people, three trainings, made one after the other in this process."
    return [train_one(t, rec) for t in trainings(rec)]


def assert_same(results, expected):
    "That two lists of `Trained` agree to the last bit in all but the time they took."
    assert [r.training for r in results] == [e.training for e in expected]
    for r, e in zip(results, expected):
        assert list(r.models) == list(e.models) and r.epochs == e.epochs and r.skips == e.skips
        for c in e.models:
            for k, v in e.models[c].state_dict().items(): assert torch.equal(r.models[c].state_dict()[k], v)
            for ours, theirs in ((r.val[c], e.val[c]), (r.test[c], e.test[c])):
                assert list(ours) == list(theirs)
                for v in theirs: assert ours[v].dtype == theirs[v].dtype == np.float32 and ours[v].tobytes() == theirs[v].tobytes()
        pd.testing.assert_frame_equal(*(h.drop(columns=["seconds", "waiting"]) for h in (r.history, e.history)), check_exact=True)


def assert_same_outcome(results, expected, recordings):
    "That predictions and scores agree to the last bit."
    (ours, _), (theirs, _) = (decode(r, recordings, choose_postprocessing) for r in (results, expected))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    pd.testing.assert_frame_equal(*(score_intervals(p, recordings.annotations) for p in (ours, theirs)), check_exact=True)


def wait_for(what, seconds=120):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(.01)
    return found


# plans

@settings(deadline=None, max_examples=80)
@given(st.integers(1, 13), st.sampled_from(PROTOCOLS), st.integers(0, 3), st.integers(1, 3), st.integers(3, 5), st.integers(0, 5))
def test_nobody_does_two_things_at_once(n, protocol, validation, test, k, seed):
    people = [f"s{i:02d}" for i in range(n)]
    if n < dict(holdout=validation + test + 1, kfold=k, loso=3 + validation)[protocol]:
        with pytest.raises(MespotError, match="at least"): plan(people, protocol, validation=validation, test=test, k=k, seed=seed)
        return
    made = plan(people[::-1], protocol, validation=validation, test=test, k=k, seed=seed, name="run", **SMALL)
    assert all(isinstance(t, Training) and t.config is SMALL["config"] and t.options is SMALL["options"] and t.name.startswith("run ") for t in made)
    names = [c for t in made for c in t.checkpoints]
    assert len({t.name for t in made}) == len(made) and len(set(names)) == len(names)       # else one would overwrite another
    tested = [s for t in made for _, held in t.checkpoints.values() for s in held]
    assert len(set(tested)) == len(tested) and (len(tested) == test if protocol == "holdout" else sorted(tested) == people)
    for t in made:
        out = {s for pair in t.checkpoints.values() for held in pair for s in held}
        assert t.train and not set(t.train) & out and set(t.train) | out <= set(people)     # who is tested or validates in a training never trains in it
        for val, held in t.checkpoints.values(): assert not set(val) & set(held)            # ... nor chooses the checkpoint that is tested on him
    if protocol == "holdout": assert len(made) == 1 and all(len(val) == validation for val, _ in made[0].checkpoints.values())
    if protocol == "kfold": assert len(made) == k and all(set(t.train).union(*map(set, t.checkpoints[c])) == set(people) for t in made for c in t.checkpoints)
    if protocol == "loso":
        assert len(made) == -(-n//2) and [len(t.checkpoints) for t in made] == [2]*(n//2) + [1]*(n % 2)
        assert all(len(val) == 1 + validation and held == (c,) for t in made for c, (val, held) in t.checkpoints.items())
        for t in made[:n//2]:
            (a, (val_a, _)), (b, (val_b, _)) = t.checkpoints.items()
            assert val_a[0] == b and val_b[0] == a and val_a[1:] == val_b[1:]               # Algorithm 1


def test_plans_differ_by_seed_and_refuse():
    people = [f"s{i}" for i in range(12)]
    for protocol in ("holdout", "kfold"): assert plan(people, protocol, seed=1) != plan(people, protocol, seed=2) and plan(people, protocol, seed=1) == plan(people, protocol, seed=1)
    assert plan(people, "loso", seed=1) == plan(people, "loso", seed=2)
    with pytest.raises(MespotError, match="holdout, kfold, loso"): plan(people, "louo")
    with pytest.raises(TypeError, match="epochs"): plan(people, epochs=3)


@settings(deadline=None, max_examples=80)
@given(st.integers(3, 20), st.integers(1, 6), st.integers(0, 2), st.integers(1, 4))
def test_a_shared_start_knows_nobody_who_chooses_or_is_tested(n, groups, validation, judges):
    people = [f"s{i:02d}" for i in range(n)]
    try: made = shared_start(people[::-1], groups, validation=validation, start_validation=judges, config=SMALL["config"], start_options=dict(epochs=9), options=dict(epochs=2), name="run")
    except MespotError as e:
        assert f"{groups} groups of {n}" in str(e)
        return
    assert [list(t.checkpoints) for t in made] == [list(t.checkpoints) for t in plan(people, "loso", validation=0)] and len({t.start for t in map(Frozen, made)}) == groups
    for t in made:
        (val, nobody), = t.start.checkpoints.values()
        assert t.start.start is None and nobody == () and 1 <= len(val) <= judges and t.start.train and not set(val) & set(t.start.train)
        assert (t.start.options, t.options, t.start.config, t.config) == (dict(epochs=9), dict(epochs=2), SMALL["config"], SMALL["config"])
        for choose, held in t.checkpoints.values():
            assert len(choose) == 1 + validation and len(held) == 1 and not {*choose, *held} & {*t.train, *t.start.people} and not set(choose) & set(held)
        assert {*t.train, *(s for pair in t.checkpoints.values() for held in pair for s in held)} == set(people)


class Frozen:
    "The start of a training as something that sets can hold."
    def __init__(self, training): self.start = repr(training.start)


# one training

def test_skips_are_half_the_mean_duration(rec):
    for k, skip in zip(KINDS, mean_skips(rec.annotations)): assert skip == pytest.approx(durations(rec.annotations[rec.annotations.kind == k]).mean()/2)
    with pytest.raises(MespotError, match="no macro"): mean_skips(rec.of(["p006"]).annotations)


def test_labelled_videos_are_those_of_the_people(rec):
    videos = labelled(rec, ["p003", "p001"])
    assert [v.subject for v in videos] == ["p001", "p003"]
    for v in videos:
        assert v.frames is rec.stores[f"{v.subject}_1"].frames and v.ok is rec.stores[f"{v.subject}_1"].ok and v.fps == 30
        assert (v.labels == frame_labels(rec.annotations[rec.annotations.subject == v.subject], 450)).all() and v.labels.any()


def test_what_one_training_gives(rec, undisturbed):
    done = undisturbed[0]
    assert list(done.models) == ["p001", "p002"] and (list(done.test["p001"]), list(done.val["p001"]), list(done.test["p002"])) == (["p001_1"], ["p002_1"], ["p002_1"])
    assert done.skips == mean_skips(rec.of(done.training.train).annotations) and done.history.epoch.tolist() == [0, 1, 2] and min(done.seconds) > 0
    for c, model in done.models.items():
        assert not model.training and done.epochs[c] == done.history[f"val_loss {c}"].idxmin()
        for video, p in (done.val[c] | done.test[c]).items(): np.testing.assert_array_equal(p, predict_video(model, rec.stores[video].frames, 30, done.skips))


def test_checkpoints_of_different_epochs_score_with_their_own_states(rec, monkeypatch):
    "Which state scores which video, with a fake training whose states can be told apart."
    class State:
        def __init__(self, epoch): self.epoch = epoch
        def to(self, device): return self
    epochs, scored, ticks, model = dict(a=0, b=1, c=0), [], [], object()
    def fit(train, val, checkpoints, config, *, tick, start, **options):
        assert sorted({v.subject for v in train}) == ["p004", "p005"] and [v.subject for v in val] == ["p001", "p002", "p003"] and options == dict(epochs=2) and start is model
        tick(); tick()
        return {c: State(e) for c, e in epochs.items()}, pd.DataFrame(dict(epoch=[0, 1])), epochs
    def score(model, frames, fps, skips, ok): scored.append(1); return np.full((len(frames), 2), model.epoch + skips[0])
    monkeypatch.setattr(module, "fit_checkpoints", fit); monkeypatch.setattr(module, "predict_video", score)
    t = Training("x", ("p004", "p005"), dict(a=(("p001",), ("p002",)), b=(("p002", "p003"), ("p001",)), c=(("p003",), ("p006",))), options=dict(epochs=2), skips=(.25, 0.))
    done = train_one(t, rec, lambda: ticks.append(1), model)
    assert {c: list(v) for c, v in done.val.items()} == dict(a=["p001_1"], b=["p002_1", "p003_1"], c=["p003_1"]) and {c: list(v) for c, v in done.test.items()} == dict(a=["p002_1"], b=["p001_1"], c=["p006_1"])
    for c in epochs: assert all((s == epochs[c] + .25).all() for s in (done.val[c] | done.test[c]).values())
    assert len(scored) == 7 and len(ticks) == 2                              # seven different pairs of state and video
    assert done.skips == (.25, mean_skips(rec.of(["p004", "p005"]).annotations)[1])


def test_frames_without_a_face_have_no_score(rec, undisturbed):
    r = rec.of(["p001"])
    ok = np.arange(450) % 50 > 9
    r = dataclasses.replace(r, stores=dict(p001_1=dataclasses.replace(r.stores["p001_1"], ok=ok)))
    assert (np.isnan(score_videos(undisturbed[0].models["p001"], r, (.2, 1.))["p001_1"]).all(1) == ~ok).all()


# keys and files

def other_copy(path, tmp_path):
    copy = tmp_path/Path(path).name
    copy.write_text(Path(path).read_text() + "\n# another version\n")
    return str(copy)


def test_the_key_changes_with_all_that_decides_the_outcome_and_with_nothing_else(rec, tmp_path, monkeypatch):
    t = trainings(rec)[0]
    first = t.train[0]
    def annotated(who, **cells):
        a = rec.annotations.copy()
        row = a.index[a.subject == who][0]
        for k, v in cells.items(): a.loc[row, k] = v
        return dataclasses.replace(rec, annotations=a)
    store = rec.stores[f"{first}_1"]
    others = [(t._replace(**c), rec) for c in (dict(train=t.train[1:]), dict(checkpoints=dict(list(t.checkpoints.items())[:1])), dict(checkpoints={c: held[::-1] for c, held in t.checkpoints.items()}),
              dict(config=SpotterConfig()), dict(config=dataclasses.replace(t.config, lcn=False)), dict(options={**t.options, "seed": 1}), dict(options={**t.options, "epochs": 4}),
              dict(options={**t.options, "loss": dict(W=2.)}), dict(skips=(.2, 0.)), dict(start=t), dict(start=t._replace(options=dict(epochs=1))))]
    others += [(t, annotated(who, **change)) for who in (first, "p001") for change in (dict(onset=1), dict(kind="macro"))]
    others += [(t, dataclasses.replace(rec, stores={**rec.stores, f"{first}_1": dataclasses.replace(store, meta={**store.meta, "made_by": dict(by="another")})}))]
    keys = [training_key(*o) for o in [(t, rec), *others]]
    assert len(set(keys)) == len(keys) and all(len(k) == 16 and int(k, 16) >= 0 for k in keys)
    same = [(t._replace(name="another name"), rec), (t._replace(train=list(t.train)), rec), (t, dataclasses.replace(rec, label="otherwise"))]
    part = t._replace(train=t.train[1:])                                                     # now the first is not in it at all
    assert {training_key(*s) for s in same} == {keys[0]} and training_key(part, annotated(first, onset=1)) == training_key(part, rec)
    monkeypatch.setattr(mespot.signal.lcn, "__file__", other_copy(mespot.signal.lcn.__file__, tmp_path))
    assert training_key(t, rec) not in keys


def test_there_and_back(undisturbed, tmp_path):
    for i, done in enumerate(undisturbed):
        save_trained(tmp_path/"deep"/f"{i}.npz", done)
        again = load_trained(tmp_path/"deep"/f"{i}.npz", done.training)
        assert_same([again], [done])
        assert again.seconds == done.seconds and again.history.equals(done.history) and not any(m.training for m in again.models.values())
    assert len(list((tmp_path/"deep").iterdir())) == len(undisturbed)


def cut(b): return b[:len(b)//2]
def flipped(b): i = b.index(b"test/p001/p001_1") + 400; return b[:i] + bytes([b[i] ^ 1]) + b[i + 1:]

@pytest.mark.parametrize("damage", [cut, flipped, lambda b: b"", lambda b: b"no archive", lambda b: b[:-1]])
def test_a_damaged_file_is_named_and_not_used(undisturbed, rec, tmp_path, damage):
    path = tmp_path/f"{training_key(undisturbed[0].training, rec)}.npz"
    save_trained(path, undisturbed[0])
    path.write_bytes(damage(path.read_bytes()))
    for load in (lambda: load_trained(path, undisturbed[0].training), lambda: run_trainings([undisturbed[0].training], rec, tmp_path, progress=False)):
        with pytest.raises(MespotError, match=f"{path.name} is no whole training.*delete it"): load()


def test_what_cannot_be_written_whole_is_not_there(undisturbed, tmp_path, monkeypatch):
    def half(path, **arrays): Path(path).write_bytes(b"half"); raise OSError("no space left")
    monkeypatch.setattr(module.np, "savez", half)
    with pytest.raises(OSError): save_trained(tmp_path/"a.npz", undisturbed[0])
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_network_is_not_used(undisturbed, tmp_path):
    save_trained(tmp_path/"a.npz", undisturbed[0])
    for other in (undisturbed[0].training._replace(config=SpotterConfig()), undisturbed[1].training):
        with pytest.raises(MespotError, match="a.npz"): load_trained(tmp_path/"a.npz", other)


# many trainings

def test_what_is_there_is_not_made_again(undisturbed, rec, tmp_path, monkeypatch, capfd):
    plans = [u.training for u in undisturbed]
    for u in undisturbed: save_trained(tmp_path/f"{training_key(u.training, rec)}.npz", u)
    (tmp_path/".0123.99.tmp.npz").write_bytes(b"left by a process that was killed while it wrote")
    monkeypatch.setattr(module, "ProcessPoolExecutor", lambda *_, **__: pytest.fail("nothing is to be done"))
    assert_same(run_trainings(plans, rec, tmp_path), undisturbed)
    order = [2, 0, 2]
    assert_same(run_trainings([plans[i] for i in order], [rec]*3, tmp_path), [undisturbed[i] for i in order])
    renamed = run_trainings([plans[0]._replace(name="asked for by another run")], rec, tmp_path)[0]
    assert renamed.training.name == "asked for by another run" and renamed.test["p001"]["p001_1"].tobytes() == undisturbed[0].test["p001"]["p001_1"].tobytes()
    assert run_trainings([], rec, tmp_path) == [] and "".join(capfd.readouterr()) == ""


def test_a_start_is_made_first_once_and_only_if_it_is_needed(rec, tmp_path, monkeypatch):
    begin = Training("begin", ("p004", "p005"), {"start": (("p006",), ())}, **SMALL)
    plans = [Training(f"on {w}", ("p003", "p004", "p005"), {w: ((v,), (w,))}, **SMALL | dict(options=dict(epochs=1, frames_per_epoch=16, lr=1e-6)), start=begin) for w, v in (("p001", "p002"), ("p002", "p001"))]
    rounds = []
    def run(jobs, workers, progress): rounds.append([job[0].name for job in jobs]); [module._work(job) for job in jobs]
    monkeypatch.setattr(module, "_run", run); monkeypatch.setattr(module, "_tick", None)
    scratch = plans[0]._replace(start=None, name="scratch")
    one, two, other = run_trainings([*plans, scratch], rec, tmp_path)
    assert rounds == [["begin", "scratch"], ["on p001", "on p002"]]
    first = load_trained(tmp_path/f"{training_key(begin, rec)}.npz", begin)
    for name, w in first.models["start"].named_parameters():                 # at so low a rate they stay where they started
        assert all((w - dict(m.named_parameters())[name]).abs().max() < 1e-4 for m in (one.models["p001"], two.models["p002"]))
    assert (first.models["start"].head.weight - other.models["p001"].head.weight).abs().max() > .01
    assert_same([one], [train_one(plans[0], rec, start_model=first.models["start"])])
    def again(): rounds.clear(); assert_same(run_trainings(plans, rec, tmp_path), [one, two])
    again(); assert [r for r in rounds if r] == []
    (tmp_path/f"{training_key(plans[1], rec)}.npz").unlink(); again(); assert [r for r in rounds if r] == [["on p002"]]
    (tmp_path/f"{training_key(begin, rec)}.npz").unlink(); again(); assert [r for r in rounds if r] == []
    (tmp_path/f"{training_key(plans[1], rec)}.npz").unlink(); again(); assert [r for r in rounds if r] == [["begin"], ["on p002"]]


class Deadly(FrameStore):
    "Frames whose arrival kills a process."
    def __reduce__(self): return os._exit, (9,)


@pytest.mark.parametrize("fault", ["dies", "refuses"])
def test_what_is_finished_is_kept_when_one_fails(undisturbed, rec, tmp_path, fault):
    good, second, _ = trainings(rec)
    if fault == "dies":
        good = good._replace(train=tuple(p for p in good.train if p != "p006"))           # the first does not meet it
        data = dataclasses.replace(rec, stores={**rec.stores, "p006_1": Deadly(**vars(rec.stores["p006_1"]))})
    else: second, data = second._replace(options=dict(second.options, optimiser="sgd", lr=1e18)), rec
    paths = [tmp_path/f"{training_key(t, data)}.npz" for t in (good, second)]
    with pytest.raises(MespotError, match=dict(dies="a process died while training.*finished is kept", refuses="never finite")[fault]):
        run_trainings([good, second], data, tmp_path, workers=1, progress=False)
    assert paths[0].exists() and not paths[1].exists()
    wait_for(lambda: not mp.active_children(), 5)
    if fault == "refuses": assert_same([load_trained(paths[0], good)], undisturbed[:1])
    assert [p.name for p in tmp_path.iterdir()] == [paths[0].name]


def test_an_interrupt_ends_it_at_once_and_leaves_nobody(rec, tmp_path, monkeypatch):
    def interrupt(*_): raise KeyboardInterrupt
    monkeypatch.setattr(module, "wait", interrupt)
    with pytest.raises(KeyboardInterrupt): run_trainings(trainings(rec), rec, tmp_path, workers=2, progress=False)
    wait_for(lambda: not mp.active_children(), 5)
    assert not list(tmp_path.iterdir())


# killed

SCRIPT = """
import sys
if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    from test_trainings import recorded, run_trainings, trainings
    rec = recorded()
    run_trainings(trainings(rec), rec, sys.argv[2], workers=2, progress=False)
"""


def workers_of(pid):
    "The ids of the worker processes of `pid`."
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


def holds(pid, text):
    "Whether a process has mapped a file whose path contains `text`."
    try: return text in Path(f"/proc/{pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError): return False


def alive(pid):
    try: return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError): return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for processes in /proc")
def test_killed_at_any_moment_and_started_again_it_ends_the_same(rec, undisturbed, tmp_path):
    (tmp_path/"night.py").write_text(SCRIPT)
    folder = tmp_path/"trainings"
    folder.mkdir()
    made = lambda: sorted(folder.glob("[!.]*.npz"))
    def killed(moment):
        "Start the run, kill its first process at the moment, and see the workers end; what there is then."
        process = subprocess.Popen([sys.executable, tmp_path/"night.py", Path(__file__).parent, folder], stderr=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: moment(process) or process.poll() is not None)
            workers = workers_of(process.pid)
            process.kill()
            assert process.communicate(timeout=30) and process.returncode == -signal.SIGKILL, "it was too quick, or failed"
            assert len(workers) == 2
            wait_for(lambda: not any(map(alive, workers)), 5)                 # nobody goes on training
        finally: process.kill()
        return made()
    def within_the_first(process):
        if not any(holds(w, "p003_1.npy") for w in workers_of(process.pid)): return False     # a worker has its videos
        time.sleep(random.Random(5).uniform(.2, .6))
        return True
    assert killed(within_the_first) == []
    some = killed(lambda _: made())                                           # as soon as the first is there
    assert 1 <= len(some) < 3
    times = {p: p.stat().st_mtime_ns for p in some}
    results = run_trainings(trainings(rec), rec, folder, workers=2, progress=False)
    assert len(made()) == 3 and all(p.stat().st_mtime_ns == t for p, t in times.items())
    assert not list(folder.glob(".*.tmp*"))                                 # nor is anything half-written left
    assert_same(results, undisturbed)
    assert_same_outcome(results, undisturbed, rec)


# gathered and decoded

def noisy(labels, seed):
    "Scores that follow the labels more or less, on a scale of each video's own."
    rng = np.random.default_rng(seed)
    level, gain = rng.uniform(-1, 1, 2), rng.uniform(1.5, 4, 2)
    wander = np.stack([np.convolve(rng.standard_normal(len(labels) + 14), np.ones(15)/15, "valid") for _ in KINDS], 1)
    return (1/(1 + np.exp(-(level + gain*(labels - .5) + 2*wander)))).astype(np.float32)


@pytest.fixture(scope="module")
def simulated():
    "Twelve people of whom only the tables exist, and made-up results of leave-one-subject-out."
    ph = phantom("tiny", subjects=12, seconds=60., seed=3)
    r = Recordings("tables", ph.videos, ph.annotations, dict.fromkeys(ph.videos.video))
    scores = {v: noisy(y, i) for i, (v, y) in enumerate(labels_of(ph.annotations, ph.videos).items())}
    of = lambda who: {v: scores[v] for v in r.of(who).videos.video}
    results = [Trained(t, {}, {}, {c: of(val) for c, (val, _) in t.checkpoints.items()}, {c: of(held) for c, (_, held) in t.checkpoints.items()}, None, (), ())
               for t in plan(r.subjects, "loso", validation=1)]
    return r, results, scores


def test_gather(simulated):
    r, results, scores = simulated
    gathered = gather(results)
    assert set(gathered) == set(r.videos.video) and all(gathered[v] is scores[v] for v in scores) and gather([]) == {}
    with pytest.raises(MespotError, match="p001_1 is tested by more"): gather([*results, results[0]])


def test_decoders_are_chosen_on_the_validation_people_only(simulated):
    r, results, scores = simulated
    table, decoders = decode(results, r, choose_postprocessing)
    assert list(decoders) == [c for d in results for c in d.training.checkpoints] and set(table.subject) <= set(r.subjects)
    for c, (val, held) in results[2].training.checkpoints.items():
        v = r.of(val)
        assert decoders[c] == choose_postprocessing({x: scores[x] for x in v.videos.video}, v.annotations, v.videos)
        expected = predictions_of(scores, r.of(held).videos, decoders[c])
        pd.testing.assert_frame_equal(table[table.subject.isin(held)].reset_index(drop=True), expected)
    tested = dataclasses.replace(r, annotations=r.annotations[r.annotations.subject != "p003"])       # p003 is not annotated ...
    again, chosen = decode(results[1:2], tested, choose_postprocessing)
    assert chosen["p003"] == decoders["p003"] and again[again.subject == "p003"].equals(table[table.subject == "p003"].reset_index(drop=True)[lambda t: t.index >= 0])
    assert chosen["p004"] != decoders["p004"]                                                         # ... and validates for p004


def test_choosing_on_the_tested_people_is_optimistic(simulated):
    r, results, scores = simulated
    f1 = {}
    for how in ("validation", "test"):
        table, decoders = decode(results, r, choose_postprocessing, how)
        by = score_intervals(table, r.annotations, by="subject")
        f1[how] = by[by.kind == "overall"].f1.mean()
    assert f1["test"] >= f1["validation"] > .2 and f1["test"] > f1["validation"] + .02
    one = r.of(["p005"])
    assert decoders["p005"] == choose_postprocessing({"p005_1": scores["p005_1"]}, one.annotations, one.videos)
    with pytest.raises(MespotError, match="validation, or test"): decode(results, r, choose_postprocessing, "train")


def test_any_way_of_choosing(simulated):
    r, results, scores = simulated
    fixed, asked = PostProcessing(threshold=(.6, .6)), []
    def choose(s, annotations, videos): asked.append((sorted(s), sorted(videos.video), set(annotations.video))); return fixed
    table, decoders = decode(results, r, choose)
    pd.testing.assert_frame_equal(table.sort_values(["video", "kind", "onset"], ignore_index=True), predictions_of(scores, r.videos, fixed).sort_values(["video", "kind", "onset"], ignore_index=True))
    assert len(asked) == 12 and all(a == b and c <= set(a) and len(a) == 2 for a, b, c in asked) and set(decoders.values()) == {fixed}
