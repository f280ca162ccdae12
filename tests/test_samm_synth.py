"The chapter of SAMM-SYNTH: a loss that is known and found again, tables over participants, and tests of a network on networks that can do one thing only."
import types
import numpy as np
import pandas as pd
import pytest
import torch
import matplotlib.pyplot as plt
from mespot.core import MespotError
from mespot.data.action_units import write_openface_csv
from mespot.data.phantom import phantom
from mespot.data.phantom_face import ACTION_UNITS
from mespot.data.phantom_transfer import transferred
from mespot.data.portrait import phantom_portraits
from mespot.measure.agreement import au_correlations, correlation_table, fisher_mean
from mespot.measure.artefacts import glasses_score, regions
from mespot.nets.stargan2 import StarGANConfig, flops
from mespot.samm_synth import (GLASSES, kept_as_printed, known_loss, mean_colours, plot_traces, rank_agreement, reconstruction_table, swap_test, synthetic_tables, table_4_4, throughput, wears_glasses, where_annotated)
from figures import title_of

@pytest.fixture(scope="module")
def ph(): return phantom("tiny")

@pytest.fixture(scope="module")
def truth(ph): return {v: ph.au_table(v) for v in ph.videos.video}

@pytest.fixture(scope="module")
def copy(ph): return transferred(ph, kept_as_printed(), artefacts=0., glasses=GLASSES)

@pytest.fixture(scope="module")
def after(ph, copy): return {v: copy.au_table(f"{v}s1") for v in ph.videos.video}

@pytest.fixture(scope="module")
def rows(ph, truth, after): return au_correlations(truth, after, ph.videos)

def made(**by_unit):
    "Rows as of `au_correlations`: made(AU12=[.5, .7], AU04=[nan, .2]), a number a subject, NaN where it never moves."
    r = [dict(subject=f"s{i}", au=au, n=100, pearson=v, pearson_p=.01, spearman=v, spearman_p=.01, n_eff=50., n_eff_ranks=50., pearson_p_eff=.02, spearman_p_eff=.02, status="ok" if np.isfinite(v) else "constant")
         for au, values in by_unit.items() for i, v in enumerate(values)]
    return pd.DataFrame(r)

# what is known

def test_what_is_kept_is_what_table_4_4_prints():
    kept = kept_as_printed()
    assert tuple(kept) == ACTION_UNITS
    assert kept == {1: .40, 2: .26, 4: .25, 5: .27, 6: .72, 7: .33, 9: .38, 12: .74, 14: .42, 15: .26, 17: .15, 20: .28, 23: .40, 25: .26, 26: .20, 45: .92}

def test_the_known_loss_is_found_by_the_whole_way(ph, copy, rows):
    found = known_loss(copy, rows)
    assert list(found)[:-2] == list(rows) and len(found) == len(rows)
    ok = found.status == "ok"
    assert found.known.notna().equals(ok) and ok.sum() > 50
    assert found.error[ok].abs().max() < .05 and np.allclose(found.error[ok], found.pearson[ok] - found.known[ok])
    assert found[~ok][["known", "error"]].isna().all(axis=None) and (found.au[~ok] == "AU10").sum() == 6

def test_glasses_are_known_too(ph, copy, rows):
    worn = wears_glasses(ph)
    assert 0 < len(worn) < ph.videos.subject.nunique()
    found = known_loss(copy, rows).set_index(["subject", "au"]).known
    for s in ph.videos.subject:
        assert found[s, "AU45"] == pytest.approx(.92*(GLASSES if s in worn else 1))
        assert found.get((s, "AU12")) in (.74, pytest.approx(np.nan, nan_ok=True))

def test_what_was_measured_wrongly_shows_as_an_error(ph, copy, truth, after):
    "A synthetic video of somebody else's movements, or one a second late."
    late = after | {"p001_1": after["p001_1"].shift(30).bfill()}
    errors = known_loss(copy, au_correlations(truth, late, ph.videos)).set_index(["subject", "au"]).error
    assert errors["p001", "AU45"] < -.3 and errors.drop("p001").abs().max() < .05

def test_who_wears_glasses_is_seen_in_the_drawing(ph):
    "Dark rims under the eyes, in the picture and not by the same look into the drawing's seed."
    scores = {r.subject: glasses_score(phantom_portraits(ph, r.video, 64, [0])[0]) for r in ph.videos.itertuples()}
    assert wears_glasses(ph) == sorted(s for s, x in scores.items() if x > .12)

# Table 4.4

def test_a_row_for_each_unit_with_fisher_means():
    t = table_4_4(made(AU12=[.5, .9, np.nan], AU04=[.2, .2, .2])).set_index("au")
    assert t.index.tolist() == ["AU04", "AU12"]
    assert t.pearson["AU12"] == pytest.approx(np.tanh((np.arctanh(.5) + np.arctanh(.9))/2)) and t.pearson["AU04"] == pytest.approx(.2)
    assert t.defined.tolist() == [3, 2] and t.undefined.tolist() == [0, 1]
    assert not {"known", "benchmark", "corrected"} & set(t)
    pd.testing.assert_frame_equal(t.reset_index(), correlation_table(made(AU12=[.5, .9, np.nan], AU04=[.2, .2, .2]), "au"))

def test_known_and_measured_are_means_over_the_same_people():
    r = made(AU12=[.5, .9, np.nan], AU04=[.1, .3, .2], AU10=[np.nan]*3).assign(known=[.6, .8, np.nan, .1, .2, .3, np.nan, np.nan, np.nan])
    t = table_4_4(r).set_index("au")
    assert t.known["AU12"] == pytest.approx(fisher_mean([.6, .8])) and t.known["AU04"] == pytest.approx(fisher_mean([.1, .2, .3]))
    assert np.isnan([t.known["AU10"], t.pearson["AU10"]]).all() and t.defined["AU10"] == 0

def test_the_meters_share_of_the_loss_is_taken_out():
    "r of what the meter reads is r of the truth times its own reliability, before and after."
    known, before, later = np.array([.8, .4]), np.array([.9, .6]), np.array([.7, .8])
    units = dict(AU04=0, AU12=1)
    of = lambda values: made(**{au: [values[i]]*3 for au, i in units.items()})
    t = table_4_4(of(known*before*later), of(before), of(later)).set_index("au")
    np.testing.assert_allclose(t.benchmark, before); np.testing.assert_allclose(t.corrected, known)
    swapped = table_4_4(of(known*before*later), of(later), of(before)).set_index("au")
    np.testing.assert_allclose(swapped.benchmark, later)                                    # the benchmark is that on the originals

def test_where_the_meter_cannot_read_a_unit_nothing_is_corrected():
    reading = made(AU04=[.3], AU09=[.3], AU12=[.3], AU25=[np.nan])
    before, later = made(AU04=[.9], AU09=[np.nan], AU12=[.1], AU25=[.9]), made(AU04=[.9], AU12=[.9], AU25=[.9])
    t = table_4_4(reading, before, later).set_index("au")
    assert np.isfinite(t.corrected["AU04"]) and t.corrected[["AU09", "AU12", "AU25"]].isna().all()
    assert np.isnan(t.benchmark["AU09"]) and t.benchmark["AU12"] == pytest.approx(.1)
    assert table_4_4(reading, before, later.iloc[:0]).corrected.isna().all()

def test_the_table_of_a_whole_copy(copy, rows):
    t = table_4_4(known_loss(copy, rows)).set_index("au")
    assert len(t) == 17 and t.loc["AU10", ["pearson", "known"]].isna().all() and (t.defined + t.undefined == 6).all()
    assert (t.pearson - t.known).abs().max() < .05 and rank_agreement(t) > .99
    assert t.known["AU12"] == pytest.approx(.74) and t.known["AU45"] < .92                  # some wear glasses

# ranks

def ranked(pearson, known, **more): return pd.DataFrame(dict(pearson=pearson, known=known, **more))

def test_ranks_and_not_values():
    assert rank_agreement(ranked([.1, .2, .9], [.3, .31, .32])) == 1
    assert rank_agreement(ranked([.9, .2, .1], [.3, .31, .32])) == -1
    assert rank_agreement(ranked([.1, .2, .9], [.3, .31, .32], corrected=[3., 2., 1.]), "corrected") == -1

def test_units_without_a_number_are_left_out_and_three_are_needed():
    nan = np.nan
    assert rank_agreement(ranked([.1, nan, .2, .3, 9], [1, 5, 2, 3, nan])) == 1
    assert np.isnan(rank_agreement(ranked([.1, nan, .3, 9], [1, 5, 3, nan]))) and np.isnan(rank_agreement(ranked([], [])))
    assert np.isnan(rank_agreement(ranked([.1, .2, .3], [.5, .5, .5])))

# participants who showed it

def notes(*pairs): return pd.DataFrame([dict(subject=s, video=f"{s}_1", onset=0, apex=1, offset=2, kind="micro", aus=a) for s, a in pairs])

def test_only_who_showed_a_unit_counts_and_everybody_blinks():
    r = made(AU04=[.1, .2, .3], AU12=[.4, .5, .6], AU45=[.7, .8, .9])
    kept = where_annotated(r, notes(("s0", "4"), ("s0", "4+R12"), ("s2", "12B+25"), ("s2", "1")))
    assert list(zip(kept.subject, kept.au)) == [("s0", "AU04"), ("s0", "AU12"), ("s2", "AU12"), ("s0", "AU45"), ("s1", "AU45"), ("s2", "AU45")]
    assert list(kept) == list(r) and kept.pearson.tolist() == [.1, .4, .6, .7, .8, .9] and kept.index.isin(r.index).all()

def test_where_nothing_was_annotated_blinks_are_left():
    kept = where_annotated(made(AU04=[.1], AU45=[.7]), notes(("s9", "4")))
    assert kept.au.tolist() == ["AU45"]

def test_on_the_phantom_what_was_annotated_moves(ph, rows):
    kept = where_annotated(rows, ph.annotations)
    assert 0 < len(kept) < len(rows) and (kept.status == "ok").all() and (kept.au == "AU45").sum() == 6

# Figure 4.9

def drawn(*args, **more):
    plt.close("all")
    return plot_traces(*args, **more)

def test_a_panel_for_each_unit(truth, after):
    for aus in ((4, 12, 45), (12,)):
        fig = drawn(truth["p001_1"], after["p001_1"], aus, 30., "p001")
        assert [ax.get_ylabel() for ax in fig.axes] == [f"AU{a}" for a in aus] and title_of(fig.axes[0]) == "p001"
        for ax in fig.axes:
            assert [len(line.get_xdata()) for line in ax.lines] == [450, 450] and ax.lines[0].get_xdata()[-1] == pytest.approx(449/30)
            assert ax.lines[0].get_color() != ax.lines[1].get_color()
        assert [t.get_text() for t in fig.axes[0].get_legend().get_texts()] == ["original", "synthetic"] and "s)" in fig.axes[-1].get_xlabel()
        fig.savefig("/dev/null", format="png"); plt.close(fig)

def test_the_correlation_beside_a_panel_is_that_of_what_is_drawn(truth, after):
    fig = drawn(truth["p001_1"], after["p001_1"], (4, 45, 10), 30.)
    for ax in fig.axes[:2]:
        a, b = (line.get_ydata() for line in ax.lines)
        assert ax.texts[0].get_text() == f"r = {np.corrcoef(a, b)[0, 1]:.2f}" and a[0] == pytest.approx(0, abs=.5)
    assert fig.axes[2].texts[0].get_text() == "r: not defined"                              # the phantom has no AU10
    plt.close(fig)

def test_frames_without_a_face_are_gaps(truth, after):
    gone = after["p001_1"].copy(); gone.loc[100:140] = np.nan
    fig = drawn(truth["p001_1"], gone, (12,), 30.)
    y = fig.axes[0].lines[1].get_ydata()
    assert np.isnan(y[100:141]).all() and np.isfinite(y[:90]).all() and "not" not in fig.axes[0].texts[0].get_text()
    plt.close(fig)

# a swap of references

@pytest.fixture(scope="module")
def smiles(ph):
    "Onset and apex of two smiles as portraits, (2, 64, 64, 3) each."
    e = ph.annotations[(ph.annotations.kind == "macro") & ph.annotations.aus.str.contains("12")].head(2)
    pairs = [phantom_portraits(ph, v, 64, [a, int(b)]) for v, a, b in zip(e.video, e.onset, e.apex)]
    assert len(pairs) == 2
    return np.stack([p[0] for p in pairs]), np.stack([p[1] for p in pairs])

@pytest.fixture(scope="module")
def others(ph): return np.stack([phantom_portraits(ph, v, 64, [0])[0] for v in ("p002_1", "p005_1", "p003_1")])

@pytest.fixture
def network(monkeypatch):
    "network(function(images, j)): what paints the images (n, 64, 64, 3) in the style j; codes for it are `CODES`."
    def set_up(paint): monkeypatch.setattr("mespot.samm_synth.painted", lambda networks, images, code, *device: paint(images, int(code[0, 0])))
    return set_up

CODES = [torch.full((1, 8), float(j)) for j in range(3)]

def test_a_network_that_changes_nothing(network, smiles, others):
    network(lambda images, j: images)
    t = swap_test(None, *smiles, others, CODES)
    assert list(zip(t.event, t.reference)) == [(k, j) for k in (0, 1) for j in (0, 1, 2)]
    np.testing.assert_allclose(t[["style", "magnitude", "cosine", "ratio", "between"]], 1, atol=1e-6)

def test_a_network_that_copies_the_reference(network, smiles, others):
    "All of the style, and nothing of the movement."
    network(lambda images, j: np.stack([others[j]]*len(images)))
    t = swap_test(None, *smiles, others, CODES)
    assert (t["style"] == 0).all() and (t.ratio < 1e-5).all()

def test_a_network_that_takes_on_colours_and_keeps_movement(network, smiles, others):
    "References of the source's own structure in another tint."
    onsets, apexes = (np.clip(s, 60, 195) for s in smiles)
    tints = np.array([[40, 40, 40], [-30, 20, 0], [0, -50, 50]])
    recoloured = lambda images, j: (images.astype(int) + tints[j]).clip(0, 255).astype(np.uint8)
    network(recoloured)
    for k in (0, 1):
        t = swap_test(None, onsets[k:k + 1], apexes[k:k + 1], np.stack([recoloured(onsets[k], j) for j in range(3)]), CODES)
        assert (t["style"] < .01).all() and (t.magnitude > .75).all() and (t.cosine > .8).all() and (abs(t.ratio - 1) < .2).all() and (t.between > .75).all()

def test_a_network_that_goes_half_the_way(network, smiles, others):
    "Mean colours half way between source and reference: style is a half."
    area = regions(64)
    def paint(images, j):
        out = images.astype(float)
        for name in ("face", "hair", "outside"): out[:, area[name]] += (others[j][area[name]].mean(0) - images[:, area[name]].mean(1, keepdims=True))/2
        return out.clip(0, 255).round().astype(np.uint8)
    network(paint)
    t = swap_test(None, *smiles, others, CODES)
    np.testing.assert_allclose(t["style"], .5, atol=.08)

def test_a_network_that_runs_backwards(network, smiles, others):
    network(lambda images, j: images[::-1])
    t = swap_test(None, *smiles, others, CODES)
    assert (t.cosine < -.6).all() and (t.magnitude > .3).all() and (t["style"] > .8).all()

def test_a_network_that_freezes_moves_in_no_style(network, smiles, others):
    network(lambda images, j: np.stack([images[0]]*len(images)) if j == 1 else images)
    t = swap_test(None, *smiles, others, CODES).set_index(["event", "reference"])
    for k in (0, 1):
        assert t.ratio[k, 1] < 1e-5 and t.ratio[k, 0] == pytest.approx(1) and t.magnitude[k, 2] == pytest.approx(1)
        assert t.between[k, 2] == pytest.approx(1) and not t.between[k, 0] > .9 and not t.between[k, 1] > .9       # with the next: the last's next is the first

def test_movement_is_looked_for_where_the_unit_acts(network, smiles, others):
    "A network that keeps the lower face and freezes the upper: the mouth agrees, the brows do not."
    def paint(images, j):
        out = images.copy()
        out[:, :38] = images[0, :38]
        return out
    network(paint)
    mouth, brows = (swap_test(None, *smiles, others[:2], CODES[:2], au) for au in (12, 4))
    assert (mouth.magnitude > .9).all() and (mouth.ratio > .8).all()
    assert (brows.ratio < .6*mouth.ratio).all()

@pytest.mark.parametrize("method", ["dis", "farneback"])
def test_methods_of_flow(network, smiles, others, method):
    network(lambda images, j: images)
    np.testing.assert_allclose(swap_test(None, *smiles, others[:2], CODES[:2], method=method).cosine, 1, atol=1e-6)

def test_mean_colours_of_face_hair_and_background():
    area, p = regions(64), np.zeros((64, 64, 3), np.uint8)
    p[area["face"]], p[area["hair"]], p[area["outside"]] = (200, 150, 100), (40, 30, 20), (5, 6, 250)
    np.testing.assert_array_equal(mean_colours(p), [200, 150, 100, 40, 30, 20, 5, 6, 250])

def test_own_style_and_others(network, others):
    "A network that paints whatever it sees as the person of the code: its own picture comes back whole."
    network(lambda images, j: others[j][None])
    t = reconstruction_table(None, others, CODES)
    gap = np.abs(others[:, None].astype(float) - others).mean((2, 3, 4))
    assert t.portrait.tolist() == [0, 1, 2] and (t.own == 0).all()
    np.testing.assert_allclose(t.others, gap.sum(1)/2)
    network(lambda images, j: images)
    assert (reconstruction_table(None, others, CODES)[["own", "others"]] == 0).all(axis=None)
    network(lambda images, j: np.zeros_like(images))                                        # no wrap-around of small integers
    np.testing.assert_allclose(reconstruction_table(None, others, CODES).own, others.mean((1, 2, 3)))

# speed

def test_the_fastest_repeat_counts_and_the_first_only_warms_up(monkeypatch):
    ticks = iter([0, 100, 104, 104, 106, 106, 111])
    monkeypatch.setattr("mespot.samm_synth.time", types.SimpleNamespace(perf_counter=lambda: next(ticks)))
    config = StarGANConfig(64, style_dim=8, latent_dim=4, dim_in=4, max_conv_dim=8, hidden_dim=8)
    t = throughput({"small": config}, batch=3, repeats=3).iloc[0]
    assert t.fps == 3/2 and t.gmac == flops(config)["generator"]/1e9 and t.gmac_per_second == pytest.approx(t.gmac*1.5) and (t.pixels, t.batch, t.network) == (64, 3, "small")

def test_a_row_for_each_network():
    small = dict(style_dim=8, latent_dim=4, max_conv_dim=8, hidden_dim=8)
    t = throughput({"a": StarGANConfig(64, dim_in=4, **small), "b": StarGANConfig(128, dim_in=4, **small)}, repeats=1)
    assert list(t) == ["network", "pixels", "batch", "gmac", "fps", "gmac_per_second"] and t.network.tolist() == ["a", "b"] and t.pixels.tolist() == [64, 128]
    assert (t.fps > 0).all() and t.gmac[1] > 3*t.gmac[0]

# synthetic videos of a licensed set

@pytest.fixture
def measured(tmp_path):
    "A folder of OpenFace's tables of two short synthetic videos, the tables, and the table of videos."
    short = phantom("tiny", subjects=2, seconds=1.)
    tables = {name: short.au_table(v) for name, v in zip(("006_1", "007_12"), short.videos.video)}
    for name, t in tables.items(): write_openface_csv(t, tmp_path/f"{name}.csv")
    return tmp_path, tables, pd.DataFrame(dict(video=list(tables), subject=["006", "007"], fps=200., n_frames=30))

def test_tables_go_by_the_names_of_the_originals(measured):
    folder, tables, videos = measured
    found = synthetic_tables(str(folder), videos)
    assert list(found) == ["006_1", "007_12"]
    for v, t in tables.items(): np.testing.assert_allclose(found[v].AU45_r, t.AU45_r, atol=1e-4)
    assert len(au_correlations(tables, found, videos)) == 34
    assert list(synthetic_tables(folder, videos.iloc[1:])) == ["007_12"]

def test_a_table_that_is_missing_or_of_another_length_is_named(measured):
    folder, _, videos = measured
    with pytest.raises(MespotError, match="006_1.csv goes up to frame 30 .* 31 frames"): synthetic_tables(folder, videos.assign(n_frames=[31, 30]))
    (folder/"007_12.csv").unlink()
    with pytest.raises(MespotError, match=r"has no 007_12.csv \(1 missing in all\)"): synthetic_tables(folder, videos)
    with pytest.raises(MespotError, match=r"has no 006_1.csv \(2 missing in all\)"): synthetic_tables(folder/"nowhere", videos)
    (folder/"007_12.csv").write_text("no table")
    with pytest.raises(MespotError, match="007_12.csv"): synthetic_tables(folder, videos)
