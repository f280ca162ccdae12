"The chapter of SAMM-LV: what is printed agrees with itself, what is counted is what the rules say, and the baseline finds what the phantom did."
import json
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from mespot.core import MespotError
from mespot.data.action_units import C_COLUMNS, R_COLUMNS, write_openface_csv
from mespot.data.phantom import phantom
from mespot.data.recordings import of_phantom
from mespot.kit.runs import run_report
from mespot.measure.intervals import score_intervals
from mespot.published import printed, published
from mespot.samm_lv import (AU_TOOL, AUBaseline, GRID, TABLE_3_1, au_tables, chance_of_a_hit, cost_by_au, data_set_table, only_kind, plot_sensitivity, presence, presence_table, sensitivity, spot_all, spot_movements, total_intensity)


@pytest.fixture(scope="module")
def small(): return phantom("small")

@pytest.fixture(scope="module")
def truth(small): return {v: small.au_table(v) for v in small.videos.video}

def table(n, **present):
    "An AU table in which nothing is shown but AUxx present at the frames given: AU04=[3, 4]."
    t = pd.DataFrame(0., index=pd.RangeIndex(n, name="frame"), columns=[*R_COLUMNS, *C_COLUMNS]).assign(confidence=1., success=1)
    for a, frames in present.items(): t.loc[frames, [f"{a}_c", *([f"{a}_r"] if f"{a}_r" in t else [])]] = 1, *([2.] if f"{a}_r" in t else [])
    return t

def rows(*r): return pd.DataFrame([dict(video=v, subject=v[:3], onset=a, apex=a, offset=b, kind=k, aus=aus, emotion=None, fps=30.) for v, a, b, k, aus in r])

# what is printed

def test_the_printed_tables_agree_with_themselves():
    for t in ("4.1", "4.2"):
        p = published(t).loc["OpenFace"]
        for k in {n.split()[0] for n in p.index}: assert p[f"{k} accuracy"] == pytest.approx(p[f"{k} matched"]/p[f"{k} annotated"], abs=5.1e-5)
    t = printed("4.3").pivot(index=["row", "kind"], columns="metric", values="value")
    for row in t.index.get_level_values(0).unique():
        counts = t.loc[row, ["TP", "FP", "FN"]]
        assert (counts.loc["micro"] + counts.loc["macro"] == counts.loc["overall"]).all()
    p, r = t.TP/(t.TP + t.FP), t.TP/(t.TP + t.FN)
    for computed, metric in ((p, "precision"), (r, "recall"), (2*p*r/(p + r), "f1")): assert (computed - t[metric]).abs().max() < 5.1e-5
    n = printed("text 4.2").query("data_set == 'SAMM-LV' and metric == 'samples'").set_index("kind").value
    assert ((t.TP + t.FN).unstack()[["micro", "macro"]] == n[["micro", "macro"]]).all().all()

# the data

def test_the_data_set_table(small):
    t = data_set_table({"a": (small.annotations, small.videos), "b": (small.annotations[:0], small.videos[:3])}).set_index("data set")
    assert t.loc["a", ["subjects", "videos", "minutes", "fps"]].tolist() == [80, 80, 40, "30"] and t.loc["a", "micro"] + t.loc["a", "macro"] == len(small.annotations)
    assert t.loc["b", ["micro", "macro", "move-to-neutral"]].tolist() == [0, 0, 0] and np.isnan(t.loc["b", "micro s"])
    a = small.annotations[small.annotations.kind == "macro"]
    assert t.loc["a", "macro s"] == pytest.approx(((a.offset - a.onset + 1)/a.fps).mean())

@given(st.integers(1, 12), st.integers(0, 30))
def test_a_blind_guess_is_right_as_often_as_counting_all_of_them_says(length, more):
    n = length + more
    right = [max(0, min(a, b) + length - max(a, b))/(max(a, b) + length - min(a, b)) >= .5 for a in range(n - length + 1) for b in range(n - length + 1)]
    assert chance_of_a_hit(length, n, 4000) == pytest.approx(np.mean(right), abs=.04)

def test_the_chance_falls_with_the_length_of_the_video():
    chances = [chance_of_a_hit(74, n) for n in (100, 300, 1000, 10_000)]
    assert all(a > 1.5*b for a, b in zip(chances, chances[1:]))
    with pytest.raises(MespotError, match="does not fit"): chance_of_a_hit(31, 30)

# presence

def brute(annotations, tables, once_in):
    "(kind, video, au) -> matched, by looking at every frame."
    from mespot.data.facs import parse_facs
    out = {}
    for i, r in annotations.iterrows():
        for u in parse_facs(r.aus)[0]:
            c = f"AU{u.au:02d}_c"
            key = (r.kind, r.video, u.au, *([i] if once_in == "interval" else []))
            out[key] = out.get(key, False) or (c in tables[r.video] and any(tables[r.video][c].get(t, 0) == 1 for t in range(r.onset, r.offset + 1)))
    return out

@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["video", "interval"]))
def test_presence_is_what_looking_at_every_frame_says(seed, once_in):
    rng = np.random.default_rng(seed)
    tables = {v: table(30, **{f"AU{a:02d}": rng.choice(30, 3, replace=False) for a in rng.choice([1, 4, 12, 28, 45], 2, replace=False)}) for v in ("001_1", "002_1")}
    spans = [sorted(rng.integers(0, 30, 2)) for _ in range(6)]
    annotations = rows(*[(rng.choice(["001_1", "002_1"]), a, b, rng.choice(["micro", "macro"]), "+".join(map(str, rng.choice([1, 4, 12, 28, 45, 51, 24], 2, replace=False)))) for a, b in spans])
    found, expected = presence(annotations, tables, once_in), brute(annotations, tables, once_in)
    assert len(found) == len(expected) and found.matched.sum() == sum(expected.values())
    counted = presence_table(found).set_index("kind")
    for k in ("micro", "macro"):
        mine = [m for key, m in expected.items() if key[0] == k]
        if mine: assert counted.loc[k, ["annotated", "matched"]].tolist() == [len(mine), sum(mine)]
    if once_in == "video":
        both = {(v, a): any(m for key, m in expected.items() if key[1:] == (v, a)) for _, v, a in expected}
        assert counted.loc["combined", ["annotated", "matched"]].tolist() == [len(both), sum(both.values())]

def test_what_openface_does_not_know_is_counted_and_never_matched():
    found = presence(rows(("001_1", 0, 9, "macro", "4+51"), ("001_1", 12, 19, "micro", "28")), {"001_1": table(20, AU04=[5], AU28=[15])})
    assert found.set_index("au")[["detectable", "matched"]].to_dict("index") == {4: dict(detectable=True, matched=True), 51: dict(detectable=False, matched=False), 28: dict(detectable=True, matched=True)}
    assert len(AU_TOOL) == 18 and 28 in AU_TOOL and 28 not in TABLE_3_1 and 45 not in TABLE_3_1 and len(TABLE_3_1) == 16

def test_chance_counts_windows_of_the_same_length():
    found = presence(rows(("001_1", 0, 3, "macro", "4")), {"001_1": table(10, AU04=[9])})
    assert not found.matched[0] and found.chance[0] == pytest.approx(1/7)                     # of 7 windows of 4 frames one has frame 9
    always = presence(rows(("001_1", 0, 3, "macro", "4")), {"001_1": table(10, AU04=range(10))})
    assert always.matched[0] and always.chance[0] == 1
    assert presence(rows(("001_1", 0, 99, "macro", "4")), {"001_1": table(10, AU04=[2])}).chance[0] == 1      # longer than the video

def test_only_what_is_annotated_for_certain_if_asked():
    a, t = rows(("001_1", 0, 9, "macro", "4+ref(7)+12 or 14")), {"001_1": table(20)}
    assert len(presence(a, t)) == 4 and presence(a, t, certainty=["seen"]).au.tolist() == [4]
    with pytest.raises(MespotError, match="once_in"): presence(a, t, "clip")
    with pytest.raises(MespotError, match="no AU table of video 001_1"): presence(a, {})

def test_failed_frames_match_nothing():
    t = table(20, AU04=range(20))
    t.loc[5:9, [c for c in t if c.startswith("AU")]] = np.nan
    assert presence(rows(("001_1", 5, 9, "macro", "4"), ("002_1", 5, 10, "macro", "4")), {"001_1": t, "002_1": t}).matched.tolist() == [False, True]

def test_videos_of_one_kind():
    assert only_kind(rows(("001_1", 0, 1, "micro", ""), ("001_1", 5, 9, "macro", ""), ("002_1", 0, 1, "micro", ""), ("003_1", 0, 9, "macro", ""), ("003_2", 0, 9, "macro", ""))) == dict(micro=["002_1"], macro=["003_1", "003_2"])

# spotting

def test_with_the_true_action_units_the_baseline_finds_most_and_micro_less(small, truth):
    s = score_intervals(spot_all(truth, small.videos), small.annotations).set_index("kind")
    assert s.f1["overall"] >= .60 and s.f1["micro"] < s.f1["macro"]
    assert (s.TP + s.FN)[["micro", "macro"]].tolist() == [(small.annotations.kind == k).sum() for k in ("micro", "macro")]

def test_with_the_thesis_own_constants_at_its_own_frame_rate():
    ph = phantom("tiny", seed=2, fps=200., subjects=10)
    s = score_intervals(spot_all({v: ph.au_table(v) for v in ph.videos.video}, ph.videos), ph.annotations).set_index("kind")
    assert s.f1["overall"] >= .60

def test_the_kind_goes_by_the_length_at_any_frame_rate():
    for fps in (30., 200.):
        n = round(12*fps)
        x = np.zeros(n)
        for at, seconds in ((2, .4), (5, .8)): x[round(at*fps):round((at + seconds)*fps)] = 3*np.hanning(round(seconds*fps) + 2)[1:-1]
        assert spot_movements(table(n).assign(AU12_r=x), fps).kind.tolist() == ["micro", "macro"]
        assert spot_movements(table(n).assign(AU12_r=x), fps, AUBaseline(longest_micro=.2)).kind.tolist() == ["macro", "macro"]

def test_only_the_action_units_that_are_asked_for_are_in_the_sum():
    t = table(50, AU04=range(20, 25), AU45=range(30, 33))
    assert np.flatnonzero(total_intensity(t)).tolist() == [*range(20, 25)] and np.flatnonzero(total_intensity(t, (45,))).tolist() == [30, 31, 32]
    t.loc[40:44, R_COLUMNS] = np.nan
    assert np.flatnonzero(np.isnan(total_intensity(t))).tolist() == [*range(40, 45)]
    assert not np.isnan(total_intensity(t.assign(AU10_r=np.nan))[:40]).any()                  # a tool that does not know AU10
    with pytest.raises(MespotError, match="no intensity of AU28"): AUBaseline(aus=(4, 28))

def test_a_video_without_movement_or_without_a_face():
    assert spot_movements(table(300), 30.).empty and list(spot_movements(table(300), 30.)) == ["onset", "offset", "kind", "score"]
    nobody = table(300); nobody[[c for c in nobody if c.startswith("AU")]] = np.nan
    assert spot_movements(nobody.assign(success=0), 30.).empty
    videos = pd.DataFrame([dict(video="001_1", subject="001", fps=30., n_frames=300, path="")])
    assert spot_all({"001_1": table(300)}, videos).empty

def test_sensitivity_holds_all_other_settings_still(small, truth):
    few = small.videos[:5]
    mine = small.annotations[small.annotations.video.isin(few.video)]
    t = sensitivity(truth, few, mine, AUBaseline(), dict(percentile=(75, 95), level=(3,)))
    plain = score_intervals(spot_all(truth, few), mine).set_index("kind").f1
    for name, value in (("percentile", 75), ("level", 3)): assert t[(t.setting == name) & (t.value == value)].set_index("kind").f1.to_dict() == plain.to_dict()
    assert len(t) == 9 and set(GRID) < set(AUBaseline.__dataclass_fields__)
    assert len(plot_sensitivity(t).axes) == 3

def test_the_cost_of_an_action_unit_is_its_own(small, truth):
    few = small.videos[:6]
    mine = small.annotations[small.annotations.video.isin(few.video)]
    noise = np.random.default_rng(0)
    measured = {v: t.assign(AU12_r=np.clip(t.AU12_r + noise.normal(1.5, 1, len(t)), 0, 5), AU10_r=np.nan) for v, t in truth.items()}
    cost = cost_by_au(truth, measured, few, mine).set_index("AU")
    assert "AU10" not in cost.index and cost["cost (F1)"].idxmax() == "AU12" and cost.loc["AU12", "reported at rest"] > 1 and cost.loc["AU4", "r"] == pytest.approx(1)
    assert cost.loc["AU12", "cost (F1)"] > .1 and (cost.drop(["AU12", "all"])["cost (F1)"] == 0).all()

# where tables come from

def test_tables_from_a_folder_of_openface_files(tmp_path):
    ph = phantom("tiny", subjects=2)
    for v in ph.videos.video: write_openface_csv(ph.au_table(v), tmp_path/f"{v}.csv")
    rec = of_phantom(ph, stores={})
    found = au_tables(rec, str(tmp_path))
    assert list(found) == list(ph.videos.video) and (found["p001_1"].AU12_r - ph.au_table("p001_1").AU12_r).abs().max() < .01
    (tmp_path/"p002_1.csv").unlink()
    with pytest.raises(MespotError, match="p002_1.csv"): au_tables(rec, str(tmp_path))
    with pytest.raises(MespotError, match="it is no folder"): au_tables(rec, "openfaces")

def test_the_chapter_reads_a_recorded_csv_with_failed_frames(tmp_path):
    ph = phantom("tiny", subjects=3)
    recorded = ph.au_table("p001_1")
    recorded.loc[100:119, [c for c in recorded if c.startswith("AU")]] = np.nan
    recorded.loc[100:119, ["success", "confidence"]] = 0
    write_openface_csv(recorded, tmp_path/"recorded.csv")
    folder = run_report("samm_lv", dict(openface_csv=str(tmp_path/"recorded.csv"), aus_from="true", subjects="3"), out=tmp_path/"out")
    spotted = pd.read_csv(folder/"tables"/"openface_spotted.csv")
    assert len(spotted) and not ((spotted.onset <= 119) & (spotted.offset >= 100)).any() and "450 frames, 20 of them failed" in (folder/"report.html").read_text()
    metrics = json.loads((folder/"metrics.json").read_text())
    s = score_intervals(spot_all({v: ph.au_table(v) for v in ph.videos.video}, ph.videos), ph.annotations).set_index("kind")
    assert metrics["f1_overall true action units"] == pytest.approx(s.f1["overall"])
    by_kind = pd.read_csv(folder/"tables"/"spotting.csv").set_index("kind")
    assert by_kind.TP.to_dict() == s.TP.to_dict()
