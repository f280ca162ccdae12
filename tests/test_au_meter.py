import hashlib
import json
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save

from mespot.core import MespotError, one_thread, package_file
from mespot.data.action_units import AU_COLUMNS, check_au_table
from mespot.data.au_meter import METER, meter, shipped_meter
from mespot.data.phantom import PRESETS, Phantom, phantom
from mespot.data.phantom_face import ACTION_UNITS
from mespot.nets.au_meter import AUMeter, AUMeterConfig, load_meter, measure_frames, meter_input, neutral_view
from mespot.nets.spotter import save_weights
from mespot.train import au_meter as training
from mespot.train.au_meter import TRAINING_SEED, VALIDATION_SEED, draw_action_units, make_weights, meter_table, train_meter, training_person

KNOWN = [f"AU{a:02d}_r" for a in ACTION_UNITS]
TINY = dict(subjects=2, natural=6, drawn=6, epochs=2, batch=8, watched=0)


@pytest.fixture(scope="module", autouse=True)
def single(): one_thread()


@pytest.fixture(scope="module")
def video():
    ph = phantom("small", subjects=2)
    return ph.frames("p002_1", 0, 300)


# what the weights are worth

@pytest.mark.parametrize("preset", ["small", "varied"])
def test_people_it_has_never_seen(preset):
    "The bars: mean Pearson .75, AU12 and AU45 .85; what the card says of all people holds for these too, more or less."
    model, card = shipped_meter()
    ph = phantom(preset)
    table = meter_table(model, ph, ph.videos.video[::len(ph.videos)//4])
    assert table.pearson.mean() >= .75 and table.pearson["AU12_r"] >= .85 and table.pearson["AU45_r"] >= .85, table
    said = pd.Series(card["scores"][preset]["pearson"])
    assert list(said.index) == list(table.index) == KNOWN and abs(said.mean() - table.pearson.mean()) < .06
    assert card["scores"][preset]["version"] == PRESETS[preset].version and card["scores"][preset]["subjects"] == PRESETS[preset].subjects


def test_the_table_of_scores_is_right():
    "Pooled and within by NumPy's own correlation; the truth put in place of the network gives 1."
    ph = phantom("tiny", subjects=2)
    model = shipped_meter()[0]
    table = meter_table(model, ph)
    found = [measure_frames(model, ph.frames(v)) for v in ph.videos.video]
    truth = [ph.au_table(v)[KNOWN].to_numpy() for v in ph.videos.video]
    k = KNOWN.index("AU45_r")
    assert table.pearson["AU45_r"] == pytest.approx(np.corrcoef(np.concatenate(found)[:, k], np.concatenate(truth)[:, k])[0, 1], abs=1e-6)
    assert table.within["AU45_r"] == pytest.approx(np.mean([np.corrcoef(f[:, k], t[:, k])[0, 1] for f, t in zip(found, truth)]), abs=1e-6)
    assert table.mae["AU45_r"] == pytest.approx(np.abs(np.concatenate(found) - np.concatenate(truth))[:, k].mean(), abs=1e-6)


def test_action_units_are_told_apart():
    "Faces that show one action unit alone: it is the one that is read most strongly, for nearly all."
    frames, neutral, truth = training_person(10**6, natural=0, drawn=160)                       # the training stops far below
    alone = np.flatnonzero(((truth > 0).sum(1) == 1) & (truth.max(1).values > 1.5))
    assert len(alone) >= 15
    with torch.inference_mode(): found = shipped_meter()[0](meter_input(frames[alone], neutral))
    assert (found.argmax(1) == truth[alone].argmax(1)).float().mean() > .75


def test_who_was_trained_on_is_in_no_preset():
    card = shipped_meter()[1]
    assert card["seeds"] == dict(training=TRAINING_SEED, validation=VALIDATION_SEED, test=0)
    trained = {(seed, 1, s) for seed in (TRAINING_SEED, VALIDATION_SEED) for s in range(card["parameters"]["subjects"])}
    used = set()
    for name, p in PRESETS.items():
        for seed in range(10):
            videos = pd.DataFrame(dict(video=[str(i) for i in range(p.subjects*p.videos_per_subject)]))
            used |= {Phantom(name, p, seed, videos, None)._seeds(v)[0] for v in videos.video}
    assert (0, 1, 3) in used and len(used) == 10*max(p.subjects for p in PRESETS.values()) and not trained & used                                             # it is the phantom itself that tells how it seeds a face
    assert not {s[0] for s in trained} & set(range(10**5))                                      # whoever it is, the first number differs


def test_training_draws_its_people_from_its_own_seed(monkeypatch):
    faces, real = [], training.render_view
    monkeypatch.setattr(training, "render_view", lambda face, seed, sc: faces.append((face, seed)) or real(face, seed, sc))
    training_person(4, natural=2, drawn=2)
    assert faces == [((TRAINING_SEED, 1, 4), (TRAINING_SEED, 2, 4, 0))]


# what comes with it

def test_the_weights_are_what_the_card_says():
    path = package_file("weights", "au_meter.safetensors")
    card = json.loads(path.with_suffix(".json").read_text())
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    assert card["sha256"] == METER["sha256"] == sha and path.stat().st_size < 500_000
    assert "never on people" in card["is_not"] and "make_weights(" in card["command"] and "not a result on real faces" in card["scores_are"]
    assert json.loads(json.dumps(METER)) == METER
    assert {*card["config"]["aus"]} == {*ACTION_UNITS}


# measuring

def test_the_table(video):
    ok = np.ones(len(video), bool)
    ok[[0, 50, 51, 299]] = False
    dark = video.copy()
    dark[~ok] = 0
    table = meter(dark, ok, quiet=True)
    pd.testing.assert_frame_equal(check_au_table(table, 300), table)
    assert table.columns.tolist() == AU_COLUMNS
    assert np.flatnonzero(table.success == 0).tolist() == [0, 50, 51, 299] == np.flatnonzero(table.AU12_r.isna()).tolist() == np.flatnonzero(table.AU12_c.isna()).tolist()
    assert table[["AU10_r", "AU10_c", "AU28_c"]].isna().all(axis=None) and table.confidence.tolist() == table.success.tolist()
    there = table[ok]
    for r in KNOWN: assert there[r].between(0, 5).all() and ((there[r] >= .5) == there[r.replace("_r", "_c")]).all()


def test_frames_without_a_face_change_nothing(video):
    "Whatever lies in them, neither the neutral view nor any other frame sees it."
    ok = np.ones(300, bool)
    ok[100:220] = False
    junk = video.copy()
    junk[~ok] = np.random.default_rng(0).integers(0, 256, (120, 112, 112))
    a, b = meter(video, ok, quiet=True), meter(junk, ok, quiet=True)
    pd.testing.assert_frame_equal(a, b)
    assert meter(video, np.zeros(300, bool), quiet=True).success.sum() == 0


def test_repeats_and_does_not_depend_on_the_batch(video):
    model, _ = shipped_meter()
    a = measure_frames(model, video)
    np.testing.assert_array_equal(measure_frames(model, video), a)
    for batch in (1, 7, 300): np.testing.assert_allclose(measure_frames(model, video, batch=batch), a, atol=1e-4)
    assert not model.training and any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())          # the model is not changed


def test_a_frame_is_measured_as_the_network_says(video):
    "By definition: the view, its difference from the median view, the network as it was trained."
    model, _ = shipped_meter()
    with torch.inference_mode(): plain = model(meter_input(video[::10], neutral_view(video))).clamp(0, 5)
    np.testing.assert_allclose(measure_frames(model, video)[::10], plain, atol=1e-4)


def test_memory_map_and_single_frame(tmp_path, video):
    np.save(tmp_path/"v.npy", video[:40])
    model, _ = shipped_meter()
    np.testing.assert_array_equal(measure_frames(model, np.load(tmp_path/"v.npy", mmap_mode="r")), measure_frames(model, video[:40]))
    assert len(meter(video[:1], quiet=True)) == 1


@pytest.mark.parametrize("frames, ok, message", [(np.zeros((3, 112, 112)), None, "of uint8"), (np.zeros((3, 64, 64), np.uint8), None, "align the video first"),
                                                 (np.zeros((3, 112, 112), np.uint8), np.ones(4, bool), "mask of usable frames has shape")])
def test_other_frames_are_refused(frames, ok, message):
    with pytest.raises(MespotError, match=message): meter(frames, ok, quiet=True)


def test_it_warns_unless_told_to_be_quiet(video):
    with pytest.warns(UserWarning, match="drawn faces"): meter(video[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        meter(video[:2], quiet=True)


# weights on disk

@pytest.mark.parametrize("damage, message", [(lambda p: (p/"w.safetensors").unlink(), "there is no"), (lambda p: (p/"w.json").unlink(), "there is no"),
    (lambda p: (p/"w.safetensors").write_bytes((p/"w.safetensors").read_bytes()[:5000]), "do not make an AU meter"), (lambda p: (p/"w.json").write_text("{}"), "do not make an AU meter"),
    (lambda p: save_weights(p/"w", AUMeter(AUMeterConfig(channels=(4, 4, 4, 4))), {}) or (p/"w.json").write_text(json.dumps(dict(config={}))), "do not make an AU meter")])
def test_damaged_weights_are_one_sentence(tmp_path, damage, message):
    save_weights(tmp_path/"w", AUMeter(), {})
    damage(tmp_path)
    with pytest.raises(MespotError, match=message) as e: load_meter(tmp_path/"w")
    assert "\n" not in str(e.value)


# training

def test_training_repeats_bit_for_bit(tmp_path):
    for name in ("a", "b"):
        torch.manual_seed(len(name))
        torch.rand(7 if name == "a" else 3)                                                     # the caller's random numbers have no say
        make_weights(tmp_path/name, test_on=(), progress=False, **TINY)
    assert TINY.items() <= json.loads((tmp_path/"a"/"au_meter.json").read_text())["parameters"].items()
    files = [(tmp_path/name/f"au_meter.{end}").read_bytes() for end in ("safetensors", "json") for name in ("a", "b")]
    assert files[0] == files[1] and files[2] == files[3]
    other, _ = train_meter(**dict(TINY, seed=1))
    assert save(other.state_dict()) != files[0]


def test_the_command_in_the_card_makes_the_weights(tmp_path, monkeypatch):
    card = make_weights(tmp_path/"a", test_on=(), progress=False, **dict(TINY, epochs=1))
    code = card["command"].removeprefix('python -c "').removesuffix('"').replace("'DIR'", f"{str(tmp_path/'b')!r}, test_on=(), progress=False")
    exec(code, {})
    assert (tmp_path/"b"/"au_meter.safetensors").read_bytes() == (tmp_path/"a"/"au_meter.safetensors").read_bytes()


def test_drawn_action_units_keep_no_company():
    au = draw_action_units(np.random.default_rng(1), 3000).reshape(-1, 16, 2)
    shown = au.max(2) > 0
    assert set(np.unique(shown.sum(1))) == set(range(6)) and (shown.mean(0) > .1).all()
    assert np.abs(np.corrcoef(shown.T) - np.eye(16)).max() < .1
    sides = np.sort(au[shown], axis=1)
    assert sides.max() <= 5 and .08 < (sides[:, 0] < .5*sides[:, 1]).mean() < .22                 # now and then one side only
    assert abs((au[shown][:, 0] > au[shown][:, 1]).mean() - .5) < .05                           # either side


def test_a_training_person(monkeypatch):
    views, neutral, au = training_person(2, natural=10, drawn=12)
    again = training_person(2, natural=10, drawn=12)
    assert views.shape == (22, 112, 112) and views.dtype == np.uint8 and neutral.shape == (112, 112) and au.shape == (22, 16) and au.min() >= 0 and au.max() <= 5
    np.testing.assert_array_equal(views, again[0]); assert torch.equal(neutral, again[1]) and torch.equal(au, again[2])
    assert not np.array_equal(views, training_person(3, natural=10, drawn=12)[0])
