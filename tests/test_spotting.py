"The chapter's functions: parameters that reach the network, tables that add up, baselines and movements under the same scorer."
import json
from dataclasses import replace
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from mespot.core import MespotError
from mespot.data.phantom import phantom
from mespot.data.phantom_variants import restyled
from mespot.data.recordings import Recordings, open_recordings
from mespot.kit.cli import main
from mespot.kit.runs import run_report
from mespot.measure.intervals import frame_labels, score_intervals
from mespot.nets.spotter import Spotter
from mespot.signal.filters import youden_threshold
from mespot.signal.postprocess import PostProcessing
from mespot.spotting import (CAUSES, MULTI_SCALE, OURS, as_macro, automatic, baseline_results, choose_movement, decode_all, decodings, false_positive_causes, frame_table, interval_table, join,
                             make_card, movement_table, movements, part_table, plot_folds, setup, size_table, truth_of, typical_video)
from mespot.train.proposals import fit_proposals
from mespot.train.runs_list import read_runs
from mespot.train.thresholds import choose_postprocessing, labels_of, predictions_of
from mespot.train.trainings import Trained, decode, plan


def recordings(ph, stores=None): return Recordings(f"phantom-{ph.name}", ph.videos, ph.annotations, stores or dict.fromkeys(ph.videos.video), ph, f"phantom '{ph.name}'")

@pytest.fixture(scope="module")
def rec(): return recordings(phantom("tiny", seed=4))

def made_up(trainings, rec, noise=.2, seed=0):
    "What trainings would give if scores were the truth with noise."
    rng = np.random.default_rng(seed)
    scores = {v: np.clip(.5*y + noise*rng.standard_normal(y.shape) + .25, 0, 1) for v, y in labels_of(rec.annotations, rec.videos).items()}
    part = lambda t, i: {c: {v: scores[v] for v in rec.of(held[i]).videos.video} for c, held in t.checkpoints.items()}
    return [Trained(t, {}, {}, part(t, 0), part(t, 1), pd.DataFrame(), (.2, 1.), (0, 0)) for t in trainings]

@pytest.fixture(scope="module")
def results(rec): return made_up(plan(rec.subjects, "loso", validation=1), rec)


@pytest.mark.parametrize("change", [dict(lcn=False), dict(depth=6), dict(filters=8), dict(pool="max"), dict(batch_norm=False), dict(separable=False), dict(dropout=0.), dict(pair="forward"),
    dict(presence_weight=6.), dict(micro_weight=.9), dict(macro_weight=.1), dict(skip_micro=.15), dict(skip_macro=1.55), dict(learning_rate=.01), dict(optimiser="sgd"), dict(random_skips="cas-me2"), dict(epochs=3),
    dict(patience=2), dict(frames_per_epoch=100), dict(seed=1)], ids=lambda d: next(iter(d)))
def test_every_parameter_reaches_the_training(change):
    plain, changed = setup(), setup(**change)
    assert plain != changed
    Spotter(changed["config"])

def test_the_declared_runs_are_parameter_sets_of_this_chapter():
    runs = read_runs("spotting")
    made = [setup(**r.parameters) for r in runs]
    assert len(runs) > 15 and all(made[i] != made[j] for i in range(len(made)) for j in range(i) if (runs[i].name, runs[j].name) != ("proposed", "thesis-weights"))

def test_what_is_automatic_depends_on_the_data(rec):
    tiny, small, real = automatic(rec, "tiny"), automatic(rec, "small"), automatic(replace(rec, simulated=None), "tiny")
    assert tiny["epochs"]*tiny["frames_per_epoch"] < small["epochs"]*small["frames_per_epoch"] < real["epochs"]*real["frames_per_epoch"] and real["groups"] == 0

def test_the_parts_of_a_fold_hold_everyone_once(rec):
    t = plan(rec.subjects, "holdout", validation=1, test=2)[0]
    table = part_table(t, rec)
    assert table.subjects.tolist() == [3, 1, 2] and table.videos.sum() == len(rec.videos) and (table.micro + table.macro).sum() == len(rec.annotations)
    assert table.minutes.sum() == pytest.approx((rec.videos.n_frames/rec.videos.fps).sum()/60)
    top, bottom = plot_folds([t], rec).axes
    assert sum(p.get_height() for p in top.patches) == pytest.approx(table.minutes.sum())
    assert sum(p.get_height() for p in bottom.patches) == len(rec.of(t.checkpoints["holdout"][1]).annotations)

def test_frames_are_scored_as_scikit_learn_does(rec):
    done = made_up(plan(rec.subjects, "holdout", validation=2, test=2), rec, .3)
    table = frame_table(done, rec)
    labels = labels_of(rec.annotations, rec.videos)
    stack = lambda part, k: (np.concatenate([labels[v][:, k] for v in part]), np.concatenate([s[:, k] for s in part.values()]))
    for k in (0, 1):
        (y, s), threshold = stack(done[0].test["holdout"], k), youden_threshold(*stack(done[0].val["holdout"], k))
        assert table.auc[k] == pytest.approx(roc_auc_score(y, s)) and table.f1[k] == pytest.approx(f1_score(y, s >= threshold))

def test_frames_without_a_face_do_not_count(rec):
    done = made_up(plan(rec.subjects, "holdout", validation=2, test=2), rec)[0]
    v = next(iter(done.test["holdout"]))
    holes = done.test["holdout"][v].copy(); holes[100:160] = np.nan
    table = frame_table([replace(done, test={"holdout": done.test["holdout"] | {v: holes}})], rec)
    assert table[["auc", "f1"]].notna().all().all() and not table.equals(frame_table([done], rec))

def test_tables_count_what_score_intervals_counts(rec, results):
    found, posts = decode(results, rec, choose_postprocessing)
    table, expected = interval_table({"a": found, "none": found.head(0)}, rec.annotations), score_intervals(found, rec.annotations).set_index("kind")
    assert table.loc[0, ["TP", "FP", "FN"]].tolist() == expected.loc["overall", ["TP", "FP", "FN"]].tolist() and table["micro f1"][0] == expected.f1["micro"]
    assert table.loc[1, ["TP", "FP", "FN"]].tolist() == [0, 0, len(rec.annotations)] and set(posts) == set(rec.subjects)
    assert false_positive_causes(rec.simulated, found).sum(axis=1).tolist() == [expected.FP[k] for k in ("micro", "macro")]
    assert typical_video(found, rec.annotations) in set(rec.videos.video)
    assert len(truth_of(results[:1], rec)) == rec.annotations.subject.isin(["p001", "p002"]).sum()

def test_decodings_side_by_side_are_those_one_by_one(rec, results):
    choices = decodings(fit_proposals)
    assert sum("optimistic" in name for name in choices) == 2 and all((who == "test") == ("optimistic" in name) for name, (_, who) in choices.items())
    some = {name: choices[name] for name in (MULTI_SCALE, OURS)}
    together = decode_all(results, rec, some, workers=2)
    for name, (choose, source) in some.items(): pd.testing.assert_frame_equal(together[name][0], decode(results, rec, choose, source)[0])
    assert all(who == "test" for name, (_, who) in decodings(fit_proposals, "test").items() if name != OURS)
    with pytest.raises(MespotError, match="validation, or test"): decode(results, rec, choose_postprocessing, "everyone")

def test_baselines_take_the_networks_place(rec):
    class Store:
        fps, ok = 30., None
        def __init__(self, video): self.frames = video
    data = replace(rec, stores={v: Store(v) for v in rec.videos.video})
    truth = labels_of(rec.annotations, rec.videos)
    def score(frames, fps, skips, ok): return 7*truth[frames] + 3 + np.random.default_rng(0).random(truth[frames].shape)      # not probabilities, but perfect
    done = baseline_results(made_up(plan(rec.subjects, "loso", validation=1), rec, 9.), data, score, (.2, 1.), workers=1)
    assert all(0 <= s.min() and s.max() <= 1 for d in done for by in (*d.test.values(), *d.val.values()) for s in by.values())
    table = interval_table({"perfect": decode(done, rec, choose_postprocessing)[0]}, rec.annotations)
    assert table["overall f1"][0] > .75 and (frame_table(done, rec).auc > .99).all()

def test_movements_are_the_union_of_both_kinds(rec):
    moved = movements(rec.annotations)
    for v in rec.videos.itertuples():
        both, union = (frame_labels(t[t.video == v.video], v.n_frames).any(1) for t in (rec.annotations, moved))
        assert (both == union).all()
    assert (moved.kind == "macro").all() and len(moved) <= len(rec.annotations)

def test_a_movement_network_is_scored_by_person_and_by_interval(rec):
    trainings = plan(rec.subjects, "holdout", validation=2, test=3)
    one = [replace(d, val={c: {v: s.max(1, keepdims=True) for v, s in by.items()} for c, by in d.val.items()}, test={c: {v: s.max(1, keepdims=True) for v, s in by.items()} for c, by in d.test.items()})
           for d in made_up(trainings, rec)]
    row = movement_table({"a": one}, rec).iloc[0]
    assert row.auc > .85 and 0 < row["f1 sd"] < .3 and row.f1 > .5 and row.loss > 0
    moved = replace(rec, annotations=movements(rec.annotations))
    found = decode(as_macro(one), moved, choose_movement)[0]
    assert len(found) and (found.kind == "macro").all()
    assert score_intervals(found, truth_of(one, moved)).set_index("kind").f1["macro"] > .4

def test_joined_sets_keep_their_labels(rec):
    second = recordings(restyled(rec.simulated))
    both = join(rec, second)
    assert len(both.videos) == 2*len(rec.videos) and both.subjects == rec.subjects and len(both.stores) == len(both.videos)
    apart = join(a=rec, b=rec)
    assert apart.subjects == [f"{n}-{s}" for n in "ab" for s in rec.subjects] and len(apart.of(["b-p002"]).annotations) == (rec.annotations.subject == "p002").sum()

def test_separable_convolutions_save_what_the_table_says():
    table = size_table({"a": setup()["config"], "b": setup(separable=False)["config"]}).set_index("network")
    assert table.saved["b"] == 0 and .3 < table.saved["a"] < .7 and table.parameters["b"] == table["with regular convolutions"]["a"]

def test_a_card_says_what_it_is(rec, results):
    frames, intervals = frame_table(results, rec), interval_table({"x": decode(results, rec, choose_postprocessing)[0]}, rec.annotations)
    card = make_card(rec, results[0], dict(preset="tiny", lcn=True), PostProcessing(), frames, intervals)
    assert "not a result on real faces" in card["scores_are"] and card["command"] == "mespot report spotting -p preset 'tiny' -p lcn True" and card["subjects"] == dict(train=3, val=2, test=1)
    assert "phantom" not in make_card(replace(rec, simulated=None, label="SAMM-LV"), results[0], {}, PostProcessing(), frames, intervals)["scores_are"]

def test_a_false_alarm_on_a_blink_is_put_down_to_the_blink():
    p = phantom("tiny", subjects=1, seconds=30., micro_per_minute=.001, macro_per_minute=.001, speech_per_minute=0, seed=1)
    shut = np.flatnonzero(p.script("p001_1")["au"][:, -1] > 0)
    found = predictions_of({"p001_1": np.zeros((900, 2))}, p.videos, PostProcessing())
    found.loc[0] = ["p001_1", "p001", shut[0], shut[0] + 6, "micro", .9, 30.]
    causes = false_positive_causes(p, found)
    assert len(p.annotations) == 0 and causes.loc["micro", "blink"] == 1 and causes.to_numpy().sum() == 1 and tuple(causes) == CAUSES


def test_a_prepared_data_set_goes_through_the_chapter(tmp_path, monkeypatch):
    monkeypatch.setenv("MESPOT_CACHE", str(tmp_path/"cache"))
    for order in (("export-phantom", tmp_path/"copy", "--as", "cas-me2", "--subjects", 4, "--seconds", 9, "--view", "aligned"), ("prepare", "cas-me2", "--root", tmp_path/"copy", "--aligner", "none")):
        assert main(["data", *map(str, order), "--workers", "1"]) == 0
    asked = dict(dataset="cas-me2", protocol="loso", validation_subjects=-1, epochs=1, frames_per_epoch=96, ablations="none", movement="no", baselines="no", end_to_end="no", workers=1)
    folder = run_report("spotting", {k: str(v) for k, v in asked.items()}, out=tmp_path/"runs")
    prepared, by_subject = open_recordings("cas-me2"), pd.read_csv(folder/"tables"/"by_subject.csv", dtype=dict(subject=str))
    assert len(prepared.subjects) == 4 and sorted(by_subject.subject.unique()) == sorted(prepared.subjects)          # everyone is tested
    assert set(pd.read_csv(folder/"tables"/"predictions.csv").video) <= set(prepared.videos.video)
    assert "cas-me2" in (folder/"report.html").read_text() and json.loads((folder/"metrics.json").read_text())["auc_micro"] > 0
    assert (by_subject.set_index("subject").eval("TP + FN") == prepared.annotations.groupby("subject").size()).all()
