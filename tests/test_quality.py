"Quality of pictures: NIQE against another implementation, its parts against plain ones, SSIM and PSNR against their formulas, tables by data set and method."
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import niqe_oracle
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from scipy import special, stats
from scipy.ndimage import gaussian_filter
from skimage import data
from mespot.core import MespotError, one_thread
from mespot.measure.quality import (NiqeModel, _aggd, _halved, _luma, _shapes, fit_niqe, niqe, niqe_features, niqe_pooled, plot_quality, pristine, psnr, quality_table, ssim)
from figures import title_of

@pytest.fixture(scope="module", autouse=True)
def single(): one_thread()

def noise(shape=(192, 288), seed=0): return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)

def pictures():
    camera = data.camera()
    framed = np.zeros((400, 400, 3), np.uint8)                            # a black border: four patches are constant
    framed[100:, :300] = data.astronaut()[:300, :300]
    return dict(camera=camera, astronaut=data.astronaut(), coffee=data.coffee(), chelsea=data.chelsea(), crop=camera[100:401, 50:467], framed=framed,
                noise=np.clip(np.rint(camera + 15*np.random.default_rng(0).standard_normal(camera.shape)), 0, 255).astype(np.uint8),
                blur=np.rint(gaussian_filter(camera.astype(float), 2)).astype(np.uint8))

# basicsr 1.4.2, which says that it gives 5.7296 for the baboon as MATLAB does
RECORDED = dict(camera=3.0962066193, astronaut=3.0649476662, coffee=4.1152416154, chelsea=2.6255243813, crop=3.0239167019, framed=7.4799864939, noise=9.4972552156, blur=8.0372350365)
PICTURES = pictures()


# ---- NIQE

@pytest.mark.parametrize("name", RECORDED)
def test_niqe_is_what_another_implementation_recorded(name):
    assert niqe(PICTURES[name]) == pytest.approx(RECORDED[name], abs=2e-3)

@pytest.mark.skipif(niqe_oracle.find_spec("basicsr") is None, reason="needs basicsr 1.4.2: pip install --no-deps basicsr==1.4.2")
def test_niqe_is_what_the_other_implementation_says_now():
    oracle = niqe_oracle.load()
    for name, recorded in RECORDED.items(): assert niqe_oracle.score(oracle, PICTURES[name]) == pytest.approx(recorded, abs=1e-3)
    odd = PICTURES["coffee"][7:310, 11:420]
    assert niqe(odd) == pytest.approx(niqe_oracle.score(oracle, odd), abs=2e-3)

@settings(max_examples=25, deadline=None)
@given(st.integers(0, 999), st.sampled_from([.4, 1., 3.]), st.floats(-.5, .5))
def test_the_shape_is_the_one_a_search_of_the_whole_grid_finds(seed, power, shift):
    rng = np.random.default_rng(seed)
    x = np.sign(z := rng.standard_normal((3, 50)) + shift)*np.abs(z)**power
    alpha, mean, left, right = _aggd(x)
    grid = np.arange(.2, 10.001, .001)
    rho = special.gamma(2/grid)**2/(special.gamma(1/grid)*special.gamma(3/grid))
    for i, row in enumerate(x):
        l, r = (np.sqrt(np.mean(row[side]**2)) for side in (row < 0, row > 0))
        wanted = np.mean(np.abs(row))**2/np.mean(row**2)*((l/r)**3 + 1)*(l/r + 1)/((l/r)**2 + 1)**2
        a = grid[np.argmin(np.abs(rho - wanted))]
        width = np.sqrt(special.gamma(1/a)/special.gamma(3/a))
        assert alpha[i] == pytest.approx(a, abs=1e-9)
        assert (left[i], right[i], mean[i]) == pytest.approx((l*width, r*width, (r - l)*width*special.gamma(2/a)/special.gamma(1/a)), rel=1e-6, abs=1e-9)

def test_the_grid_of_shapes_is_the_published_one():
    alpha, limits = _shapes()
    assert len(alpha) == 9801 and alpha[[0, 1, -1]] == pytest.approx([.2, .201, 10]) and (np.diff(limits) > 0).all()

def test_what_has_one_side_only_has_no_widths():
    for row in (np.zeros(50), np.ones(50), -np.ones(50)):
        alpha, mean, left, right = np.ravel(_aggd(row[None]))
        assert alpha == .2 and np.isnan([mean, left + right]).all()

def test_the_model_is_the_published_one():
    model = pristine()
    assert model.patch == 96 and model.mean[[0, 1, -1]] == pytest.approx([2.60131368, .90570272, .18677778], abs=1e-8)
    assert np.array_equal(model.covariance, model.covariance.T) and np.linalg.eigvalsh(model.covariance).min() > 0
    with pytest.raises(ValueError): model.mean[0] = 0                     # shared by all who ask for it

@settings(max_examples=20, deadline=None)
@given(st.integers(4, 12), st.integers(4, 12), st.integers(0, 99))
def test_halving_is_a_matrix_on_either_side(h, w, seed):
    x = np.random.default_rng(seed).uniform(0, 255, (2*h, 2*w))
    def matrix(n):
        "MATLAB's cubic, stretched by two; mirrored at the ends; every row of sum 1."
        m = np.zeros((n, 2*n))
        for i in range(n):
            for j in range(2*i - 5, 2*i + 7):
                d = abs(2*i + .5 - j)/2
                k = 1.5*d**3 - 2.5*d**2 + 1 if d <= 1 else -.5*d**3 + 2.5*d**2 - 4*d + 2 if d <= 2 else 0
                m[i, -j - 1 if j < 0 else 4*n - 1 - j if j >= 2*n else j] += k/2
        return m
    assert np.abs(_halved(x) - matrix(h) @ x @ matrix(w).T).max() < 1e-9

def test_luma_rounds_as_it_should():
    assert _luma(np.uint8([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]])).tolist() == [[16, 235, 81, 145, 41]]
    assert _luma(np.array([[1.4, 1.6]])).tolist() == [[1, 2]]
    rgb = noise((40, 40, 3))
    exact = rgb.astype(float) @ (65.481, 128.553, 24.966)/255 + 16
    assert np.abs(_luma(rgb) - exact).max() <= .5 + 1e-9 and _luma(rgb).dtype == float

def test_patches_are_whole_and_in_rows():
    tall, wide = niqe_features(noise((2*96 + 50, 100))), niqe_features(noise((100, 2*96 + 50)))
    assert tall.shape == wide.shape == (2, 36)
    both = noise((192, 192)); both[:, 96:] = 128 + both[:, 96:]//64       # left is wild, right is calm
    f = niqe_features(both)
    assert (f[[0, 2], 1] > 1.5*f[[1, 3], 1]).all()
    assert np.array_equal(niqe_features(np.pad(both, ((0, 95), (0, 95)), constant_values=255)), f)      # what makes no whole patch is cut off first

@settings(max_examples=15, deadline=None)
@given(st.integers(0, 99))
def test_type_and_transposition(seed):
    image = np.rint(gaussian_filter(noise(seed=seed).astype(float), 1)).astype(np.uint8)
    assert niqe(image.astype(float)) == niqe(image.astype(np.float32)) == niqe(image)
    turned = niqe_features(image.T)
    assert turned[:, 2] == pytest.approx(niqe_features(image).reshape(2, 3, 36).swapaxes(0, 1).reshape(6, 36)[:, 6], abs=2e-3)      # to the right becomes below

@pytest.mark.parametrize("bad, says", [(np.zeros((95, 300), np.uint8), "300×95"), (noise((112, 112)), "one patch"), (np.full((200, 300), 7, np.uint8), "constant"), (np.full((192, 192), np.nan), "NaN"),
                                       (np.full((192, 192, 3), np.inf), "infinite"), (noise()/255, "0 to 255"), (noise() - 300., "0 to 255"), (noise().astype(int), "int64"), (noise() > 9, "bool"),
                                       (noise((192, 192, 4)), r"\(192, 192, 4\)"), (noise((3, 192, 192)), "shape"), (np.zeros((0, 5)), "shape"), ("picture.png", "shape")])
def test_niqe_says_what_is_wrong(bad, says):
    with pytest.raises(MespotError, match=says): niqe(bad)

def test_a_single_textured_patch_is_not_enough():
    image = np.full((192, 192), 40, np.uint8)
    image[10:80, 10:80] = noise((70, 70))
    with pytest.raises(MespotError, match="3 of them constant"): niqe(image)
    image[110:180, 110:180] = noise((70, 70), 1)
    assert niqe(image) > 5

def test_the_distance_is_that_of_the_formula():
    a, b = niqe_features(PICTURES["coffee"]), niqe_features(PICTURES["chelsea"])
    model = NiqeModel(b.mean(0), np.cov(b.T) + np.eye(36))
    off = a.mean(0) - b.mean(0)
    assert niqe(PICTURES["coffee"], model) == pytest.approx(np.sqrt(off @ np.linalg.solve((np.cov(a.T) + model.covariance)/2, off)), rel=1e-9)

def test_pooled_frames_are_one_picture():
    image = PICTURES["crop"][:288, :384]
    tiles = [image[i:i + 96] for i in (0, 96, 192)]
    stacked = np.concatenate([niqe_features(t) for t in tiles])
    model = pristine()
    off = stacked.mean(0) - model.mean
    wanted = np.sqrt(off @ np.linalg.pinv((np.cov(stacked.T) + model.covariance)/2) @ off)
    assert niqe_pooled(tiles) == pytest.approx(wanted) and niqe_pooled(iter([image])) == niqe(image)
    assert niqe_pooled([t[:, :96] for t in tiles]) > 0                   # a patch each: `niqe` would refuse them
    for bad, says in (([], "no pictures"), ([image[:96, :96]], "one patch"), ([image, image[:50]], "384×50")):
        with pytest.raises(MespotError, match=says): niqe_pooled(bad)

def test_fitting_takes_the_sharp_patches_only():
    images = [np.rint(128 + (gaussian_filter(noise((192, 192), s).astype(float), 1) - 128)*np.repeat([1., .2], 96)).astype(np.uint8) for s in range(30)]       # right half: five times less contrast
    model, left = fit_niqe(images), np.concatenate([niqe_features(i)[[0, 2]] for i in images])
    assert model.mean == pytest.approx(left.mean(0)) and model.covariance == pytest.approx(np.cov(left.T)) and model.patch == 96
    everything = fit_niqe(images, sharpness=0)
    assert np.linalg.norm(everything.mean - model.mean) > .05
    assert niqe(images[0][:, :96], model) < niqe(images[0][:, 96:], model)

def test_a_model_of_small_patches_judges_small_pictures():
    crop = lambda image, n=5: [image[i:i + 112, j:j + 112] for i in range(0, 112*n, 112) for j in range(0, 112*n, 112) if i + 112 <= len(image) and j + 112 <= image.shape[1]]
    model = fit_niqe(crop(PICTURES["camera"]) + crop(_luma(PICTURES["coffee"])), sharpness=.2, patch=48)
    views = crop(_luma(PICTURES["chelsea"]))
    true, blurred, grainy = (np.mean([niqe(f, model) for f in fs]) for fs in (views, [gaussian_filter(f, 2) for f in views], [np.clip(f + 20*np.random.default_rng(0).standard_normal(f.shape), 0, 255) for f in views]))
    assert true < blurred and true < grainy

@pytest.mark.parametrize("call, says", [(lambda: fit_niqe([noise((192, 864))]*2, sharpness=0), "36 sharp patches"), (lambda: fit_niqe([]), "0 picture"), (lambda: fit_niqe([noise()], patch=47), "even"), (lambda: fit_niqe([noise()*0.]*50), "0 sharp"),
                                        (lambda: fit_niqe([noise()], patch=8), "16"), (lambda: NiqeModel(np.zeros(18), np.eye(36)), r"\(18,\)")])
def test_fitting_says_what_is_wrong(call, says):
    with pytest.raises(MespotError, match=says): call()


# ---- SSIM and PSNR

@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, (9, 10)), arrays(np.uint8, (9, 10)))
def test_ssim_is_the_formula_of_the_thesis(x, y):
    c1, c2, values = (.01*255)**2, (.03*255)**2, []
    for i in range(3):
        for j in range(4):
            a, b = (z[i:i + 7, j:j + 7].astype(float).ravel() for z in (x, y))
            sa, sb = a.std(ddof=1), b.std(ddof=1)
            light, contrast = (2*a.mean()*b.mean() + c1)/(a.mean()**2 + b.mean()**2 + c1), (2*sa*sb + c2)/(sa**2 + sb**2 + c2)
            values.append(light*contrast*(np.cov(a, b)[0, 1] + c2/2)/(sa*sb + c2/2))
    assert ssim(x, y) == pytest.approx(np.mean(values), abs=1e-9) and ssim(x, y) == pytest.approx(ssim(y, x))

def test_colour_is_the_mean_of_the_channels():
    a, b = PICTURES["chelsea"][:90, :80], PICTURES["chelsea"][1:91, :80]
    assert ssim(a, b) == pytest.approx(np.mean([ssim(a[..., c], b[..., c]) for c in range(3)]))
    assert psnr(a, b) == pytest.approx(10*np.log10(255**2/np.mean((a.astype(float) - b)**2)))

def test_range_is_255_whatever_is_in_the_picture():
    dark = noise((40, 40))//16
    assert ssim(dark, dark[::-1]) == ssim(dark.astype(float), dark[::-1].astype(np.float32)) and psnr(dark, dark + np.uint8(1)) == pytest.approx(10*np.log10(255**2))

@pytest.mark.filterwarnings("error")
def test_equal_pictures():
    assert ssim(noise(), noise()) == 1 and psnr(noise(), noise()) == np.inf and ssim(np.zeros((8, 8)), np.zeros((8, 8))) == 1

@pytest.mark.parametrize("measure", [ssim, psnr])
@pytest.mark.parametrize("a, b, says", [(noise(), noise()[1:], "shapes"), (noise((9, 9, 3)), noise((9, 9)), "RGB"), (noise()/255, noise(), "0 to 255"), (noise(), np.full((192, 288), np.nan), "NaN"), (noise(), noise().astype(int), "int64")])
def test_ssim_and_psnr_say_what_is_wrong(measure, a, b, says):
    with pytest.raises(MespotError, match=says): measure(a, b)

def test_ssim_needs_a_window():
    with pytest.raises(MespotError, match="6×9"): ssim(noise((9, 6)), noise((9, 6)))


# ---- tables

def rows(seed=0):
    rng, found = np.random.default_rng(seed), []
    for s, d in (("a", "MUG"), ("b", "MUG"), ("c", "MUG"), ("d", "MMI")):
        for m in ("ours", "linear"): found += [dict(data_set=d, method=m, subject=s, ssim=v, niqe=9*v) for v in rng.random(rng.integers(2, 9))]
    return pd.DataFrame(found)

def test_the_table_weighs_subjects_alike():
    r = rows()
    table = quality_table(r).set_index(["data_set", "method", "measure"])
    assert list(table.index.unique("data_set")) == ["MUG", "MMI"] and list(table.index.unique("measure")) == ["ssim", "niqe"] and len(table) == 8
    means = r[(r.data_set == "MUG") & (r.method == "ours")].groupby("subject").ssim.mean()
    one = table.loc["MUG", "ours", "ssim"]
    assert one.units == 3 and one["mean"] == pytest.approx(means.mean()) and (one.low, one.high) == pytest.approx(stats.t.interval(.95, 2, means.mean(), stats.sem(means)))
    assert np.isnan(table.loc["MMI", "ours", "niqe"].low) and table.loc["MMI", "ours", "niqe"].units == 1
    assert (quality_table(r, level=.5).high.dropna() < quality_table(r).high.dropna()).all()

@pytest.mark.filterwarnings("error")
def test_missing_and_infinite_values():
    r = rows().assign(psnr=30.)
    r.loc[r.subject == "a", "ssim"] = np.nan
    r.loc[0, "psnr"] = np.inf
    table = quality_table(r).set_index(["data_set", "method", "measure"])
    assert table.loc["MUG", "ours", "ssim"].units == 2 and table.loc["MUG", "ours", "psnr"]["mean"] == np.inf and np.isnan(table.loc["MUG", "ours", "psnr"].low)
    assert table.loc["MUG", "linear", "psnr"][["low", "high"]].tolist() == [30, 30]

def test_the_table_says_what_is_wrong():
    for bad, says in ((rows().drop(columns="method"), "method"), (rows().drop(columns=["ssim", "niqe"]), "none of the measures")):
        with pytest.raises(MespotError, match=says): quality_table(bad)
    with pytest.raises(MespotError, match="video"): quality_table(rows(), unit="video")

def test_the_figure_has_a_panel_a_measure():
    table = quality_table(rows().assign(psnr=np.inf))
    fig = plot_quality(table)
    fig.canvas.draw()
    assert [title_of(a).split("\n")[0] for a in fig.axes] == ["SSIM", "PSNR in dB", "NIQE"] and [t.get_text() for t in fig.axes[0].get_xticklabels()] == ["MUG", "MMI"]
    points = np.concatenate([c[0].get_ydata() for c in fig.axes[0].containers])
    assert sorted(points) == pytest.approx(sorted(table[table.measure == "ssim"]["mean"]))
    plt.close(fig)
