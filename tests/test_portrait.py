"The wider colour picture: its frame, the way to it and back, the face of a photograph, and drawn people in two domains."
import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import assume, given, settings, strategies as st
from mespot.core import MespotError
from mespot.data.faces import place_face
from mespot.data.phantom import phantom
from mespot.data.phantom_face import identity
from mespot.data.portrait import DOMAINS, LONG, SHORT, domain_of, domain_portraits, phantom_portraits, portrait_of, portraits, take_portrait, to_portrait, view_of
from mespot.data.registration import EYES, TO_VIEW, VIEW, WINDOW_EYES, compose, invert, move, similarity, take_view
from mespot.measure.artefacts import background_spread

SIZES = (64, 128, 256, 512, 1024)
WHERE = np.array([(.375, .4725), (.625, .4725)])         # the eyes, as shares of the side

def picture(h, w, periods=3.):
    "A smooth colour picture (h, w, 3) uint8, of so many waves across."
    y, x = np.mgrid[:h, :w]/max(h, w)*2*np.pi*periods
    return np.rint(128 + 50*np.stack([np.sin(x) + np.cos(y), np.cos(x + y) + np.sin(y), np.sin(x - y) + np.cos(x)], -1)).astype(np.uint8)

def upright(eyes): return similarity(np.asarray(eyes, float), EYES)              # from a frame with its eyes there to the view

def checked(side, period=1): return (255*(np.indices((side, side)).sum(0)//period % 2)).astype(np.uint8)

@pytest.fixture(scope="module")
def ph(): return phantom("tiny", subjects=4, seconds=2., seed=3)

# the frame

@pytest.mark.parametrize("size", SIZES)
def test_the_eyes_lie_where_celeba_hq_has_them(size):
    np.testing.assert_allclose((move(to_portrait(size), EYES) + .5)/size, WHERE, atol=1e-9)          # pixel k covers k to k + 1

def test_the_whole_head_is_in_it_and_the_view_within():
    "The phantom's average face, in units of the registration window: crown -26, chin 112, half width 48; and all corners of the 112 view."
    head = np.array([(56, -26), (56, 112), (8, 50), (104, 50)])
    at = move(compose(to_portrait(256), TO_VIEW), head)/256
    assert ((0 < at) & (at < 1)).all() and at[0, 1] == pytest.approx(.05, abs=.01) and at[1, 1] == pytest.approx(.91, abs=.01)
    corners = move(to_portrait(256), [(0, 0), (VIEW, 0), (0, VIEW), (VIEW, VIEW)])
    assert (corners > 0).all() and (corners < 256).all()

def test_a_size_that_shows_no_face():
    with pytest.raises(MespotError, match="15 pixels"): to_portrait(15)

# there and back

@pytest.mark.parametrize("size", SIZES)
def test_view_to_portrait_to_view(size):
    "Of a smooth picture, within the parts that the portrait has; a shift of half a pixel would show as more than 2 levels."
    frame = picture(600, 700)
    transform = upright([(290, 240), (410, 250)])
    there = view_of(take_portrait(frame, transform, size)).astype(float)
    direct = take_view(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), transform).astype(float)
    assert there.shape == (VIEW, VIEW) and np.abs(there - direct).mean() < 1 and np.abs(there - direct).max() < 4
    shifted = np.roll(direct, 1, 1)
    assert np.abs(shifted - direct).mean() > 2                                   # the test would see it

@settings(max_examples=15, deadline=None)
@given(st.floats(150, 450), st.floats(150, 350), st.floats(30, 220), st.floats(-.5, .5), st.sampled_from([64, 128, 256]))
def test_the_eyes_of_a_frame_come_to_their_places(x, y, apart, roll, size):
    "Two spots as large as irises, anywhere, at any distance and tilt, are found where the eyes of a portrait are, to a pixel."
    d = apart/2*np.array([np.cos(roll), np.sin(roll)])
    eyes = np.array([(x, y) - d, (x, y) + d])
    assume(min(eyes.min(), *(np.array([599, 499]) - eyes).min(0)) > .4*apart)             # or the mirror image beyond the edge would be among what is weighed
    v, u = np.mgrid[:500, :600]
    frame = np.full((500, 600, 3), 200., np.float32)
    for ex, ey in eyes: frame -= 190*np.exp(-((u - ex)**2 + (v - ey)**2)/(2*(apart/9)**2))[..., None]
    dark = 255 - take_portrait(frame.astype(np.uint8), upright(eyes), size)[..., 0].astype(float)
    for ex, ey in WHERE*size - .5:
        v, u = np.mgrid[:size, :size]
        near = np.hypot(u - ex, v - ey) < .1*size
        weight = np.where(near, dark - dark[near].min(), 0)
        assert np.hypot((weight*u).sum()/weight.sum() - ex, (weight*v).sum()/weight.sum() - ey) < .6

def test_a_large_frame_is_averaged():
    "A frame ten times as large as the portrait: a chequered one becomes an even grey, and a pattern of the portrait's own scale stays."
    to_frame = upright(WHERE*640 - .5)
    even = take_portrait(checked(640), to_frame, 64)
    assert np.ptp(even[2:-2, 2:-2]) <= 2 and abs(even.mean() - 127.5) < 2
    coarse = take_portrait(checked(640, 80), to_frame, 64)
    assert coarse.std() > 100

@pytest.mark.parametrize("size", [512, 1024])
def test_a_large_portrait_is_averaged_on_its_way_to_the_view(size):
    fine = np.repeat(checked(size)[..., None], 3, 2)
    assert np.ptp(view_of(fine)) < 60 < 255                                      # blocks of three pixels do not even out to nothing, but nearly
    assert np.ptp(view_of(np.repeat(checked(size, size//16)[..., None], 3, 2))) == 255

def test_averaging_does_not_shift():
    "A smooth frame at full size, and what a camera with a tenth of the pixels would have seen of it, give the same portrait."
    large = picture(1280, 1280)
    small = cv2.resize(large, (128, 128), interpolation=cv2.INTER_AREA)
    a, b = (take_portrait(f, upright(WHERE*len(f) - .5), 64).astype(float) for f in (large, small))
    assert np.abs(a - b)[2:-2, 2:-2].mean() < 1.

def test_beyond_the_edge_is_the_mirror_image():
    frame = np.zeros((300, 300, 3), np.uint8); frame[:, :40] = 255, 0, 0         # a red stripe at the left edge
    out = take_portrait(frame, upright([(60, 150), (120, 150)]), 128)            # its left edge lies 30 pixels beyond the frame's
    red = out[64, :, 0] > 128
    assert red[:10].all() and not red[40:].any() and red.sum() == pytest.approx(128*70/240, abs=2)

def test_a_grey_frame_is_the_colour_frame_without_colour():
    grey, transform = picture(300, 300)[..., 0], upright([(110, 130), (190, 130)])
    out = take_portrait(grey, transform, 64)
    assert out.shape == (64, 64, 3) and out.dtype == np.uint8
    np.testing.assert_array_equal(out, take_portrait(np.repeat(grey[..., None], 3, 2), transform, 64))

def test_colours_keep_their_order():
    frame = np.empty((200, 200, 3), np.uint8); frame[:] = 250, 128, 5
    out = take_portrait(frame, upright([(80, 90), (120, 90)]), 64)
    assert (out == (250, 128, 5)).all()
    assert (view_of(out) == cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[0, 0]).all()

# many frames

def test_a_frame_without_a_transform_is_black_and_the_others_are_not():
    frames, transforms = [picture(200, 200)]*4, np.stack([upright([(80, 90), (120, 90)])]*4)
    transforms[1], transforms[2, 0, 2] = np.nan, np.nan                          # wholly, and in part
    out = list(portraits(frames, transforms, 64))
    assert [p.any() for p in out] == [True, False, False, True] and all(p.shape == (64, 64, 3) and p.dtype == np.uint8 for p in out)

@pytest.mark.parametrize("n, says", [(0, "0 frames for 3"), (2, "2 frames for 3"), (4, "more frames for 3"), (30, "more frames for 3")])
def test_too_few_and_too_many_frames(n, says):
    made = []
    with pytest.raises(MespotError, match=says):
        for p in portraits([picture(100, 100)]*n, np.stack([upright([(40, 45), (60, 45)])]*3), 64): made.append(p)
    assert len(made) == min(n, 3)

def test_frames_are_taken_one_by_one():
    "A long video never lies in memory as a whole, nor is one that is too long read to its end."
    taken = []
    def frames():
        for i in range(10**6):
            taken.append(i)
            yield picture(64, 64)
    some = portraits(frames(), np.stack([upright([(25, 30), (40, 30)])]*3), 64)
    next(some); assert len(taken) == 1
    with pytest.raises(MespotError): list(some)
    assert len(taken) <= 5

# a photograph

def test_the_astronaut_is_found():
    photo = skimage.data.astronaut()
    out = portrait_of(photo, 256)
    found = place_face(cv2.cvtColor(out, cv2.COLOR_RGB2GRAY))
    assert found is not None and found[1]
    assert np.abs(move(invert(found[0]), WINDOW_EYES)/256 - WHERE).max() < .03
    small = portrait_of(photo, 64).astype(float)
    assert np.abs(cv2.resize(out, (64, 64), interpolation=cv2.INTER_AREA) - small).mean() < 8

def test_a_file_and_its_pixels_give_the_same(tmp_path):
    photo = skimage.data.astronaut()
    for name in ("a photo.png", "gesicht-ü.png"):
        cv2.imencode(".png", photo[..., ::-1])[1].tofile(tmp_path/name)
        np.testing.assert_array_equal(portrait_of(tmp_path/name, 64), portrait_of(photo, 64))
    np.testing.assert_array_equal(portrait_of(str(tmp_path/name), 64), portrait_of(photo, 64))

def test_a_grey_photograph():
    out = portrait_of(cv2.cvtColor(skimage.data.astronaut(), cv2.COLOR_RGB2GRAY), 64)
    assert out.shape == (64, 64, 3) and (np.ptp(out, 2) == 0).all()

@pytest.mark.parametrize("what, says", [("no face", "no face is found in the reference picture .*wall.png"), ("missing", "no file .*wall.png"), ("text", "wall.png cannot be read"), ("empty", "wall.png cannot be read"),
                                        ("cut short", "wall.png"), ("folder", "no file .*wall.png")])
def test_what_is_no_picture_of_a_face_is_named(tmp_path, what, says):
    path = tmp_path/"wall.png"
    if what == "no face": cv2.imwrite(str(path), picture(200, 300))
    if what == "text": path.write_text("no picture")
    if what == "empty": path.write_bytes(b"")
    if what == "folder": path.mkdir()
    if what == "cut short":
        whole = cv2.imencode(".png", skimage.data.astronaut()[..., ::-1])[1].tobytes()
        path.write_bytes(whole[:len(whole)//8])
    with pytest.raises(MespotError, match=says): portrait_of(path)

# drawn people

def test_some_frames_are_those_of_all_frames(ph):
    whole = phantom_portraits(ph, "p001_1", 64)
    assert whole.shape == (60, 64, 64, 3) and whole.dtype == np.uint8
    for at in ([0], [59, 3, 3], np.array([10, 20]), range(5, 9)): np.testing.assert_array_equal(phantom_portraits(ph, "p001_1", 64, at), whole[list(at)])

@pytest.mark.parametrize("size", [64, 256])
def test_drawn_people_look_out_of_the_right_place(ph, size):
    "The view cut from a portrait is that of the frame before the camera, moving head and all."
    for v, i in (("p001_1", 0), ("p002_1", 50)):
        camera = ph.camera(v, (512, 512), plain=True)
        direct = take_view(cv2.GaussianBlur(cv2.cvtColor(camera.frames(i, i + 1)[0], cv2.COLOR_RGB2GRAY), (0, 0), 2.), invert(camera.poses[i]))
        through = view_of(phantom_portraits(ph, v, size, [i])[0])
        blurred = [cv2.GaussianBlur(a.astype(np.float32), (0, 0), 2.).ravel() for a in (direct, through)]
        assert np.corrcoef(*blurred)[0, 1] > .98

def test_the_head_is_still_in_portraits(ph):
    "A head that moves before the camera does not move in its portraits."
    v = "p001_1"
    camera = ph.camera(v, (128, 128), plain=True)
    at = [0, int(np.argmax(np.abs(camera.poses[:, 0, 2] - camera.poses[0, 0, 2])))]
    shift = lambda a, b: np.hypot(*cv2.phaseCorrelate(*(np.float32(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY)) for x in (a, b)), cv2.createHanningWindow((a.shape[1], a.shape[0]), cv2.CV_32F))[0])
    raw, aligned = camera.frames(at=at), phantom_portraits(ph, v, 128, at)
    assert shift(*aligned) < .6 < 1 < shift(*raw)

def test_a_wall_and_furniture(ph):
    for v in ph.videos.video:
        bare, furnished = (phantom_portraits(ph, v, 128, [0], plain=plain)[0] for plain in (True, False))
        assert background_spread(bare) < .03 < background_spread(furnished)
        assert np.abs(bare[50:110, 45:83].astype(int) - furnished[50:110, 45:83]).mean() < 2          # the face is the same

def test_domains_are_lengths_of_hair():
    many = phantom("varied", subjects=60)
    lengths = np.array([identity(many._seeds(v)[0])["hair_length"] for v in many.videos.video])
    domains = [domain_of(many, v) for v in many.videos.video]
    assert len(DOMAINS) == 2 and [d is None for d in domains] == ((lengths >= SHORT) & (lengths < LONG)).tolist() and None in domains
    assert max(length for length, d in zip(lengths, domains) if d == 0) < min(length for length, d in zip(lengths, domains) if d == 1)

@pytest.fixture(scope="module")
def drawn(): return domain_portraits(people=4, each=3, seed=1)

def test_domains_are_balanced_and_people_differ(drawn):
    images, domains = drawn
    assert images.shape == (12, 64, 64, 3) and images.dtype == np.uint8 and np.bincount(domains).tolist() == [6, 6]
    assert (domains.reshape(4, 3) == domains[::3, None]).all()
    alike = np.corrcoef([cv2.Laplacian(p.mean(2).astype(np.float32), cv2.CV_32F).ravel() for p in images])           # light left out
    np.fill_diagonal(alike, -1)
    assert (alike.argmax(0)//3 == np.arange(12)//3).all()                        # each picture is most like another of the same person

def test_the_same_seed_draws_the_same_people(drawn):
    again, other = domain_portraits(people=4, each=3, seed=1), domain_portraits(people=2, each=3, seed=2)
    for a, b in zip(drawn, again): np.testing.assert_array_equal(a, b)
    assert not any((o == d).all() for o in other[0] for d in drawn[0])

@pytest.mark.parametrize("people, each", [(0, 1), (1, 1), (3, 2), (2, 0), (2, 601)])
def test_what_cannot_be_balanced_or_drawn(people, each):
    with pytest.raises(MespotError): domain_portraits(people, each)
