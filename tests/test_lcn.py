"LCN: against scipy.ndimage, NumPy against torch, and what it must be blind to."
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from scipy import ndimage
from skimage import data

from mespot.core import MespotError
from mespot.signal.lcn import PIECE, _blur_factors, blur_matrix, gaussian, lcn, lcn_torch

rng = np.random.default_rng(0)
faces = data.lfw_subset()[:4].astype(np.float64)                                   # (4, 25, 25) in [0, 1]
face = np.ascontiguousarray(data.astronaut()[30:190, 143:303].mean(2)[::2, ::2])   # (80, 80) in [0, 255]
noise = rng.random((112, 112))


def oracle(f, sigma=4, divide_by="deviation", floor=True):
    "LCN of one image in float64 by scipy, as the equations say it."
    f = np.asarray(f, np.float64)
    blur = lambda x: ndimage.gaussian_filter(x, sigma, mode="mirror", radius=max(1, round(5*sigma)))
    v = f - blur(f)
    s = blur(v**2)
    if divide_by == "deviation": s = np.sqrt(s)
    return v / (np.maximum(s, s.mean()) if floor else s)


@pytest.mark.parametrize("f", [face, face/255, noise, faces[0]], ids=["face", "face/255", "noise", "lfw"])
@pytest.mark.parametrize("sigma", [1.3, 4, 7])
def test_equals_the_equation_by_scipy(f, sigma):
    assert np.abs(lcn(f, sigma) - oracle(f, sigma)).max() < 1e-5
    assert np.abs(lcn(f.astype(np.float32), sigma) - oracle(f, sigma)).max() < 1e-4
    assert np.abs(lcn_torch(torch.from_numpy(f), sigma).numpy() - oracle(f, sigma)).max() < 1e-9
    assert np.abs(lcn_torch(torch.from_numpy(f).float(), sigma).numpy() - oracle(f, sigma)).max() < 1e-4


@pytest.mark.parametrize("option", [dict(divide_by="variance"), dict(divide_by="variance", floor=False), dict(floor=False)])
def test_the_other_printed_divisors(option):
    want = oracle(noise, **option)
    assert np.abs(lcn(noise, **option) - want).max() < 1e-4 * np.abs(want).max()
    assert np.abs(lcn_torch(torch.from_numpy(noise).float(), **option).numpy() - want).max() < 1e-4 * np.abs(want).max()


@pytest.mark.parametrize("shape", [(112, 112), (64, 100), (9, 40), (1, 30), (30, 1), (2, 3)])
@pytest.mark.parametrize("scale", [(1, 0), (255, 0), (.02, .9), (1, 50)])
def test_numpy_and_torch_agree(shape, scale):
    x = (scale[0]*np.random.default_rng(1).random((3, *shape)) + scale[1]).astype(np.float32)
    assert np.abs(lcn(x) - lcn_torch(torch.from_numpy(x)).numpy()).max() < 1e-4


@pytest.mark.parametrize("n, sigma", [(112, 4), (17, 4), (5, 4), (2, 4), (1, 4), (40, .3)])
def test_blur_matrix_is_reflect_101(n, sigma):
    x = np.random.default_rng(n).random((n, 3))
    w, A = gaussian(sigma), blur_matrix(n, sigma)
    padded = np.pad(x, ((len(w)//2,)*2, (0, 0)), mode="reflect")
    assert np.allclose(A @ x, [w @ padded[i:i + len(w)] for i in range(n)], atol=1e-12)
    assert np.allclose(A @ x, cv2.sepFilter2D(x, -1, np.ones(1), w, borderType=cv2.BORDER_REFLECT_101), atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.floats(-2, 2).map(lambda e: 10**e), st.floats(-10, 10), st.sampled_from([0, 1, 2, 3]), st.sampled_from([np.float32, np.float64]))
def test_blind_to_gain_and_offset(a, offset, i, dtype):
    b = a * offset                                             # an offset of up to ten times the image's own range
    x, y = faces[i].astype(dtype), (a*faces[i] + b).astype(dtype)
    assert np.abs(lcn(x) - lcn(y)).max() < (1e-3 if dtype == np.float32 else 1e-5)
    assert (lcn_torch(torch.from_numpy(x)) - lcn_torch(torch.from_numpy(y))).abs().max() < 1e-3


def test_not_blind_to_the_sign_and_the_scene():
    assert np.allclose(lcn(-face), -lcn(face), atol=1e-4)
    assert np.abs(lcn(face) - lcn(face[:, ::-1])).mean() > .3


@pytest.mark.parametrize("level", [0, 1, .1, 1/3, 255, 1e-3, 12345.678, -.7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("option", [{}, dict(divide_by="variance"), dict(divide_by="variance", floor=False)])
def test_a_flat_image_gives_zeros(level, dtype, option):
    x = np.full((2, 33, 50), level, dtype)
    assert not lcn(x, **option).any() and not lcn_torch(torch.from_numpy(x), **option).any()


@pytest.mark.parametrize("level", [.1, .7, 200])
def test_the_last_bit_of_a_flat_image_is_not_contrast(level):
    x = (np.float32(level) + np.spacing(np.float32(level)) * rng.integers(0, 2, (112, 112))).astype(np.float32)
    assert 0 < np.abs(lcn(x)).max() < .1 and lcn_torch(torch.from_numpy(x)).abs().max() < .1


def test_one_grey_level_at_one_pixel_is_contrast():
    x = np.full((112, 112), 255, np.uint8)
    x[50, 50] -= 1
    for g in (lcn(x), lcn(x/255), lcn_torch(torch.from_numpy(x)).numpy()):
        assert np.abs(g - oracle(x)).max() < 1e-3 and g.min() == g[50, 50] < -5


def test_flat_parts_of_an_image_stay_finite_and_small():
    x = face.copy(); x[:, 40:] = 128
    assert np.isfinite(lcn(x)).all() and np.abs(lcn(x)[:, 75:]).max() < 1e-9


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int64, np.float16, bool])
def test_types_in_float32_out(dtype):
    x = (face > 100).astype(dtype) if dtype in (bool, np.int8, np.float16) else face.astype(dtype)
    assert lcn(x).dtype == np.float32 and np.abs(lcn(x) - oracle(x)).max() < 1e-4
    if dtype != np.uint16:
        y = lcn_torch(torch.from_numpy(x))
        assert y.dtype == torch.float32 and np.abs(y.numpy() - oracle(x)).max() < 1e-4
    assert lcn_torch(torch.from_numpy(face)).dtype == torch.float64


def test_any_batch_shape_and_each_image_by_itself():
    x = rng.random((2, 3, 20, 30)).astype(np.float32)
    before = x.copy()
    y, t = lcn(x), lcn_torch(torch.from_numpy(x))
    assert (x == before).all() and y.shape == t.shape == x.shape
    assert (lcn(x[1, 2]) == y[1, 2]).all() and torch.allclose(lcn_torch(torch.from_numpy(x[1, 2])), t[1, 2], atol=1e-5)
    assert (lcn(x[..., ::-1]) == lcn(x[..., ::-1].copy())).all()
    assert lcn(x[:0]).shape == lcn_torch(torch.from_numpy(x[:0])).shape == (0, 3, 20, 30)
    many = torch.from_numpy(rng.random((2*PIECE // 400 + 7, 20, 20)).astype(np.float32))     # more than two pieces
    assert torch.allclose(lcn_torch(many)[[0, -1]], lcn_torch(many[[0, -1]]), atol=1e-5)


@pytest.mark.parametrize("n, sigma", [(112, 4), (160, 4), (24, 4), (112, 7)])
def test_few_frequencies_are_enough_for_the_blur(n, sigma):
    P, Q = _blur_factors(n, sigma, torch.device("cpu"), torch.float32)
    A = blur_matrix(n, sigma)
    assert P.shape == Q.shape[::-1] and P.dtype == torch.float32 and len(Q) <= n/2
    assert np.linalg.norm(P.double().numpy() @ Q.double().numpy() - A, 2) < 5e-5
    assert np.abs(P.double() @ Q.double().sum(1) - 1).max() < 1e-6                              # what is constant stays so
    exact = np.linalg.svd(A, compute_uv=False)
    assert (exact[:len(Q)] > 2e-5).all() and (exact[len(Q):] < 1e-4).all()                     # neither more nor fewer than matter


@pytest.mark.parametrize("n, sigma, dtype", [(112, 4, torch.float64), (112, 2, torch.float32), (112, .5, torch.float32), (2, 4, torch.float64)])
def test_where_factors_do_not_pay_the_matrix_is_used(n, sigma, dtype):
    P, Q = _blur_factors(n, sigma, torch.device("cpu"), dtype)
    assert Q is None and torch.equal(P, torch.as_tensor(blur_matrix(n, sigma), dtype=dtype))


@pytest.mark.parametrize("picture", ["step", "impulse", "checkerboard", "half flat", "vignette"])
def test_hard_pictures_by_factors_of_the_blur(picture):
    Y, X = np.mgrid[:112, :112]
    x = dict(step=255.*(X > 50), impulse=255.*((X == 3) & (Y == 110)), checkerboard=255.*((X + Y) % 2), vignette=255*np.exp(-((X - 56)**2 + (Y - 56)**2)/2e3))
    x["half flat"] = np.where(X < 56, cv2.resize(face, (112, 112)), 128)
    for option in ({}, dict(divide_by="variance")):
        want = oracle(x[picture], **option)
        assert np.abs(lcn_torch(torch.from_numpy(x[picture]).float(), **option).numpy() - want).max() < 2e-4*np.abs(want).max()


def test_blur_matrices_are_cached_and_serve_training_after_inference():
    _blur_factors.cache_clear()
    with torch.inference_mode(): lcn_torch(torch.rand(2, 15, 15))
    x = torch.rand(2, 15, 15, requires_grad=True)
    lcn_torch(x).square().sum().backward()
    assert _blur_factors.cache_info().misses == 1 and x.grad.isfinite().all()


def test_gradients_are_right_and_finite_on_flat_images():
    x = torch.rand(2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: lcn_torch(x, 1.), (x,))
    flat = torch.full((1, 20, 20), .1, requires_grad=True)
    lcn_torch(flat).sum().backward()
    assert flat.grad.isfinite().all()


def test_autocast_does_not_coarsen_it():
    x = torch.rand(3, 40, 40)
    with torch.autocast("cpu", dtype=torch.bfloat16): y = lcn_torch(x)
    assert y.dtype == torch.float32 and torch.equal(y, lcn_torch(x))


@pytest.mark.parametrize("call", [lambda f: f(noise[0]), lambda f: f(noise[:0]), lambda f: f(noise, sigma=0), lambda f: f(noise, sigma=float("nan")),
                                  lambda f: f(noise, divide_by="std")])
def test_what_cannot_be_done_is_refused(call):
    with pytest.raises(MespotError): call(lcn)
    with pytest.raises(MespotError): call(lambda x, **k: lcn_torch(torch.from_numpy(x), **k))
