"Augmentation: ranges, the same change for all frames of a sample, the warp against OpenCV, light that LCN forgets."
import cv2, numpy as np, pytest, torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from mespot.signal.augment import augment, draw_augmentation, tone, turn
from mespot.signal.lcn import lcn_torch

gen = lambda s: torch.Generator().manual_seed(s)
smooth = lambda *shape: torch.from_numpy(np.stack([cv2.GaussianBlur(np.random.default_rng(i).random(shape[-2:]), (0, 0), 3) for i in range(int(np.prod(shape[:-2])))])
                                         .reshape(shape)).float()

def test_draws_fill_their_ranges():
    d = draw_augmentation(20000, gen(0))
    for k in ("contrast", "gamma", "gain"):
        assert d[k].min() >= .5 and d[k].max() <= 1.5 and abs(d[k].mean() - 1) < .01
    assert d["degrees"].min() >= -10 and d["degrees"].max() <= 10 and abs(d["degrees"].mean()) < .2 and d["degrees"].std() > 5
    assert abs(d["flip"].float().mean() - .5) < .02
    u = torch.stack([v.float() for v in d.values()])
    assert (torch.corrcoef(u) - torch.eye(5)).abs().max() < .05         # five independent draws

def test_frames_of_a_sample_alike_samples_not():
    x = smooth(1, 1, 40, 40).expand(6, 4, -1, -1)
    y = augment(x, gen(1))
    assert all(torch.equal(y[:, 0], y[:, f]) for f in range(4))
    assert min((y[i] - y[j]).abs().mean() for i in range(6) for j in range(i)) > .002

def test_pointwise_map_is_shared_by_frames_of_different_brightness():
    x = smooth(2, 4, 20, 20); x[:, 1] *= .5; x[:, 2, :5] = x[:, 0, :5]
    y = tone(x, torch.tensor([.6, 1.4]), torch.tensor([.7, 1.3]), torch.tensor([1.2, .8]))
    assert torch.equal(y[:, 2, :5], y[:, 0, :5])

def test_input_untouched_and_seed_decides():
    x = smooth(3, 4, 16, 16); before = x.clone()
    a, b, c = augment(x, gen(5)), augment(x, gen(5)), augment(x, gen(6))
    assert torch.equal(x, before) and torch.equal(a, b) and not torch.equal(a, c)

@pytest.mark.parametrize("h,w", [(112, 112), (40, 60)])
@pytest.mark.parametrize("degrees,flip", [(7.5, False), (-10., True), (0., True), (3., True)])
def test_turn_against_opencv(h, w, degrees, flip):
    x = smooth(1, 2, h, w)
    M = cv2.getRotationMatrix2D(((w - 1)/2, (h - 1)/2), -degrees, 1)      # OpenCV's positive angles are anticlockwise
    expected = np.stack([cv2.warpAffine(f.numpy(), M, (w, h), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT) for f in x[0]])
    if flip: expected = expected[:, :, ::-1]
    got = turn(x, torch.tensor([degrees]), torch.tensor([flip]))[0].numpy()
    np.testing.assert_allclose(got, expected, atol=.01)                   # OpenCV rounds positions to 1/32 px
    if degrees == 0: assert np.array_equal(got, expected)

def test_mixed_batch_equals_one_by_one():
    x = smooth(4, 4, 30, 30)
    deg, flip = torch.tensor([0., 4., -9., 10.]), torch.tensor([True, False, True, True])
    together = turn(x, deg, flip)
    for i in range(4): torch.testing.assert_close(together[i], turn(x[i:i + 1], deg[i:i + 1], flip[i:i + 1])[0], atol=2e-5, rtol=0)

# light and turning are done by OpenCV on a CPU and by torch on a GPU

class OnGPU(torch.Tensor):
    "A tensor in main memory that says it is on a GPU, so that it takes that path."
    is_cuda = True

def sampled(x, degrees, flip):
    "`turn` by torch's own affine grid: the whole batch in units of the picture's sides."
    H, W = x.shape[-2:]
    a, side = torch.deg2rad(degrees), torch.where(flip, -1., 1.)
    c, s, zero = a.cos(), a.sin(), torch.zeros(len(x))
    grid = F.affine_grid(torch.stack([torch.stack([c*side, s*H/W, zero], -1), torch.stack([-s*side*W/H, c, zero], -1)], 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)

@settings(deadline=None, max_examples=25)
@given(st.integers(2, 50), st.integers(2, 50), st.lists(st.tuples(st.floats(-45, 45), st.booleans()), min_size=1, max_size=5))
def test_turn_is_an_affine_grid_on_either_device(h, w, turns):
    turns = [(.5, True), *turns]                                          # at least one is turned: else nothing is resampled
    x, (degrees, flip) = smooth(len(turns), 2, h, w), map(torch.tensor, zip(*turns))
    expected = sampled(x, degrees, flip)
    cpu, gpu = turn(x, degrees, flip), turn(x.as_subclass(OnGPU), degrees, flip).as_subclass(torch.Tensor)
    torch.testing.assert_close(gpu, expected, atol=1e-4, rtol=0)
    step = max((x[..., 1:, :] - x[..., :-1, :]).abs().max(), (x[..., 1:] - x[..., :-1]).abs().max()).item()
    torch.testing.assert_close(cpu, expected, atol=step/16 + 1e-5, rtol=0)       # OpenCV rounds positions to 1/32 px each way

@settings(deadline=None, max_examples=40)
@given(st.integers(1, 4), *[st.floats(.5, 1.5)]*3, st.integers(0, 9))
def test_tone_of_bytes_is_tone_of_floats_on_either_device(n, contrast, gamma, gain, seed):
    x = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, 4, 7, 9), dtype=np.uint8))
    x[0, 0, 0, :2] = torch.tensor([0, 255])
    how = [torch.linspace(1, p, n) for p in (contrast, gamma, gain)]
    expected = tone(x.double()/255, *(h.double() for h in how)).float()
    assert tone(x, *how).dtype == torch.float32
    torch.testing.assert_close(tone(x, *how), expected, atol=2e-6, rtol=2e-5)
    torch.testing.assert_close(tone(x.as_subclass(OnGPU), *how).as_subclass(torch.Tensor), expected, atol=2e-6, rtol=2e-5)

def test_bytes_are_augmented_like_floats_on_either_device():
    x = (smooth(5, 4, 40, 30)*255).to(torch.uint8)
    a, b, c = (augment(y, gen(3)) for y in (x, x.float()/255, x.as_subclass(OnGPU)))
    assert a.dtype == torch.float32 and a.shape == x.shape and a.max() > .2
    torch.testing.assert_close(a, b, atol=.01, rtol=0)                     # bytes are turned as bytes: half a grey value
    torch.testing.assert_close(a, c.as_subclass(torch.Tensor), atol=.02, rtol=0)

@pytest.mark.parametrize("view", [lambda x: x.transpose(2, 3), lambda x: x[:, :, ::2, 1::3], lambda x: x[:, :1].expand(-1, 4, -1, -1), lambda x: x.flip(-1)[1:]])
def test_views_of_other_tensors(view):
    x = view((smooth(3, 4, 40, 30)*255).to(torch.uint8))
    assert torch.equal(augment(x, gen(3)), augment(x.contiguous(), gen(3)))
    torch.testing.assert_close(augment(x, gen(3)), augment(x.contiguous().float()/255, gen(3)), atol=.01, rtol=0)

@pytest.mark.parametrize("device", [torch.Tensor, OnGPU])
def test_bytes_are_turned_as_bytes_and_rounded(device):
    x, degrees, flip = (smooth(3, 6, 40, 30)*255).round().to(torch.uint8), torch.tensor([8., 0., -3.]), torch.tensor([True, False, False])
    a = turn(x.as_subclass(device), degrees, flip).as_subclass(torch.Tensor)
    assert a.dtype == torch.uint8 and torch.equal(a[1], x[1])
    assert (a - turn(x.float(), degrees, flip)).abs().max() < 1.5          # the rounding, and positions rounded to 1/32 px

def test_nothing_to_turn_is_not_resampled():
    x = (smooth(4, 4, 20, 30)*255).to(torch.uint8)
    y = augment(x, gen(0), contrast=(1, 1), gamma=(1, 1), gain=(1, 1), rotation=0., flip=0.)
    torch.testing.assert_close(y, x.float()/255, atol=1e-6, rtol=0)
    torch.testing.assert_close(augment(x, gen(0), contrast=(1, 1), gamma=(1, 1), gain=(1, 1), rotation=0., flip=1.1), x.flip(-1).float()/255, atol=1e-6, rtol=0)

@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_agrees_with_cpu():
    x = (smooth(5, 4, 112, 112)*255).to(torch.uint8)
    torch.testing.assert_close(augment(x.cuda(), gen(3)).cpu(), augment(x, gen(3)), atol=.02, rtol=0)

def test_gain_is_forgotten_by_lcn_but_gamma_is_not():
    x, one = smooth(2, 4, 56, 56)*.8 + .1, torch.ones(2)
    same = lcn_torch(tone(x, one, one, one*1.5)) - lcn_torch(x)
    other = lcn_torch(tone(x, one, one*1.5, one)) - lcn_torch(x)
    assert same.abs().max() < 1e-3 < other.abs().max()

def test_finite_in_black_and_white():
    for x in (torch.zeros(5, 4, 8, 8), torch.ones(5, 4, 8, 8)):
        y = augment(x, gen(0)); assert torch.isfinite(y).all() and (y >= 0).all()
