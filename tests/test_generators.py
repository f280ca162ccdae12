"Many sequence generators: the same as one at a time, kept, found again, named when one fails, and nothing left behind."
import multiprocessing as mp, os
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
import numpy as np, pandas as pd, pytest, torch
import mespot.train.generators as module
from mespot.core import MespotError, cache_dir
from mespot.data.phantom_sequences import expression_sequences
from mespot.nets.sequence import SequenceConfig
from mespot.train.generators import frames_key, generator_key, train_all
from mespot.train.sequence import SequenceOptions, train_sequence

SET = expression_sequences(2, ("happiness", "surprise"), length=12, size=16, seed=8)
OTHER = replace(SET, frames=SET.frames[:, ::-1])
NET, TWO = SequenceConfig(size=16, width=2, levels=2, residual=True, phase=2), SequenceOptions(steps=2, batch=2)
JOBS = dict(plain=(SET, NET, TWO), noisy=(SET, replace(NET, noise=.1), TWO), back=(OTHER, NET, TWO), also=(SET, NET, TWO))
DIVERGES = replace(TWO, steps=3, lr=float("inf"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch): monkeypatch.setenv("MESPOT_CACHE", str(tmp_path))


@pytest.fixture
def trained(monkeypatch):
    "The options of what is trained in this process, as it happens."
    seen = []
    monkeypatch.setattr(module, "train_sequence", lambda sequences, config, options, *a, **k: seen.append((config, options)) or train_sequence(sequences, config, options, *a, **k))
    return seen


def assert_same(result, expected):
    (net, history), (other, told) = result, expected
    assert net.config == other.config and not net.training and list(net.state_dict()) == list(other.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), other.state_dict().values()))
    pd.testing.assert_frame_equal(history.drop(columns="seconds"), told.drop(columns="seconds"), check_exact=True)


def test_side_by_side_is_the_same_as_one_after_the_other(trained):
    made = train_all(JOBS, workers=2)
    assert list(made) == list(JOBS) and not trained                           # others trained
    for name, job in JOBS.items(): assert_same(made[name], train_sequence(*job))
    assert not torch.equal(made["plain"][0].state_dict()[k := next(iter(made["plain"][0].state_dict()))], made["back"][0].state_dict()[k])
    assert len(list(Path(os.environ["MESPOT_CACHE"], "generators").iterdir())) == 3          # two were the same; no frames are left
    again = train_all(JOBS)
    assert not trained and all(again[n][1].equals(made[n][1]) for n in JOBS)


def test_it_goes_on_where_it_stopped(trained):
    stopped = dict(plain=JOBS["plain"], bad=(SET, NET, DIVERGES), noisy=JOBS["noisy"])
    with pytest.raises(MespotError, match="training 'bad': the loss at step"): train_all(stopped, workers=1)
    assert [o for _, o in trained] == [TWO, DIVERGES]
    trained.clear()
    made = train_all({**JOBS, "longer": (SET, NET, replace(TWO, steps=3))}, workers=1)
    assert [(c.noise, o.steps) for c, o in trained] == [(.1, 2), (NET.noise, 2), (NET.noise, 3)]        # plain is there; the others are not
    assert len(made["longer"][1]) == 3 and len(made["plain"][1]) == 2


@pytest.mark.parametrize("error, says", [(MespotError("the loss was not finite"), "training 'noisy': the loss was not finite"), (BrokenProcessPool(), "a process died while training 'noisy' .* with fewer workers")])
def test_an_error_in_a_process_is_named_and_leaves_no_frames_behind(monkeypatch, error, says):
    class Pool:
        "Processes of which the second to be given work fails."
        def __init__(self, workers, **_): assert workers == 3; self.given = 0
        def __enter__(self): return self
        def __exit__(self, *_): pass
        def shutdown(self, **_): pass
        def submit(self, work, sequences, frames, *rest):
            assert sequences.frames is None and (np.load(frames) == (OTHER if self.given == 2 else SET).frames).all()
            future, self.given = Future(), self.given + 1
            if self.given == 2: future.set_exception(error)
            return future
    monkeypatch.setattr(module, "ProcessPoolExecutor", Pool)
    with pytest.raises(MespotError, match=says): train_all(JOBS, workers=4)
    assert not list(cache_dir("generators").iterdir())


def test_ctrl_c_ends_the_workers(monkeypatch):
    before = mp.get_context("spawn").Process(target=__import__("time").sleep, args=(60,)); before.start()      # somebody else's
    def interrupted(*_): raise KeyboardInterrupt
    monkeypatch.setattr(module, "wait", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt): train_all(JOBS, workers=2)
        assert mp.active_children() == [before] and before.is_alive() and not list(cache_dir("generators").iterdir())
    finally: before.kill(); before.join()


def test_without_a_cache_nothing_is_kept_or_looked_for(trained):
    train_all(dict(a=JOBS["plain"]), cache=False); train_all(dict(a=JOBS["plain"]), cache=False)
    assert len(trained) == 2 and not list(cache_dir("generators").iterdir())


def test_every_job_is_checked_before_the_first_begins(trained):
    with pytest.raises(MespotError, match="training 'wrong': the sequences have frames of 16 pixels"): train_all(dict(plain=JOBS["plain"], wrong=(SET, replace(NET, size=32), TWO)))
    assert not trained


def test_other_errors_carry_the_name(monkeypatch):
    def broken(*_, **__): raise ZeroDivisionError("by chance")
    monkeypatch.setattr(module, "train_sequence", broken)
    with pytest.raises(ZeroDivisionError) as e: train_all(dict(a=JOBS["plain"]))
    assert e.value.__notes__ == ["in training 'a'"]


def test_keys_change_with_everything_that_matters(tmp_path, monkeypatch):
    pixel = SET.frames.copy(); pixel[3, 11, 15, 15] ^= 1
    sets = [SET, OTHER, replace(SET, frames=pixel), replace(SET, frames=SET.frames.reshape(4, 12, 8, 32)), replace(SET, table=SET.table.assign(apex=SET.table.apex + 1)), replace(SET, table=SET.table.assign(emotion="anger"))]
    assert len({*map(frames_key, sets)}) == len(sets)
    ways = [("f", NET, TWO), ("g", NET, TWO), ("f", replace(NET, warp=True), TWO), ("f", NET, replace(TWO, lr=.1)), ("f", NET, replace(TWO, loss=dict(mae=1.))), ("f", NET, TWO, "cuda")]
    found = {generator_key(*w) for w in ways}
    assert len(found) == len(ways)
    monkeypatch.setattr(torch, "__version__", "0.1")
    assert generator_key(*ways[0]) not in found
    monkeypatch.undo()
    changed = tmp_path/"sequence.py"; changed.write_text("other = True")
    monkeypatch.setattr("mespot.train.sequence.__file__", str(changed))
    assert generator_key(*ways[0]) not in found


def test_a_damaged_file_is_refused(tmp_path):
    train_all(dict(a=JOBS["plain"]))
    kept, = cache_dir("generators").glob("*.npz")
    kept.write_bytes(kept.read_bytes()[:200])
    with pytest.raises(MespotError, match="delete it and run again"): train_all(dict(a=JOBS["plain"]))


def test_the_callers_random_numbers_are_left_alone():
    torch.manual_seed(4); expected = torch.rand(3)
    torch.manual_seed(4); train_all(dict(a=JOBS["plain"])); train_all(dict(a=JOBS["plain"]))
    assert torch.equal(torch.rand(3), expected) and train_all({}) == {}
