"Every chapter's report with its default parameters, as a newcomer would run it: its tables are there and say what they should, not only exit 0."
import json
import pandas as pd
import pytest
from mespot.data.phantom import phantom
from mespot.kit.runs import chapters, run_report

EXPRESSIONS = phantom("tiny").annotations.kind.value_counts()

def spotting(tables, metrics):
    "12 of 30 expressions are those of two tested people at most; every decoding is scored on the same ones."
    intervals = tables["intervals"].set_index("decoding")
    assert len(intervals) >= 5 and (intervals.TP + intervals.FN).nunique() == 1 and intervals.index.str.contains("optimistic").sum() == 2
    assert {"proposed", "no-lcn"} == set(tables["ablations"].name) and tables["movement_frames"].network.nunique() == 4
    assert tables["grad_cam"].groupby("kind").size().to_dict() == dict(macro=2, micro=2)
    assert set(tables["baselines"].spotter) == {"3D-CNN", "MDMD", "Frame differences"} and len(tables["unseen"]) == 2 and len(tables["composite"]) == 3
    assert 0 <= metrics["f1_overall"] <= 1 and metrics["auc_micro"] == pytest.approx(tables["frames"].set_index("kind").auc["micro"])

def samm_lv(tables, metrics):
    counts = tables["spotting"].set_index(["action units", "kind"])
    for source in ("true action units", "AU meter"):
        assert (counts.loc[source].TP + counts.loc[source].FN).to_dict() == {**EXPRESSIONS, "overall": EXPRESSIONS.sum()}
    assert counts.f1["true action units", "overall"] > counts.f1["AU meter", "overall"] and metrics["f1_overall true action units"] == pytest.approx(counts.f1["true action units", "overall"])
    assert (tables["presence_true"].matched == tables["presence_true"].annotated).all() and tables["cost"].AU.iloc[-1] == "all"
    assert tables["data_sets"].set_index("data set").loc["phantom 'tiny', seed 0", ["micro", "macro"]].to_dict() == EXPRESSIONS[["micro", "macro"]].to_dict()

def samm_synth(tables, metrics):
    "What the copy was made to lose is what is measured; a network's paintings stand before a clean video in the table of artefacts."
    by_au = tables["by_au_true"].set_index("au")
    assert (by_au.pearson - by_au.known).abs().max() < .05 and metrics["largest_error_of_r"] < .05 and metrics["rank_agreement AU meter, annotated, corrected, the readable"] > .5
    assert (by_au.defined + by_au.undefined == 6).all() and by_au.loc["AU10", "defined"] == 0 and pd.isna(by_au.loc["AU10", "pearson"])
    assert metrics["mouth_flow_correlation"] == pytest.approx(tables["swap"].magnitude.mean(), abs=.05) and set(tables["speed"].network) == {"small", "published"}
    artefacts = tables["artefacts"].set_index("video")
    assert artefacts["rank"].idxmax() == "p001_1" and artefacts.worst["p003_1"] == "change_at_blinks" and artefacts.worst["p004_1"] == "change_outside"
    flow = tables["flow_methods"].set_index(["kind", "method"])
    assert (flow.error < flow.still)[:, "farneback"].all() and len(tables["by_subject_meter_published"]) == 32

def fer(tables, metrics):
    "The bars of chapter 7 on unseen drawn people; every clip made here is judged; the metrics are the tables'."
    apex = tables["apex"].set_index(["recogniser", "shown"])
    assert metrics["accuracy_classification"] >= .9 and metrics["accuracy_regression"] >= .85 and metrics["correlation_regression"] >= .85
    assert (apex[["negative", "neutral", "positive"]].sum(axis=1) == apex.frames).all() and apex.frames["regression", "every apex"] == 70 and metrics["accuracy_regression"] == apex.right["regression", "every apex"]
    decisions = tables["decisions"].set_index(["recogniser", "rule", "kind"])
    assert (decisions.videos[:, :, "negative"] == 50).all() and (decisions.videos[:, :, "positive"] == 10).all() and decisions.accuracy["regression", "strongest", "overall"] == metrics["videos_regression_strongest"]
    assert (tables["agreement"].sequences == 70).all() and set(tables["paired"].other) == set(tables["agreement"].reading) - {"regression, value"} and (tables["paired"].low <= tables["paired"].high).all()
    assert metrics["generated_clips"] == len(tables["generated"]) == 20 and (tables["generated"].asked == "positive").sum() == 10
    assert tables["counts"].set_index("data_set").loc["all"].min() > 0 and set(tables["counts"].data_set) == {"fer2013", "ck-plus", "kdef", "all"}

def generation(tables, metrics):
    "On unseen people the proposed network carries expressions out and back, the thesis's recipe, as briefly trained, does not; generated courses are bent as real ones, which straight lines are not; micro-expressions are small."
    done = tables["completion"].set_index("network")
    assert done["and kept"]["proposed"] >= .8*done.sequences["proposed"] >= 16 and done.completed[["thesis", "no-phase", "the first frame, copied"]].max() == 0 and done.completed["true sequences"] == 20
    assert metrics["completed_all"] >= .7*metrics["of_all"] and metrics["kept_all"] > .9 and set(tables["expressions"].completed) <= {0, 1, 2, 3, 4}
    bent = tables["au_nonlinearity"].set_index(["of", "method"])
    assert (bent.onset["displacement", "generated"] > 3*bent.onset["displacement", "linear"]) and metrics["nearer_away_low"] > 0 and metrics["nearer_offset_low"] > 0
    quality = tables["quality"].set_index(["data_set", "method", "measure"])["mean"]
    assert quality["drawn", "copied", "ssim"] > quality["drawn", "generated, thesis", "ssim"] and quality["drawn", "real", "niqe"] < quality["drawn", "generated, thesis", "niqe"] and metrics["niqe_gain_low"] > -1
    micro = tables["micro"].set_index("network").loc["around the apex, movement and phase"]
    assert metrics["micro_true_low"] < micro.generated < metrics["micro_true_high"] < 1.1*micro.macro and metrics["micro_below_macro"] == metrics["micro_people"] == 4
    assert metrics["digits_right"] > .9 and len(tables["clips"]) == 14 and (tables["failures"].set_index("network").static[["ME, first attempt: long still videos", "ME, around the apex, the thesis's recipe"]] >= 3).all()
    flips = tables["flips"].set_index(["network", "given"]).gain["learnt as they are"]
    assert flips["as they are"] > flips["mirrored"] > 0 > flips["upside down"] and tables["identity"].set_index("network").margin.is_monotonic_increasing

CHECKS = dict(generation=generation, spotting=spotting, samm_lv=samm_lv, samm_synth=samm_synth, fer=fer)

def test_every_chapter_is_checked(): assert set(chapters()) == set(CHECKS)

@pytest.mark.parametrize("chapter", CHECKS)
def test_a_chapter_with_its_defaults(chapter, tmp_path):
    folder = run_report(chapter, {}, out=tmp_path)
    tables = {p.stem: pd.read_csv(p) for p in (folder/"tables").glob("*.csv")}
    assert not [name for name, t in tables.items() if t.empty and name not in ("clip", "predictions", "openface_repairs")]
    CHECKS[chapter](tables, json.loads((folder/"metrics.json").read_text()))
    assert list((folder/"figures").glob("*.png")) and (folder/"done").exists() and "data:image/png" in (folder/"report.html").read_text()
