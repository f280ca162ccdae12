"Augmentation: ranges, the same change for all frames of a sample, the warp against OpenCV, light that LCN forgets."
import cv2, numpy as np, pytest, torch
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

def test_gain_is_forgotten_by_lcn_but_gamma_is_not():
    x, one = smooth(2, 4, 56, 56)*.8 + .1, torch.ones(2)
    same = lcn_torch(tone(x, one, one, one*1.5)) - lcn_torch(x)
    other = lcn_torch(tone(x, one, one*1.5, one)) - lcn_torch(x)
    assert same.abs().max() < 1e-3 < other.abs().max()

def test_finite_in_black_and_white():
    for x in (torch.zeros(5, 4, 8, 8), torch.ones(5, 4, 8, 8)):
        y = augment(x, gen(0)); assert torch.isfinite(y).all() and (y >= 0).all()
