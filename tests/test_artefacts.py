"Artefact measures: each rises with its own artefact, light, size and missing faces change little, and the worst videos come first."
import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from scipy.stats import spearmanr
from mespot.core import MespotError
from mespot.data.phantom import phantom
from mespot.data.portrait import phantom_portraits
from mespot.data.portrait_artefacts import spoiled
from mespot.measure.artefacts import (LEAST_SPREAD, LIMITS, artefact_table, background_spread, blinks, blob_score, change_at_blinks, change_outside, changes, glasses_score, reference_check,
    reference_warnings, regions, video_artefacts)

OWN = dict(flicker="change_outside", hair="change_at_blinks", blobs="blob_score", glasses="glasses_score")

@pytest.fixture(scope="module")
def clip():
    "Portraits (120, 64, 64, 3) of a phantom without glasses, and its AU45."
    ph = phantom("tiny", fps=10., seconds=12.)
    return phantom_portraits(ph, "p002_1", 64), ph.au_table("p002_1").AU45_r.to_numpy()

def still(size=64, n=40, seed=0, background=120):
    "A flat face before a flat wall with sensor noise, (n, size, size, 3) uint8."
    base = np.full((size, size, 3), background, float)
    base[regions(size)["face"]] = 150; base[regions(size)["hair"]] = 60
    base = cv2.GaussianBlur(base, (0, 0), size/64)
    return np.rint(base + np.random.default_rng(seed).normal(0, 2, (n, size, size, 1))).clip(0, 255).astype(np.uint8)

# ---- regions

@settings(deadline=None, max_examples=20)
@given(st.integers(64, 256))
def test_regions_are_disjoint_symmetric_and_the_same_at_every_size(size):
    r = regions(size)
    assert not (r["face"] & r["hair"] | r["hair"] & r["outside"] | r["face"] & r["outside"]).any() and not ((r["eyes"] | r["mouth"]) & ~r["face"]).any()
    for name, mask in r.items():
        assert (mask != mask[:, ::-1]).mean() < .003
        assert mask.mean() == pytest.approx(regions(1024)[name].mean(), abs=.02) and mask.any()
    at = lambda name, u, v: r[name][int(v*size), int(u*size)]
    assert at("eyes", .375, .4725) and at("eyes", .625, .4725) and at("mouth", .5, .7475) and at("face", .5, .3) and at("hair", .5, .06) and at("outside", .03, .5)
    assert not any(mask[-1, size//2] for mask in r.values())                  # the neck is none of them

# ---- artefacts on purpose

def test_strength_0_changes_no_byte_and_the_seed_says_which_artefact(clip):
    video, au45 = clip
    few = video[:5]
    assert np.array_equal(spoiled(few, 1, au45[:5]), few) and spoiled(few, 1) is not few
    a, b, c = spoiled(few, 1, blobs=.5), spoiled(few, 1, blobs=.5), spoiled(few, 2, blobs=.5)
    assert np.array_equal(a, b) and not np.array_equal(a, c) and not np.array_equal(few, a) and a.dtype == np.uint8 and a.shape == few.shape

def test_each_artefact_stays_in_its_place(clip):
    video, au45 = clip
    changed = {kind: (spoiled(video, 3, au45, **{kind: 1.}) != video).any(3) for kind in OWN}      # (n, 64, 64)
    area = regions(64)
    middle = cv2.erode(area["face"].astype(np.uint8), np.ones((9, 9))).astype(bool)
    assert not changed["hair"][au45 == 0].any() and changed["hair"][au45 == 5][:, area["hair"]].mean() > .5
    assert changed["hair"][:, middle].mean() < .01 and changed["flicker"][:, middle].mean() < .1 < .8 < changed["flicker"][:, area["outside"]].mean()
    assert changed["glasses"][:, area["face"]].any() and not changed["glasses"][:, area["mouth"] | area["outside"]].any()

def test_an_artefact_is_the_same_at_twice_the_size():
    small, large = (spoiled(still(size, 4), 1, blobs=1., flicker=.5, glasses=1.).mean(0) for size in (64, 128))
    shrunk = cv2.resize(large, (64, 64), interpolation=cv2.INTER_AREA)
    inside = np.ones((64, 64), bool); inside[:2] = inside[-2:] = inside[:, :2] = inside[:, -2:] = False
    assert np.abs(small - shrunk)[inside].mean() < 4 and np.corrcoef((small - still(64, 4).mean(0)).ravel(), (shrunk - still(64, 4).mean(0)).ravel())[0, 1] > .9

def test_spoiled_refuses_what_it_cannot_do(clip):
    video = clip[0][:3]
    for strength in (-.1, 1.01, np.nan):
        with pytest.raises(MespotError, match="flicker"): spoiled(video, 1, flicker=strength)
    with pytest.raises(MespotError, match="closed"): spoiled(video, 1, hair=.1)
    with pytest.raises(MespotError, match="each of the 3 frames"): spoiled(video, 1, closed=[True], hair=.1)

# ---- the measures

@pytest.mark.parametrize("kind", OWN)
def test_a_measure_rises_with_its_own_artefact_and_little_with_the_others(clip, kind):
    video, au45 = clip
    strengths = np.linspace(0, 1, 8)
    measure = dict(change_outside=change_outside, change_at_blinks=lambda a, b: change_at_blinks(a, b, au45), blob_score=lambda a, b: blob_score(b), glasses_score=lambda a, b: glasses_score(b))[OWN[kind]]
    own = [measure(video, spoiled(video, 7, au45, **{kind: s})) for s in strengths]
    assert spearmanr(strengths, own)[0] >= .9 and own[-1] - own[0] > .05
    table = pd.DataFrame([video_artefacts(video, spoiled(video, 7, au45, **{kind: s}), au45) for s in (0, 1)])
    full = dict(change_outside=.1, change_at_blinks=.15, blob_score=.11, glasses_score=.35)     # about what their own artefact does at full strength
    for name in set(OWN.values()) - {OWN[kind]}:
        if (kind, name) != ("blobs", "change_outside"):                       # half of the blobs come and go
            assert abs(table[name].iloc[-1] - table[name].iloc[0]) < .35*full[name], name

def test_a_video_is_as_still_as_itself_and_the_table_calls_the_same_measures(clip):
    video, au45 = clip
    assert change_outside(video, video) == 0 == change_at_blinks(video, video, au45) == blob_score(video, video)
    bad = spoiled(video, 1, au45, hair=.3, blobs=.3, flicker=.2)
    assert change_outside(bad, video) == -change_outside(video, bad) < 0
    assert video_artefacts(video, bad, au45) == pytest.approx(dict(change_outside=change_outside(video, bad), change_at_blinks=change_at_blinks(video, bad, au45), blob_score=blob_score(bad, video),
        glasses_score=max(glasses_score(video), glasses_score(bad))))
    assert blob_score(bad, bad[0]) == pytest.approx(blob_score(bad) - blob_score(bad[0]))

def test_glasses_in_the_original_count_for_the_pair(clip):
    video, au45 = clip
    worn = spoiled(video, 1, glasses=1.)
    assert video_artefacts(worn, video, au45)["glasses_score"] == pytest.approx(glasses_score(worn)) and glasses_score(worn) > LIMITS["glasses"] > glasses_score(video)

@pytest.mark.parametrize("gain", [.5, .8])
def test_exposure_changes_little(clip, gain):
    video, au45 = clip
    bad = spoiled(video, 1, au45, hair=.5, blobs=.5, flicker=.3)
    bright = np.clip(2*bad.astype(float), 0, 255).astype(np.uint8)               # fill the range first, or rounding counts
    dim = lambda x: np.rint(gain*x).astype(np.uint8)
    a, b = video_artefacts(video, bright, au45), video_artefacts(dim(video.astype(float)), dim(bright.astype(float)), au45)
    for name in LEAST_SPREAD: assert b[name] == pytest.approx(a[name], rel=.1, abs=.005), name

def test_the_size_of_the_portrait_changes_little(clip):
    video, au45 = clip
    large = np.stack([cv2.resize(f, (128, 128), interpolation=cv2.INTER_LINEAR) for f in video])
    a, b = (video_artefacts(x, spoiled(x, 1, au45, hair=.5, blobs=.5, flicker=.3, glasses=.5), au45) for x in (video, large))
    for name in LEAST_SPREAD: assert b[name] == pytest.approx(a[name], rel=.2, abs=.01), name

def test_light_and_noise_are_no_artefacts():
    video = still(n=60)
    t, slope = np.arange(60)/60, np.linspace(-.2, .2, 64)[:, None]
    light = (1 + .3*np.sin(2*np.pi*t))[:, None, None, None]*(1 + np.cos(4*np.pi*t)[:, None, None, None]*slope)
    lit = np.rint(video*light + np.random.default_rng(1).normal(0, 2, video.shape)).clip(0, 255).astype(np.uint8)
    assert change_outside(video, lit) < .01 and blob_score(lit, video) < .01
    assert change_outside(video, spoiled(video, 1, flicker=.25)) > .015

def test_frames_without_a_face_are_left_out(clip):
    video, au45 = clip
    bad = spoiled(video, 1, au45, hair=.5, blobs=.5, flicker=.3)
    holed, kept = bad.copy(), au45 < 1
    gone = np.flatnonzero(kept)[::9]
    holed[gone] = 0
    assert np.isnan(changes(holed)).any((1, 2)).nonzero()[0].tolist() == gone.tolist()
    a, b = video_artefacts(video, bad, au45), video_artefacts(video, holed, au45)
    for name in LEAST_SPREAD: assert b[name] == pytest.approx(a[name], rel=.25, abs=.01), name

# ---- blinks

@given(st.lists(st.booleans(), max_size=60))
def test_blinks_are_the_runs_of_closed_eyes(closed):
    spans, is_open = blinks(np.array(closed, bool))
    again = np.zeros(len(closed), bool)
    for a, b in spans: again[a:b+1] = True
    assert again.tolist() == closed and (is_open == ~again).all()
    assert all(b + 1 < c for (_, b), (c, _) in zip(spans, spans[1:]))

def test_an_intensity_says_when_eyes_are_closed():
    assert blinks([0, 1, 2, 4, 3, 1.9, 0])[0].tolist() == [[2, 4]]
    assert blinks([0, .4, .3, 0])[0].tolist() == [] and blinks(np.full(4, np.nan))[0].tolist() == []          # noise of a tracker; no face
    spans, is_open = blinks([0, 5, np.nan, 5, 0])
    assert spans.tolist() == [[1, 1], [3, 3]] and is_open.tolist() == [True, False, False, False, True]

def test_without_a_usable_blink_there_is_no_number():
    video = still()
    for closed in (np.zeros(40, bool), np.zeros(40), np.full(40, np.nan), np.ones(40, bool), np.arange(40) < 2):
        assert np.isnan(change_at_blinks(video, video, closed))
    assert np.isnan(video_artefacts(video, video, np.zeros(40))["change_at_blinks"])
    assert change_at_blinks(video, video, np.arange(40) == 20) == 0

def test_a_known_change_at_blinks_has_its_known_size():
    video, closed = still(n=80), np.isin(np.arange(80) % 20, (9, 10, 11))
    changed = video.copy()
    changed[closed] = np.where((regions(64)["hair"] | regions(64)["outside"])[..., None] & (np.indices((64, 64)).sum(0) // 8 % 2 == 0)[..., None], changed[closed] + 30, changed[closed])
    expected = 15/150                                                        # the pattern; its mean might be light
    assert change_at_blinks(video, changed, closed) == pytest.approx(expected, rel=.25)
    assert change_at_blinks(video, changed, np.roll(closed, 7)) < .1*expected                     # the same changes at other times
    drift = np.rint(video + np.linspace(0, 40, 80)[:, None, None, None]*(np.indices((64, 64)).sum(0) // 8 % 2)[..., None]).clip(0, 255).astype(np.uint8)
    assert abs(change_at_blinks(video, drift, closed)) < .01

# ---- blobs, glasses, references

def test_a_spot_is_a_blob_wherever_it_lies_outside_and_an_edge_is_not():
    video, (v, u) = still(n=6), (np.mgrid[:64, :64] + .5)/64
    levels = {}
    for x, y in ((.08, .2), (.93, .5), (.06, .6)):
        spot = 60*np.exp(-.5*((u - x)**2 + (v - y)**2)/.04**2)[..., None]
        levels[x, y] = blob_score(np.rint(video + spot).astype(np.uint8), video)
    assert min(levels.values()) > .03 and blob_score(np.rint(video + 60*np.exp(-.5*((u - .5)**2 + (v - .6)**2)/.04**2)[..., None]).astype(np.uint8), video) < .01
    wall = video.copy(); wall[:, :20] = np.minimum(wall[:, :20].astype(int) + 60, 255)               # a shelf
    assert blob_score(wall, video) < .3*min(levels.values())

def test_a_blob_that_comes_and_goes_counts_though_the_median_picture_has_none():
    video, (v, u) = still(n=40), (np.mgrid[:64, :64] + .5)/64
    spot = 60*np.exp(-.5*((u - .08)**2 + (v - .1)**2)/.04**2)[..., None]*(np.arange(40) % 5 == 0)[:, None, None, None]
    assert blob_score(np.rint(video + spot).astype(np.uint8), video) > .015

def test_a_mere_brow_line_or_bags_are_no_glasses():
    face = still(n=1)[0]
    bridge, below = face.copy(), face.copy()
    bridge[30, 26:38] = 40
    below[36, 20:28] = 40; below[36, 36:44] = 40
    both = np.minimum(bridge, below)
    assert glasses_score(bridge) < LIMITS["glasses"] > glasses_score(below) and glasses_score(both) > LIMITS["glasses"]

@pytest.mark.parametrize("seed", [0, 5])
def test_references_of_the_phantom_are_told_apart(seed):
    from mespot.data.phantom_face import identity
    ph = phantom("tiny", seed=seed, subjects=20, seconds=2.)
    worn = [v for v in ph.videos.video if identity(ph._seeds(v)[0])["glasses"]][:1]
    bare = [v for v in ph.videos.video if v not in worn and not identity(ph._seeds(v)[0])["glasses"]][:1]
    for v in worn + bare:
        for plain in (True, False):
            check = reference_check(phantom_portraits(ph, v, 64, [0], plain=plain)[0])
            assert (check["glasses"] > LIMITS["glasses"]) == (v in worn) and (check["background"] > LIMITS["background"]) == (not plain) and check["size"] == 64
            said = reference_warnings(check, f"{v}.png")
            assert len(said) == (v in worn) + (not plain) and all(f"{v}.png" in s and "choose" in s for s in said)

def test_a_lamp_on_one_side_leaves_a_wall_uniform_and_hair_that_stands_out_too():
    wall = still(n=1)[0]
    lamp = np.rint(wall*np.linspace(.7, 1.2, 64)[:, None]).astype(np.uint8)
    hair = wall.copy(); hair[20:30, 6:9] = 20
    shelves = wall.copy(); shelves[:12] = 40; shelves[20:44, :8] = 200
    assert max(background_spread(wall), background_spread(lamp), background_spread(hair)) < LIMITS["background"] < background_spread(shelves)

# ---- errors

def test_what_is_no_portrait_is_refused():
    video = still()
    for bad, text in ((video.astype(float), "float64"), (video[..., 0], "uint8 RGB"), (video[:, :, :32], "n, S, S, 3"), (video[:, ::2, ::2], "32 pixels wide"), (video[:1], "1 frame"), (0*video, "0 frame")):
        with pytest.raises(MespotError, match=text): changes(bad)
    with pytest.raises(MespotError, match="40 frames, the synthetic video 39"): change_outside(video, video[1:])
    with pytest.raises(MespotError, match="39 values of closed eyes for 40 frames"): change_at_blinks(video, video, np.zeros(39))
    with pytest.raises(MespotError, match="one value a frame"): change_at_blinks(video, video, np.zeros((40, 2)))
    with pytest.raises(MespotError, match="reference"): reference_check(video)
    with pytest.raises(MespotError, match="n, S, S, 3"): glasses_score(video[0, ..., 0])
    early, late = video.copy(), video.copy()
    early[20:], late[:20] = 0, 0
    with pytest.raises(MespotError, match="both"): change_outside(early, late)

# ---- the table

def row(video, **values): return dict(dict.fromkeys(LEAST_SPREAD, 0.), video=video, **{}) | values

def test_spoiled_videos_come_first(clip):
    video, au45 = clip
    rows = [dict(video=f"clean {k}", **video_artefacts(video, spoiled(video, k, au45, blobs=.02*k), au45)) for k in range(3)]
    rows += [dict(video=kind, **video_artefacts(video, spoiled(video, 1, au45, **{kind: .6}), au45)) for kind in OWN]
    table = artefact_table(rows)
    assert set(table.video[:4]) == set(OWN) and table["rank"].tolist() == sorted(table["rank"])
    assert all(table.worst[table.video == kind].item() == name for kind, name in OWN.items())

def test_equal_videos_share_a_rank_and_a_spread_of_0_gives_no_infinity():
    table = artefact_table([row(v) for v in "abc"])
    assert table["rank"].tolist() == [1, 1, 1] and table.video.tolist() == list("abc") and (table.filter(like="z_").to_numpy() == 0).all()
    table = artefact_table([row("a"), row("b"), row("c", blob_score=.05), row("d"), row("e", blob_score=.05), row("f", glasses_score=-1.)])
    assert table.video.tolist() == list("ceabdf") and table["rank"].tolist() == [1, 1, 3, 3, 3, 3] and table.worst[0] == "blob_score"
    assert table.z_blob_score[0] == pytest.approx(.05/LEAST_SPREAD["blob_score"]) and np.isfinite(table.filter(like="z_").to_numpy()).all()

def test_what_is_not_known_is_left_out_and_a_video_of_which_nothing_is_known_comes_last():
    unknown = dict.fromkeys(LEAST_SPREAD, np.nan)
    table = artefact_table([row("nothing", **unknown), row("no blink", change_at_blinks=np.nan, change_outside=.1), row("a"), row("b")])
    assert table.video.tolist() == ["no blink", "a", "b", "nothing"] and table["rank"].tolist() == [1, 2, 2, 4]
    assert table.worst[0] == "change_outside" and pd.isna(table.worst[3]) and np.isnan(table.z_change_at_blinks[0])

def test_z_is_against_the_calibration_if_there_is_one():
    known = pd.DataFrame({m: [0., 1., 2., 3., 100.] for m in LEAST_SPREAD})
    table = artefact_table([row("a", blob_score=2 + 3*1.4826)], known)
    assert table.z_blob_score[0] == pytest.approx(3) and table.z_change_outside[0] == pytest.approx(-2/1.4826) and table.worst[0] == "blob_score"

def test_rows_that_lack_something_are_refused():
    with pytest.raises(MespotError, match="no glasses_score"): artefact_table([{k: v for k, v in row("a").items() if k != "glasses_score"}])
    with pytest.raises(MespotError, match="video a is there twice"): artefact_table([row("a"), row("a")])
    with pytest.raises(MespotError, match="no video"): artefact_table([])
