"What is measured of generated sequences: bends of traces, maps, frames around the apex, stillness, loops, identity."
import matplotlib.pyplot as plt
import numpy as np
import pytest
import cv2
from hypothesis import assume, given, strategies as st
from mespot.core import MespotError, one_thread
from mespot.data.phantom_sequences import expression_sequences
from mespot.measure.sequences import (LOOP_AT, STILL_AT, apex_window, autocorrelation, flow_value_map, frame_difference_map, identity_drift, linear_sequence, loopiness, motion_energy,
                                      nonlinearity, on_one_scale, plot_maps, stillness)
from figures import title_of

@pytest.fixture(scope="module", autouse=True)
def single(): one_thread()

@pytest.fixture(scope="module")
def macro(): return expression_sequences(3, ("happiness", "disgust"), length=20, seed=11)

@pytest.fixture(scope="module")
def micro(): return expression_sequences(2, ("happiness",), length=20, seed=11, peak=(.8, 1.2))

def noisy(frames, s=1., seed=0): return np.clip(np.rint(frames + np.random.default_rng(seed).normal(0, s, frames.shape)), 0, 255).astype(np.uint8)
def shifted(face, by): return cv2.warpAffine(face, np.float32([[1, 0, by], [0, 1, 0]]), face.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)

CURVES = dict(smooth=lambda t: 3*t**2 - 2*t**3, square=lambda t: t**2, root=np.sqrt)


# ---- non-linearity

@given(st.integers(2, 60), st.integers(2, 60), st.floats(-50, 50), st.floats(.01, 50), st.sampled_from((1, -1)))
def test_a_linear_trace_has_no_bend(rise, fall, level, height, sign):
    trace = level + sign*height*np.interp(np.arange(rise + fall + 9), (4, 4 + rise, 4 + rise + fall), (0, 1, 0))
    for bend in nonlinearity(trace, 4, 4 + rise, 4 + rise + fall).values(): assert bend == pytest.approx(0, abs=1e-9)

@given(st.sampled_from(list(CURVES)), st.integers(20, 200), st.floats(-9, 9), st.floats(.1, 9), st.sampled_from((1, -1)))
def test_a_bend_depends_on_neither_scale_nor_level_nor_length(name, n, level, scale, sign):
    curve = CURVES[name]
    trace = lambda n: np.concatenate([curve(np.linspace(0, 1, n)), np.linspace(1, 0, 9)[1:]])
    of = lambda x, n: nonlinearity(x, 0, n - 1, n + 7)["onset"]
    assert of(level + sign*scale*trace(n), n) == pytest.approx(of(trace(n), n), rel=1e-6)
    assert of(trace(n), n) == pytest.approx(of(trace(2000), 2000), rel=.08)

def test_bends_of_known_curves():
    t = np.linspace(0, 1, 4001)
    bend = nonlinearity(np.concatenate([t**2, 1 - (3*t**2 - 2*t**3)[1:]]), 0, 4000, 8000)
    assert bend["onset"] == pytest.approx(np.sqrt(1/30), abs=1e-3)                       # the integral of (t² − t)²
    assert bend["offset"] == pytest.approx(np.sqrt(1/210), abs=1e-3)                     # of (3t² − 2t³ − t)²
    assert nonlinearity(t > .5, 0, 4000, 4000)["onset"] == pytest.approx(np.sqrt(1/12), abs=1e-3)

def test_little_noise_changes_a_bend_little():
    rng, t = np.random.default_rng(0), np.linspace(0, 1, 15)
    straight, curved = ([nonlinearity(s + rng.normal(0, .02, 15), 0, 14, 14)["onset"] for _ in range(200)] for s in (t, CURVES["smooth"](t)))
    assert np.mean(curved) == pytest.approx(nonlinearity(CURVES["smooth"](t), 0, 14, 14)["onset"], abs=.012)
    assert np.quantile(straight, .9) < np.quantile(curved, .1)

def test_bends_without_meaning_are_nan_and_gaps_are_left_out():
    assert np.isnan(list(nonlinearity(np.ones(9), 0, 4, 8).values())).all()
    assert np.isnan(nonlinearity(np.arange(9.), 3, 4, 8)["onset"])                       # no frame between
    trace = np.arange(9.); trace[2] = np.nan
    assert nonlinearity(trace, 0, 4, 8)["onset"] == pytest.approx(0)
    for wrong in ((5, 4, 8), (0, 4, 9), (-1, 4, 8)):
        with pytest.raises(MespotError, match="in order"): nonlinearity(np.arange(9.), *wrong)


# ---- the linear generator

def test_a_cross_fade_has_equal_steps_of_grey():
    frames = linear_sequence(np.full((8, 8), 10, np.uint8), np.full((8, 8), 110, np.uint8), 16, 10)
    assert (frames == frames[:, :1, :1]).all() and (frames[:11, 0, 0] == 10 + 10*np.arange(11)).all() and (frames[10:, 0, 0] == 110 - 20*np.arange(6)).all()

def test_a_warp_moves_in_equal_steps_and_does_not_double_edges():
    y, x = np.mgrid[:64., :64.]
    dot = lambda at: np.rint(200*np.exp(-((x - at)**2 + (y - 32)**2)/8)).astype(np.uint8)
    flow = np.zeros((64, 64, 2)); flow[..., 0] = 12
    warped, faded = (linear_sequence(dot(24), dot(36), 13, 6, f) for f in (flow, None))
    centre = (warped.sum(1)*np.arange(64)).sum(1)/warped.sum((1, 2))
    np.testing.assert_allclose(centre[:7], 24 + 2*np.arange(7), atol=.1)
    assert warped[3].max() > 190 > 110 > faded[3].max()
    assert (warped[6] == dot(36)).all() and (warped[0] == dot(24)).all() and (warped[-1] == dot(24)).all()

def test_a_warp_follows_a_flow_that_differs_by_place():
    "The place half way is reached from where the point started, not read off where it arrives."
    y, x = np.mgrid[:64., :64.].astype(np.float32)
    flow = np.stack([.3*(x - 32), 0*x], -1)                                              # stretched about the middle: 20 goes to 16.4, half way 18.2
    bar = lambda at: np.rint(200*np.exp(-(x - at)**2/4)).astype(np.uint8)
    for ends in ((bar(20), 0*bar(20)), (0*bar(20), bar(16.4))):                          # each end for itself: what one gets wrong the other would even out
        middle = linear_sequence(*ends, 5, 2, flow)[1][32].astype(float)
        assert (middle*np.arange(64)).sum()/middle.sum() == pytest.approx(18.2, abs=.1)

@pytest.mark.parametrize("arguments, message", [((2,), "at least 3"), ((9, 0), "between"), ((9, 8), "between"), ((9, 4, np.zeros((8, 8))), "flow")])
def test_a_linear_sequence_that_cannot_be_made(arguments, message):
    with pytest.raises(MespotError, match=message): linear_sequence(np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8), *arguments)

def test_a_linear_sequence_needs_grey_frames_of_one_size():
    with pytest.raises(MespotError, match="one size"): linear_sequence(np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8), 9)


# ---- maps

def test_a_difference_map_is_standardised_then_blurred():
    a = np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8)
    b = a.copy(); b[20, 30] ^= 128
    raw, blurred = (frame_difference_map(a, b, k) for k in (1, 5))
    assert raw.mean() == pytest.approx(0, abs=1e-4) and raw.std() == pytest.approx(1, abs=1e-4) and np.unravel_index(raw.argmax(), raw.shape) == (20, 30)
    assert (blurred > blurred.min() + 1e-3).sum() == 25                                   # a kernel of 5
    np.testing.assert_allclose(frame_difference_map(b, a), blurred, atol=1e-6)            # 0 − 128 must not wrap round
    assert frame_difference_map(a, a).any() == False
    for wrong in ((a, a[1:]), (a, b, 4)):
        with pytest.raises(MespotError): frame_difference_map(*wrong)

def test_maps_share_one_scale():
    (weak, strong), limits = on_one_scale([np.array([1., 2.]), np.array([2., 5.])])
    assert limits == (1, 5) and weak.tolist() == [0, .25] and strong.tolist() == [.25, 1]
    assert on_one_scale([np.ones(3)]*2)[0][1].tolist() == [0, 0, 0]

def test_flow_values_are_pixels(macro):
    face = macro.frames[0][0]
    assert np.median(flow_value_map(face, shifted(face, 2))[16:48, 16:48]) == pytest.approx(2, abs=.15)

def test_a_micro_expression_has_less_energy(macro, micro):
    strong, weak = macro.frames[0], micro.frames[0]                                       # one person
    a, b = motion_energy(strong), motion_energy(weak)
    assert len(a) == len(strong) and a[0] == 0 and a[-1] < .2*a.max() and b.max() < .7*a.max()
    assert abs(int(a.argmax()) - macro.table.apex[0]) <= 5

def test_maps_are_drawn_on_one_scale(macro, micro):
    fig = plot_maps({"micro": (micro.frames[0][0], micro.frames[0][10]), "macro": (macro.frames[0][0], macro.frames[0][10])})
    images = [ax.images[0] for ax in fig.axes[:8]]
    assert images[2].get_clim() == images[6].get_clim() and images[3].get_clim() == images[7].get_clim() != images[2].get_clim()
    assert [title_of(ax) for ax in fig.axes[:4]] == ["onset", "apex", "difference", "flow value"]
    plt.close(fig)


# ---- frames around the apex

@given(st.integers(0, 60), st.integers(5, 61), st.integers(0, 2**32 - 1), st.integers(0, 7), st.integers(4, 10))
def test_frames_around_the_apex(apex, n, seed, first, second):
    assume(apex < n)
    got = apex_window(apex, n, np.random.default_rng(seed), first, second)
    assert got.shape == (5,) and (np.diff(got) > 0).all() and 0 <= got[0] and got[-1] < n
    assert any(abs(c - apex) <= first and (abs(got - c) <= second).all() for c in got)    # the chosen one is among them

@pytest.mark.parametrize("apex, n", [(30, 61), (2, 61), (59, 61)])
def test_every_frame_in_reach_is_drawn_and_the_chosen_one_is_even(apex, n):
    rng = np.random.default_rng(0)
    got = np.stack([apex_window(apex, n, rng) for _ in range(1500)])
    assert set(got.ravel()) == set(range(max(0, apex - 13), min(n, apex + 14)))
    alone = np.concatenate([apex_window(apex, n, rng, frames=1) for _ in range(3000)])    # the chosen one only
    counts = np.unique(alone, return_counts=True)[1]
    assert set(alone) == set(range(max(0, apex - 5), min(n, apex + 6))) and counts.min() > .75*counts.mean()

@pytest.mark.parametrize("apex, n, options", [(0, 4, {}), (20, 20, {}), (-1, 20, {}), (5, 20, dict(second=3)), (5, 20, dict(frames=0))])
def test_a_clip_too_short_for_frames_around_the_apex(apex, n, options):
    with pytest.raises(MespotError, match="apex window"): apex_window(apex, n, np.random.default_rng(0), **options)


# ---- standing still and going round

def test_single_expressions_neither_stand_still_nor_loop(macro, micro):
    for f in (*macro.frames, *micro.frames): assert stillness(f) < .5*STILL_AT and loopiness(f)["strength"] < .5*LOOP_AT

@pytest.mark.parametrize("noise", [0, .5, 1, 3])
@pytest.mark.parametrize("n", [10, 24, 60])
def test_a_frozen_face_stands_still_with_and_without_noise(macro, noise, n):
    for i, f in enumerate(macro.frames[::2]):
        frozen = noisy(np.repeat(f[:1], n, 0), noise, i)
        assert stillness(frozen) > 1.4*STILL_AT and loopiness(frozen)["strength"] < LOOP_AT

def test_a_lamp_that_fades_is_no_movement(macro):
    face = macro.frames[0][0]
    assert stillness(noisy(face*np.linspace(1, .8, 24)[:, None, None])) > STILL_AT

def test_repeated_expressions_are_loops_of_their_period(macro, micro):
    for f in (*macro.frames, *micro.frames):
        loop = noisy(np.concatenate([f]*4))
        got = loopiness(loop, fps=20)
        assert got["strength"] > .9 and got["period"] == 20 and got["seconds"] == 1 and stillness(loop) < STILL_AT
    assert loopiness(noisy(np.concatenate([macro.frames[0]]*2)))["period"] == 20          # twice is the least
    assert loopiness(noisy(np.concatenate([macro.frames[0][:13:2]]*6)))["period"] == 7

def test_a_loop_of_uneven_strength_has_the_shorter_period(macro):
    for f in macro.frames[1:4]:
        weak = f[:1] + .72*(f.astype(float) - f[:1])
        assert loopiness(noisy(np.concatenate([f, weak]*3)))["period"] == 20

def test_a_rest_between_does_not_hide_a_loop_nor_make_one(macro):
    f = macro.frames[1]
    rest = np.repeat(f[:1], 30, 0)
    assert loopiness(noisy(np.concatenate([rest, f, rest])))["strength"] < .5*LOOP_AT
    assert loopiness(noisy(np.concatenate([f, rest]*3)))["period"] == 50

def test_a_drift_is_neither(macro):
    for f in macro.frames[::2]:
        drift = noisy(np.stack([shifted(f[0], by) for by in np.linspace(0, 3, 48)]))
        assert stillness(drift) < STILL_AT and loopiness(drift)["strength"] < .5*LOOP_AT

def test_autocorrelation_of_a_pure_turn():
    "A pattern that goes round a circle: the cosine of the angle between frames."
    rng = np.random.default_rng(0)
    p, q = rng.normal(0, 1, (2, 8, 8)).repeat(8, 1).repeat(8, 2)
    angle = 2*np.pi*np.arange(48)/12
    frames = np.clip(128 + 30*rng.normal(0, 1, (64, 64)) + 3*(np.cos(angle)[:, None, None]*p + np.sin(angle)[:, None, None]*q), 0, 255).astype(np.uint8)
    r = autocorrelation(frames)
    assert len(r) == 25 and r[1] == pytest.approx(1) and r[12] > 1 > r[9] > -.2 and r[6] < -1 and abs(r[3]) < .1

@pytest.mark.parametrize("measure, least", [(stillness, 4), (loopiness, 8), (autocorrelation, 8), (motion_energy, 1)])
def test_frames_that_cannot_be_measured(measure, least):
    for wrong in (np.zeros((least - 1, 64, 64), np.uint8), np.zeros((24, 64, 64)), np.zeros((24, 64, 64, 3), np.uint8)):
        with pytest.raises(MespotError, match="uint8"): measure(wrong)


# ---- identity

def test_a_face_that_fades_into_another_crosses_nought_half_way(macro):
    z = macro.frames[::2, 0].astype(float)
    people = np.clip(110 + 30*(z - z.mean((1, 2), keepdims=True))/z.std((1, 2), keepdims=True), 0, 255).astype(np.uint8)      # of one contrast, or the stronger wins early
    for k in range(3):
        others, to = np.delete(people, k, 0), people[(k + 1) % 3]
        margin = identity_drift(linear_sequence(people[k], to, 41, 20)[:21], people[k], others)
        assert (np.diff(margin) < 0).all() and abs(np.flatnonzero(margin < 0)[0] - 10.5) <= 1.5

def test_an_expression_keeps_the_identity_and_light_does_not_matter(macro):
    people = macro.frames[::2, 0]
    for i, f in enumerate(macro.frames):
        others = np.delete(people, i//2, 0)
        margin = identity_drift(f, people[i//2], others)
        assert margin.shape == (20,) and margin.min() > .05
        assert identity_drift((f*.7).astype(np.uint8), people[i//2], others) == pytest.approx(margin, abs=.05)
        assert identity_drift(f, others[0], people[i//2:i//2 + 1]).max() < 0

def test_identity_needs_faces_of_one_size(macro):
    with pytest.raises(MespotError, match="one size"): identity_drift(macro.frames[0], macro.frames[0][0][1:], macro.frames[:, 0])
    with pytest.raises(MespotError, match="uint8"): identity_drift(macro.frames[0], macro.frames[0][0], macro.frames[:0, 0])
