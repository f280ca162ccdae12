"Optical flow: its direction and size, its pictures, strain, agreement by region, and the phantom's true flow."
import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from mespot.core import MespotError, one_thread
from mespot.data.phantom import phantom
from mespot.data.phantom_face import ACTION_UNITS, EYE_BOX, au_fields, identity
from mespot.data.phantom_truth import flow_errors, true_flow
from mespot.data.registration import TO_VIEW, move
from mespot.kit.explore_view import FLOW_FULL, frame_picture
from mespot.signal.flow import (METHODS, angular_error, endpoint_error, flow_key, flow_picture, flow_pictures, magnitude_correlation, optical_flow, optical_strain, plot_flow_pair, region_boxes,
                                region_table)
from mespot.signal.lcn import lcn
from figures import title_of

INSIDE = np.s_[24:-24, 24:-24]                                        # away from what came in at the border
Y, X = np.mgrid[:112., :112.]
HALVES = dict(left=(0, 0, 56, 112), right=(56, 0, 112, 112))


@pytest.fixture(scope="module", autouse=True)
def single(): one_thread()

def textured(seed=0, sigma=2.5, shape=(112, 112)):
    a = cv2.GaussianBlur(np.random.default_rng(seed).standard_normal(shape), (0, 0), sigma)
    return np.clip(128 + 45*a/a.std(), 0, 255).astype(np.uint8)

def warped(a, matrix): return cv2.warpAffine(a, np.float32(matrix), a.shape[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)

def affine(angle=0., zoom=1., shift=(0., 0.)):
    "About the middle of the view: matrix (2, 3) and the flow (112, 112, 2) that it makes."
    c, s = zoom*np.cos(np.radians(angle)), zoom*np.sin(np.radians(angle))
    turn, middle = np.array([[c, -s], [s, c]]), np.array([55.5, 55.5])
    matrix = np.c_[turn, middle - turn @ middle + shift]
    return matrix, np.stack([X, Y], -1) @ matrix[:, :2].T + matrix[:, 2] - np.stack([X, Y], -1)

def some_flow(seed=0): return np.float32(cv2.GaussianBlur(np.random.default_rng(seed).standard_normal((112, 112, 2)), (0, 0), 6)*20)

A, A_FLOW = textured(), some_flow()


# ---- the methods

@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", [dict(shift=(2, 0)), dict(shift=(0, 1.5)), dict(shift=(-1, -.5)), dict(angle=2.), dict(zoom=1.03, shift=(.4, 0))])
def test_a_known_movement_is_found(method, how):
    matrix, true = affine(**how)
    a = textured()
    flow = optical_flow(a, warped(a, matrix), method)
    assert flow.shape == (112, 112, 2) and flow.dtype == np.float32
    assert endpoint_error(flow[INSIDE], true[INSIDE]) < .12 and angular_error(flow[INSIDE], true[INSIDE]) < 6

@pytest.mark.parametrize("method", METHODS)
def test_backwards_is_the_other_way(method):
    a = textured(1)
    b = warped(a, affine(zoom=1.02, shift=(1.2, -.6))[0])
    there, back = optical_flow(a, b, method)[INSIDE], optical_flow(b, a, method)[INSIDE]
    assert np.hypot(*np.moveaxis(there + back, -1, 0)).mean() < .15*np.hypot(*np.moveaxis(there, -1, 0)).mean()

@pytest.mark.parametrize("method", METHODS)
def test_normalised_frames_hide_a_change_of_light(method):
    "Brightness that changes unevenly moves nothing, and the movement is still found."
    a = textured(2)
    matrix, true = affine(shift=(1., 0.))
    b = (20 + warped(a, matrix)*(.45 + .4*X/111)).astype(np.uint8)
    plain, normalised = (endpoint_error(optical_flow(a, b, method, normalise=n)[INSIDE], true[INSIDE]) for n in (False, True))
    assert normalised < .2 and normalised < plain

def test_colour_is_converted_as_rgb():
    a, b = (np.dstack([textured(s) for s in range(k, k + 3)]) for k in (0, 3))
    np.testing.assert_array_equal(optical_flow(a, b), optical_flow(cv2.cvtColor(a, cv2.COLOR_RGB2GRAY), cv2.cvtColor(b, cv2.COLOR_RGB2GRAY)))
    assert (optical_flow(a[..., ::-1], b[..., ::-1]) != optical_flow(a, b)).any()

def test_options_reach_the_method():
    a, b = textured(0), warped(textured(0), affine(shift=(1, 1))[0])
    assert (optical_flow(a, b, winsize=31) != optical_flow(a, b)).any() and (optical_flow(a, b, "tvl1", attachment=3) != optical_flow(a, b, "tvl1")).any()
    np.testing.assert_array_equal(optical_flow(a, b, "dis", preset=cv2.DISOPTICAL_FLOW_PRESET_MEDIUM), optical_flow(a, b, "dis"))

@pytest.mark.parametrize("a, b, options, says", [
    (A, A, dict(method="horn"), "farneback, dis, tvl1"), (A, A[:100], {}, "two sizes"), (A/255, A/255, {}, "uint8"), (A.astype(np.int16), A, {}, "uint8"), (A[None], A[None], {}, "shape"),
    (A[..., None], A[..., None], {}, "RGB"), (A[:31], A[:31], {}, "32×32"), (A, A, dict(window=3), "window"), (A, A, dict(method="tvl1", engine="matlab"), "scikit-image"),
    (A, A, dict(method="tvl1", glue=1), "glue"), (A, A, dict(poly_n="five"), "poly_n")])
def test_what_cannot_be_is_refused(a, b, options, says):
    with pytest.raises(MespotError, match=says): optical_flow(a, b, **options)

@pytest.mark.skipif(hasattr(cv2, "optflow"), reason="OpenCV has its contrib modules here")
def test_without_contrib_the_engine_says_what_to_install():
    with pytest.raises(MespotError, match="opencv-contrib-python"): optical_flow(A, A, "tvl1", engine="opencv")


# ---- pictures

@pytest.mark.parametrize("flow, colour", [((1, 0), (255, 0, 0)), ((0, 1), (128, 255, 0)), ((-1, 0), (0, 255, 255)), ((0, -1), (128, 0, 255)), ((0, 0), (0, 0, 0))])
def test_hue_is_direction(flow, colour):
    picture = flow_picture(np.full((2, 3, 2), flow, float), full=1)
    assert picture.shape == (2, 3, 3) and picture.dtype == np.uint8 and abs(picture.astype(int) - colour).max() <= 2

@given(st.floats(0, 6.28), st.floats(.01, 3), st.floats(.5, 2))
def test_brightness_is_magnitude_and_saturation_is_full(angle, length, full):
    picture = flow_picture(length*np.full((1, 1, 2), (np.cos(angle), np.sin(angle))), full)[0, 0].astype(int)
    assert abs(picture.max() - 255*min(length/full, 1)) <= 1 and picture.min() == 0

def test_a_pair_has_one_scale():
    strong, weak = some_flow(), .25*some_flow()
    (a, b), full = flow_pictures([strong, weak])
    assert abs(full - np.percentile(np.hypot(*np.moveaxis([strong, weak], -1, 0)), 99.5)) < 1e-4
    lit = (a.max(-1) > 100) & (a.max(-1) < 255)
    assert abs(b.max(-1)[lit]/a.max(-1)[lit] - .25).max() < .02
    np.testing.assert_array_equal(b, flow_picture(weak, full))
    assert abs(flow_picture(weak).max(-1).astype(int) - flow_picture(strong).max(-1)).max() <= 1     # each by itself: nothing to tell them apart
    pictures, full = flow_pictures([0*strong])
    assert full == 0 and not pictures[0].any()

def test_the_key_shows_what_the_pictures_mean():
    key, c = flow_key(41), 20
    assert key.shape == (41, 41, 3) and not key[0, 0].any() and not key[c, c].any()
    for row, column in ((c, 40), (c, 0), (0, c), (40, c), (c + 8, c - 10), (c - 3, c + 9)):
        np.testing.assert_array_equal(key[row, column], flow_picture(np.full((1, 1, 2), ((column - c)/c, (row - c)/c)), 1)[0, 0])

def test_pictures_refuse_what_is_no_flow():
    for bad in (np.zeros((5, 5)), np.zeros((2, 5, 5)), np.zeros((5, 5, 3))):
        with pytest.raises(MespotError, match=r"\(H, W, 2\)"): flow_picture(bad)
    with pytest.raises(MespotError, match="above 0"): flow_picture(np.zeros((5, 5, 2)), full=0)

def test_the_explorer_lays_these_colours_over_the_face():
    a, b = A, warped(A, affine(shift=(3, 0))[0])
    flow = optical_flow(a, b, "dis")
    strength = .75*(np.hypot(*np.moveaxis(flow, -1, 0))/FLOW_FULL).clip(0, 1)[..., None]
    pure = flow_picture(flow/np.hypot(*np.moveaxis(flow, -1, 0))[..., None], 1)[..., ::-1]
    expected = frame_picture(b).astype(float)[:90, :112]*(1 - strength[:90]) + pure[:90]*strength[:90]
    assert abs(frame_picture(b, (a, b))[:90, :112] - expected).max() <= 3


# ---- strain

@given(st.lists(st.floats(-.3, .3), min_size=4, max_size=4), st.tuples(st.floats(-5, 5), st.floats(-5, 5)))
def test_strain_of_a_linear_movement_is_the_norm_of_its_symmetric_part(gradient, shift):
    gradient = np.reshape(gradient, (2, 2))
    strain = optical_strain(np.stack([X, Y], -1) @ gradient.T + shift)
    np.testing.assert_allclose(strain, np.linalg.norm((gradient + gradient.T)/2), atol=1e-10)

def test_strain_of_what_moves_as_a_whole_is_next_to_nothing():
    assert optical_strain(affine(angle=1., shift=(5, -3))[1]).max() < 3e-4 < .04 < optical_strain(affine(zoom=1.03)[1]).min()

def test_strain_lies_where_the_skin_folds():
    flow = np.zeros((112, 112, 2)); flow[..., 1] = 2*np.tanh((Y - 40)/4)
    assert np.unravel_index(optical_strain(flow).argmax(), (112, 112))[0] == 40


# ---- regions

@pytest.mark.parametrize("framing", ["view", "portrait"])
def test_boxes_hold_what_their_action_units_move(framing):
    x, y = np.meshgrid(np.arange(-24, 136, dtype=np.float32), np.arange(-33, 127, dtype=np.float32))
    if framing == "view": to = lambda x, y: move(TO_VIEW, np.stack([x, y], -1))
    else: to = lambda x, y: np.stack([(x - 56)/160 + .5, (y - 46.4)/160 + .5], -1)*112
    at, energy = np.moveaxis(to(x, y), -1, 0), sum((au_fields(identity((5, s)), x, y).reshape(-1, 2, 2, *x.shape).sum(1)**2).sum(1) for s in range(6))
    seen = ((at > 0) & (at < 112)).all(0)
    boxes = region_boxes(112, framing)
    assert set(boxes) == {1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 20, 23, 25, 26, 45}
    for au in set(ACTION_UNITS) - {45}:
        (x0, y0, x1, y1), e = boxes[au], energy[ACTION_UNITS.index(au)]
        inside = (at[0] >= x0) & (at[0] < x1) & (at[1] >= y0) & (at[1] < y1) & seen
        assert e[inside].sum() > .7*e[seen].sum() and inside.sum() < .3*seen.sum(), au
    eyes = to(np.array([36., 76.]), np.array([42., 42.]))
    x0, y0, x1, y1 = boxes[45]
    assert x0 < eyes[0, 0] and eyes[1, 0] < x1 and y0 < eyes[0, 1] < y1

@given(st.integers(32, 1024), st.sampled_from(["view", "portrait"]))
def test_boxes_lie_in_the_picture_and_scale_with_it(side, framing):
    large = region_boxes(8*side, framing)
    for au, box in region_boxes(side, framing).items():
        x0, y0, x1, y1 = box
        assert 0 <= x0 < x1 <= side and 0 <= y0 < y1 <= side and abs(np.subtract(large[au], np.multiply(box, 8))).max() <= 4.5

def test_boxes_of_another_framing_are_refused():
    with pytest.raises(MespotError, match="view, portrait"): region_boxes(112, "passport")
    for side in (0, 64.5, "112"):
        with pytest.raises(MespotError, match="side"): region_boxes(side)

@settings(max_examples=25)
@given(st.floats(.1, 10), st.integers(0, 5))
def test_agreement_sees_scale_and_turn_as_it_should(k, seed):
    flow = some_flow(seed)
    table = region_table(flow, k*flow, HALVES)
    np.testing.assert_allclose(table[["ratio", "correlation", "cosine"]], np.tile([k, 1, 1], (2, 1)), rtol=1e-5)
    turned = region_table(flow, flow[..., ::-1]*np.float32([-1, 1]), HALVES)
    np.testing.assert_allclose(turned[["ratio", "correlation", "cosine"]], np.tile([1, 1, 0], (2, 1)), atol=1e-5)
    other = some_flow(seed + 100)
    assert magnitude_correlation(flow, other) == pytest.approx(magnitude_correlation(other, flow)) and -1 <= magnitude_correlation(flow, other) < .5

def test_agreement_is_told_region_by_region():
    flow = some_flow()
    other = flow.copy(); other[:, 56:] = -some_flow(7)[:, 56:]
    table = region_table(flow, other, HALVES)
    assert table.index.name == "region" and table.correlation["left"] > .999 and table.cosine["left"] > .999 and abs(table.correlation["right"]) < .5 and abs(table.cosine["right"]) < .5
    assert table.correlation["left"] == magnitude_correlation(flow, other, HALVES["left"])
    long = np.hypot(*np.moveaxis(flow, -1, 0)) > np.hypot(*np.moveaxis(flow, -1, 0)).mean()
    assert region_table(flow, np.where(long[..., None], flow, -flow), {"all": (0, 0, 112, 112)}).cosine["all"] > .5       # what moves far counts more

def test_what_has_no_meaning_is_nan():
    flow, still, steady = some_flow(), np.zeros((112, 112, 2)), np.tile(np.float32([.3, .4]), (112, 112, 1))
    assert np.isnan([magnitude_correlation(flow, f) for f in (still, steady)] + [magnitude_correlation(steady, flow)]).all()
    table = region_table(still, flow, HALVES)
    assert (table.a == 0).all() and (table.b > 0).all() and table[["ratio", "correlation", "cosine"]].isna().all(axis=None)
    assert region_table(flow, steady, HALVES)[["ratio", "cosine"]].notna().all(axis=None)
    assert np.isnan(magnitude_correlation(flow, 2*flow, (3, 3, 4, 4)))

@pytest.mark.parametrize("box", [(0, 0, 113, 5), (5, 5, 5, 9), (-1, 0, 5, 5), (9, 9, 3, 12)])
def test_a_box_outside_is_refused(box):
    with pytest.raises(MespotError, match="box"): magnitude_correlation(A_FLOW, A_FLOW, box)

def test_flows_of_two_sizes_are_refused():
    for f in (magnitude_correlation, lambda a, b: region_table(a, b, HALVES), endpoint_error, angular_error):
        with pytest.raises(MespotError, match="shape"): f(A_FLOW, A_FLOW[:100])


# ---- against the truth

def test_errors_of_known_flows():
    true, mask = np.tile([3., 0], (112, 112, 1)), np.zeros((112, 112), bool)
    mask[:10] = True
    wrong = true.copy(); wrong[:5] += (0, 4); wrong[50:] = 99
    assert endpoint_error(wrong, true, mask) == pytest.approx(2)
    assert angular_error(wrong, true, mask) == pytest.approx(np.degrees(np.arctan(4/3))/2)
    assert angular_error(-true, true) == pytest.approx(180) and angular_error(0*true, true) == 90
    uneven = true.copy(); uneven[:10] = (0, .001)                     # hardly moves: its direction hardly counts
    assert angular_error(true, uneven) < .01
    assert np.isnan(angular_error(true, 0*true)) and np.isnan(endpoint_error(true, true, mask & False))

@pytest.fixture(scope="module")
def quiet(): return phantom("tiny", subjects=2, seed=5, noise=0., illumination=0.)

def test_the_true_flow_takes_one_frame_to_the_other(quiet):
    "Both ways, and without noise all that remains is shading and resampling; a wrong sign or half the flow would not do."
    at = np.stack([X, Y], -1).astype(np.float32)
    for e in quiet.annotations[quiet.annotations.kind == "macro"].itertuples():
        i, j = e.onset, int(e.apex)
        normal = {f: lcn(quiet.frames(e.video, f, f + 1)[0]) for f in (i, j)}
        for a, b in ((i, j), (j, i)):
            flow, mask = true_flow(quiet, e.video, a, b)
            left = lambda k: np.sqrt(np.square(cv2.remap(normal[b], *np.moveaxis(at + np.float32(k)*flow, -1, 0), cv2.INTER_CUBIC) - normal[a])[mask].mean())
            assert flow.shape == (112, 112, 2) and flow.dtype == np.float32 and mask.mean() > .5
            assert left(1) < .6*left(0) and left(1) < .75*left(.5) and left(0) < left(-1)

def test_the_true_flow_is_undone_on_the_way_back(quiet):
    e = quiet.annotations[quiet.annotations.kind == "macro"].iloc[0]
    there, mask = true_flow(quiet, e.video, e.onset, int(e.apex))
    back, _ = true_flow(quiet, e.video, int(e.apex), e.onset)
    x, y = np.moveaxis(np.stack([X, Y], -1).astype(np.float32) + there, -1, 0)
    off = np.hypot(*np.moveaxis(there + cv2.remap(back, x, y, cv2.INTER_LINEAR), -1, 0))[mask]
    assert off.max() < .05 and np.hypot(*there[mask].T).max() > 1
    assert abs(true_flow(quiet, e.video, e.onset, e.onset)[0]).max() < .03

def test_closed_eyes_are_not_in_the_mask_and_the_rest_of_the_face_is(quiet):
    au = quiet.script("p001_1")["au"][:, 2*ACTION_UNITS.index(45)]
    shut = int(au.argmax()); open_ = int(np.flatnonzero(au[:shut] == 0)[-1])
    mask = true_flow(quiet, "p001_1", open_, shut)[1]
    left, top, right, bottom = np.r_[move(TO_VIEW, EYE_BOX[:2]), move(TO_VIEW, EYE_BOX[2:])].astype(int)
    eye = mask[28:34, 28:40]
    assert eye.mean() < .3 and mask[60:75, 30:80].all()
    outside = mask.copy(); outside[top:bottom, left:right] = True
    assert outside[20:78, 25:87].all()

def test_frames_that_are_not_there_are_refused(quiet):
    for i, j in ((0, 450), (-1, 3)):
        with pytest.raises(MespotError, match="0 to 449"): true_flow(quiet, "p001_1", i, j)
    with pytest.raises(MespotError, match="no video"): true_flow(quiet, "nobody", 0, 1)

def test_measured_flow_agrees_with_the_true_one(quiet):
    "In even light, without noise, every method must beat no flow by far on expressions that can be seen."
    events = quiet.annotations[quiet.annotations.kind == "macro"].iloc[:3]
    errors = flow_errors(quiet, events, {m: dict(method=m) for m in METHODS})
    assert list(errors.columns) == ["video", "kind", "method", "error", "still", "angle", "ms"] and len(errors) == 9
    assert (errors.groupby("method").error.mean() < .6*errors.still.mean()).all() and (errors.groupby("method").angle.mean() < 30).all()


# ---- Figure 4.12

def test_the_pair_is_drawn_on_one_scale_with_its_region():
    import matplotlib.pyplot as plt
    frames, flows = (A, textured(1)), (some_flow(), .3*some_flow())
    fig = plot_flow_pair(frames, [np.dstack([f]*3) for f in frames], flows, [region_boxes()[12], region_boxes()[4]], "AU4 and AU12")
    rows = np.reshape(fig.axes, (2, 4))
    pictures, full = flow_pictures(flows)
    for row, picture in zip(rows, pictures):
        np.testing.assert_array_equal(row[2].images[0].get_array(), picture)
        for ax in row[:3]: assert {tuple(np.r_[p.get_xy(), p.get_width(), p.get_height()]) for p in ax.patches} == {
            (x0 - .5, y0 - .5, x1 - x0, y1 - y0) for x0, y0, x1, y1 in (region_boxes()[12], region_boxes()[4])}
    assert f"{full:.1f} px" in title_of(rows[0, 3]) and [title_of(ax) for ax in rows[0, :3]] == ["onset", "apex", "optical flow"]
    assert not plot_flow_pair(frames, frames, flows).axes[0].patches
    plt.close("all")
