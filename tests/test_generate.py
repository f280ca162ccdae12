"`mespot generate` with a network whose movement is known: courses, clips, intervals estimated from movement, files, long videos with labels, and what a user can get wrong."
import json, warnings
import cv2, numpy as np, pytest, torch
from hypothesis import given, settings, strategies as st
from PIL import Image
from mespot.core import MespotError
from mespot.data.phantom import EMOTIONS, phantom
from mespot.data.phantom_sequences import expression_sequences
from mespot.data.recordings import open_recordings
from mespot.generate import (COURSES, MICRO_SECONDS, course_of, estimated_interval, generate_clip, generate_long_videos, load_sequence_generator, motion_of, neutral_view, write_clip, writer_of)
from mespot.kit.cli import main
from mespot.measure.intervals import check_annotations, check_videos
from mespot.nets.sequence import NaiveNet, SequenceConfig, SequenceNet, save_sequence

SIZE, VIEW, FAR, NAMES, STEP = 64, 112, 3., ["anger", "happiness", "surprise"], 12      # STEP: grey levels that label i adds, i times

def gliding(**options):
    "A network that moves the constant frame down by FAR (1 - cos phase)/2 pixels and makes it brighter by the label's number of STEPs."
    net = SequenceNet(SequenceConfig(size=SIZE, width=4, warp=True, phase=2, label=len(NAMES), noise=.02, **options)).eval()
    decoder, d = net.stages[0]["decoder"], net.config.width
    with torch.no_grad():
        for p in (*decoder.film.parameters(), *decoder.head.parameters()): p.zero_()
        decoder.film.bias[:d] = -1                                           # the last level shows nothing of the frames, only what phase and label put in
        decoder.film.bias[d], decoder.film.weight[d, 1] = FAR/2, -FAR/2
        for i in range(len(NAMES)): decoder.film.weight[d + 1, 2 + i] = STEP*i/255
        decoder.head.weight[2, 0, 1, 1] = decoder.head.weight[0, 1, 1, 1] = 1
    return net

@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights")/"gliding.safetensors"
    save_sequence(path, gliding(), dict(expressions=NAMES))
    return path

@pytest.fixture(scope="module")
def generator(weights): return load_sequence_generator(weights)

@pytest.fixture(scope="module")
def true(): return expression_sequences(2, tuple(EMOTIONS), 24, SIZE, seed=31)

@pytest.fixture(scope="module")
def view(): return expression_sequences(1, ("happiness",), 8, 112, seed=32).frames[0, 0]

@pytest.fixture(scope="module")
def files(tmp_path_factory):
    at = tmp_path_factory.mktemp("pictures")
    cv2.imwrite(str(at/"anna.png"), phantom("tiny", subjects=2, seconds=1., seed=11).camera("p002_1", (256, 256), plain=True).frames(0, 1)[0][..., ::-1])
    cv2.imwrite(str(at/"wall.png"), np.full((200, 200, 3), 90, np.uint8))
    return at

# the network and the face

def test_a_card_must_name_what_the_labels_mean(tmp_path):
    for name, net, card, says in (("none", gliding(), {}, "names 0 expressions, the network has 3"), ("few", gliding(), dict(expressions=NAMES[:2]), "names 2 expressions"),
                                  ("plain", SequenceNet(SequenceConfig(size=16, width=2)), dict(expressions=["x"]), "not a generator"), ("naive", NaiveNet(), dict(expressions=["x"]), "not a generator")):
        save_sequence(tmp_path/name, net, card)
        with pytest.raises(MespotError, match=says): load_sequence_generator(tmp_path/f"{name}.safetensors")

def test_only_the_shipped_weights_come_with_a_note(weights, monkeypatch):
    monkeypatch.setattr("mespot.generate.SHIPPED", weights)
    with pytest.warns(UserWarning, match="drawn faces"): load_sequence_generator()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert load_sequence_generator(weights)[1]["expressions"] == NAMES

def test_the_view_is_the_aligned_one_whatever_the_size_of_the_picture(files):
    "A picture three times as large gives the same view, without aliasing; colour and path do not matter."
    image = cv2.imread(str(files/"anna.png"))[..., ::-1]
    small, large = neutral_view(image).astype(float), neutral_view(cv2.resize(np.ascontiguousarray(image), None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)).astype(float)
    assert np.corrcoef(small.ravel(), large.ravel())[0, 1] > .95
    assert np.array_equal(neutral_view(files/"anna.png"), neutral_view(image)) and neutral_view(image).shape == (112, 112)

# the course

@settings(max_examples=60, deadline=None)
@given(st.integers(8, 200), st.floats(.05, 1))
def test_a_course_begins_and_ends_at_rest_and_turns_at_the_apex(n, strength):
    phase, onset, apex, offset = course_of(n, strength)
    angle = np.unwrap(np.arctan2(*phase.T.astype(float)))
    assert 0 < onset < apex < offset < n - 1 and np.allclose(np.hypot(*phase.T), 1, atol=1e-5)
    away = 1 - phase[:, 1]                                                   # from rest, 0 to 2
    assert np.allclose(away[:onset + 1], 0, atol=1e-6) and np.allclose(away[offset:], 0, atol=1e-6)
    assert away.argmax() == apex and np.isclose(away[apex], 1 - np.cos(np.pi*strength), atol=1e-5)
    assert (np.diff(away[onset:apex + 1]) > -1e-6).all() and (np.diff(away[apex:offset + 1]) < 1e-6).all()
    if strength == 1: assert np.isclose(abs(angle[-1]), 2*np.pi, atol=1e-4) or np.isclose(abs(angle).max(), np.pi, atol=1.)

def test_a_weak_expression_goes_back_the_way_it_came_a_whole_one_goes_round():
    assert (course_of(40, .5)[0][:, 0] >= -1e-6).all() and course_of(40)[0][:, 0].min() < -.9

@pytest.mark.parametrize("how, says", [(dict(n=7), "7 frames are too few"), (dict(n=12, rest=5), "5 frames of rest"), (dict(n=30, strength=0), "strength 0"), (dict(n=30, strength=1.01), "strength 1.01"), (dict(n=30, strength=float("nan")), "strength nan")])
def test_courses_that_cannot_be(how, says):
    with pytest.raises(MespotError, match=says): course_of(**how)

# clips

def test_a_clip_moves_as_far_as_its_strength_says(generator, view):
    "Displacements of the known network in pixels of the view: FAR of its own at the apex, half of it at strength one half, and back."
    shift = lambda frames: np.array([cv2.phaseCorrelate(np.float64(frames[0][8:-8, 8:-8]), np.float64(f[8:-8, 8:-8]), cv2.createHanningWindow((VIEW - 16,)*2, cv2.CV_64F))[0][1] for f in frames])
    for strength, far in ((1., FAR*VIEW/SIZE), (.5, FAR*VIEW/SIZE/2)):
        clip = generate_clip(view, "anger", generator, seconds=1., fps=30, strength=strength)
        expected = FAR*VIEW/SIZE*(1 - clip["phase"][:, 1])/2
        assert clip["frames"].shape == (30, VIEW, VIEW) and clip["frames"].dtype == np.uint8
        assert np.abs(shift(clip["frames"]) - expected).max() < .35 and abs(expected[clip["apex"]] - far) < 1e-5

def test_the_first_frame_is_the_picture_and_the_label_is_that_of_the_name(generator, view):
    clips = [generate_clip(view, e, generator, seconds=.5)["frames"] for e in NAMES]
    assert all(np.array_equal(c[0], view) for c in clips)
    flat = np.full((112, 112), 100, np.uint8)                                # nothing to move: only the label is seen
    assert [int(generate_clip(flat, e, generator, seconds=.5)["frames"][5].mean().round()) for e in NAMES] == [100, 100 + STEP, 100 + 2*STEP]

def test_what_is_sharp_stays_sharp(generator, view):
    "The view's own pixels are moved. A network that does not warp gives its own frames, enlarged."
    clip = generate_clip(view, "anger", generator, seconds=1.)
    moved = cv2.warpAffine(view, np.float32([[1, 0, 0], [0, 1, FAR*VIEW/SIZE]]), (VIEW, VIEW), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    near = np.abs(clip["frames"][clip["apex"]].astype(int) - moved)[12:-12].mean()
    small = cv2.resize(cv2.resize(view, (SIZE, SIZE), interpolation=cv2.INTER_AREA), (VIEW, VIEW), interpolation=cv2.INTER_CUBIC)
    assert near < .6*np.abs(small.astype(int) - view)[12:-12].mean()
    plain = SequenceNet(SequenceConfig(size=SIZE, width=4, residual=True, phase=2, noise=0.)).eval()
    for p in plain.stages[0]["decoder"].head.parameters(): p.data.zero_()
    assert np.array_equal(generate_clip(view, "joy", (plain, dict(expressions=["joy"], weights="x", sha256="y")), seconds=.5)["frames"][3], small)

def test_the_same_seed_gives_the_same_clip(weights, view, tmp_path):
    net = gliding()
    torch.nn.init.normal_(net.stages[0]["decoder"].film.weight, std=.5)      # now noise has an effect
    torch.nn.init.normal_(net.stages[0]["decoder"].film.bias, std=.5); torch.nn.init.normal_(net.stages[0]["decoder"].head.weight, std=.1)
    make = lambda seed: generate_clip(view, "anger", (net, dict(expressions=NAMES, weights="x", sha256="y")), seconds=.5, seed=seed)["frames"]
    assert np.array_equal(make(1), make(1)) and np.array_equal(make(None), make(None)) and not np.array_equal(make(1), make(2)) and not np.array_equal(make(1), make(None))

@pytest.mark.parametrize("how, says", [(dict(expression="boredom"), "no expression 'boredom'; it knows anger, happiness, surprise"), (dict(seconds=.1), "3 frames are too few"), (dict(fps=0), "above 0"),
                                       (dict(image="wall.png"), "no face is found"), (dict(image="missing.png"), "there is no file"), (dict(weights="nothing"), "there is no nothing.safetensors")])
def test_mistakes_are_one_sentence(weights, files, how, says):
    given = dict(image="anna.png", expression="anger", weights=weights) | how
    with pytest.raises(MespotError, match=says) as e: generate_clip(files/given.pop("image"), **given)
    assert "\n" not in str(e.value)

# intervals from movement

def test_intervals_of_true_sequences(true):
    errors = np.array([np.subtract(estimated_interval(motion_of(f)), (r.onset, r.apex, r.offset)) for f, r in zip(true.frames, true.table.itertuples())])
    assert (np.median(np.abs(errors), 0) <= 2).all() and np.abs(errors).max() <= 5

def test_motion_is_in_pixels_of_the_view_and_not_light(view):
    moved = np.stack([view, np.roll(view, 2, 0), view//2 + 40])
    motion = motion_of(moved)
    assert motion[0] == 0 and 1.5 < motion[1] < 2.5 and motion[2] < .3

def test_an_interval_is_where_the_motion_says():
    motion = np.r_[0, .1, .1, .11, .5, 1.1, 2.1, 2.1, 1., .3, .1, .1]        # after the first frame nothing falls below the noise of .1
    assert estimated_interval(motion) == (4, 6, 9) and estimated_interval(motion*7) == (4, 6, 9)
    assert estimated_interval(np.r_[0, .1, .1, .1, motion]) == (8, 10, 13)
    unfinished = np.r_[0, 0, 0, 0, np.linspace(.1, 1, 8)]
    assert estimated_interval(unfinished) == (4, 11, 11)                     # one that does not come back lasts to the end
    for wrong, says in ((np.zeros(20), "nothing moves"), (np.ones(4), "4 frames"), (np.full(20, np.nan), "nothing moves")):
        with pytest.raises(MespotError, match=says): estimated_interval(wrong)

# files

def test_what_is_written_is_the_clip(generator, view, tmp_path):
    clip = generate_clip(view, "anger", generator, seconds=.8, fps=25)
    n = len(clip["frames"])
    for name in ("c.mp4", "c.gif", "c"): assert write_clip(clip, tmp_path/"new"/name) == [tmp_path/"new"/name, tmp_path/"new"/"c.json"]
    cap, film = cv2.VideoCapture(str(tmp_path/"new"/"c.mp4")), []
    assert cap.get(cv2.CAP_PROP_FPS) == 25
    while (got := cap.read())[0]: film.append(got[1][..., 0])
    assert len(film) == n and np.abs(np.array(film, float) - clip["frames"]).mean() < 6
    gif, shown, time = Image.open(tmp_path/"new"/"c.gif"), [], 0
    for i in range(gif.n_frames): gif.seek(i); shown.append(np.asarray(gif.convert("L"))); time += gif.info["duration"]
    assert time == 800 and np.array_equal(shown[0], clip["frames"][0])
    images = sorted((tmp_path/"new"/"c").iterdir())
    assert np.array_equal([cv2.imread(str(p), 0) for p in images], clip["frames"])
    manifest = json.loads((tmp_path/"new"/"c.json").read_text())
    assert manifest["expression"] == "anger" and manifest["apex"] == clip["apex"] and len(manifest["sha256"]) == 64
    assert {p.name for p in (tmp_path/"new").iterdir()} == {"c.mp4", "c.gif", "c", "c.json"}
    for wrong, says in (("c.avi", "not as .avi"), ("c", "a folder .* already")):
        with pytest.raises(MespotError, match=says): writer_of(tmp_path/"new"/wrong)

# the command

@pytest.fixture
def command(files, weights, tmp_path, monkeypatch, capsys):
    "`mespot generate` in the test's folder: (exit code, stdout, stderr)."
    monkeypatch.chdir(tmp_path)
    def call(*more, image="anna.png", weights=weights):
        code = main(["generate", str(files/image), *(["--weights", str(weights)] if weights else []), *map(str, more)])
        return code, *capsys.readouterr()
    return call

def test_the_command_says_what_it_wrote(command, tmp_path):
    code, out, err = command("--expression", "happiness", "--seconds", ".5", "--out", "clip.gif")
    assert code == 0 and not err and "15 frames" in out and "written: clip.gif, clip.json" in out
    assert {p.name for p in tmp_path.iterdir()} == {"clip.gif", "clip.json"}
    code, out, _ = command("--expression", "anger", "--seconds", ".5", "--strength", ".5", "--fps", 40)
    assert code == 0 and "20 frames" in out and (tmp_path/"anna-anger.mp4").exists()

def test_the_command_notes_that_its_own_weights_know_drawn_faces_only(command, weights, monkeypatch):
    monkeypatch.setattr("mespot.generate.SHIPPED", weights)
    code, _, err = command("--expression", "anger", "--seconds", ".5", weights=None)
    assert code == 0 and err.startswith("note: ") and "drawn faces" in err and err.count("\n") == 1

@pytest.mark.parametrize("args, image, says", [
    ([], "anna.png", "Missing option '--expression'"), (["--expression", "boredom"], "anna.png", "it knows anger, happiness, surprise"), (["--expression", "anger"], "wall.png", "no face is found"),
    (["--expression", "anger"], "missing.png", "there is no file"), (["--expression", "anger", "--out", "clip.avi"], "anna.png", "not as .avi"), (["--expression", "anger", "--strength", "2"], "anna.png", "strength 2"),
    (["--expression", "anger", "--seconds", "0"], "anna.png", "above 0"), (["--expression", "anger", "--out", "."], "anna.png", "folder")])
def test_mistakes_in_the_call_are_exit_2_and_write_nothing(command, tmp_path, args, image, says):
    code, out, err = command(*args, image=image)
    assert code == 2 and says in err and "Traceback" not in err and not out and not list(tmp_path.iterdir())

# long videos

@pytest.fixture(scope="module")
def long(generator, true, tmp_path_factory):
    people, folder = {f"q{i}": cv2.resize(true.frames[7*i, 0], (112, 112)) for i in range(2)}, tmp_path_factory.mktemp("long")/"made"
    return people, folder, generate_long_videos(people, folder, n_per_video=4, seconds=11., fps=20., seed=3, weights=generator, progress=False)

def test_long_videos_are_a_prepared_data_set(long):
    people, folder, made = long
    found = open_recordings(str(folder))
    assert found.subjects == ["q0", "q1"] and len(found.videos) == 2 and (found.videos.n_frames == 220).all()
    a = check_annotations(found.annotations, check_videos(found.videos))
    assert len(a) == 8 and set(a.kind) == {"micro", "macro"} and set(a.emotion) <= set(NAMES) and a.apex.notna().all()
    assert set(a.strength[a.kind == "macro"]) == {1.} and (a.kind == np.where((a.offset - a.onset + 1)/a.fps <= MICRO_SECONDS, "micro", "macro")).all() and (a.aus == ["+".join(map(str, EMOTIONS[e])) for e in a.emotion]).all()
    store = found.stores["q0_g1"]
    assert store.frames.shape == (220, 112, 112) and store.ok.all() and store.fps == 20
    assert set(json.loads((folder/"manifest.json").read_text())) == set(found.videos.video)

def test_nothing_overlaps_and_labels_lie_on_the_planned_course(long):
    _, folder, made = long
    plans = json.loads((folder/"manifest.json").read_text())
    for video, rows in made.annotations.groupby("video"):
        rows = rows.sort_values("onset")
        assert (rows.onset.to_numpy()[1:] > rows.offset.to_numpy()[:-1] + 2).all()
        for r, p in zip(rows.itertuples(), plans[video]["generated"]):
            assert r.kind == ("micro" if p["strength"] < 1 else "macro") and r.emotion == p["expression"] and p["start"] <= r.onset <= r.apex <= r.offset < p["start"] + p["n"]

def test_where_no_label_is_the_face_is_at_rest_and_nothing_jumps(generator, long, tmp_path):
    "Even though this network's labels change the brightness for good: what is wrong at rest is taken off."
    people, _, _ = long
    made = generate_long_videos(dict(q=people["q0"]), tmp_path/"still", ["surprise"], n_per_video=2, seconds=7., fps=20., noise=0., weights=generator, progress=False)
    frames = open_recordings(str(tmp_path/"still")).stores["q_g1"].frames[:].astype(float)
    quiet = np.ones(len(frames), bool)
    for r in made.annotations.itertuples(): quiet[max(r.onset - 5, 0):r.offset + 6] = False
    assert quiet.sum() > 10 and np.abs(frames[quiet] - frames[0]).max() == 0
    assert np.abs(np.diff(frames, axis=0)).mean((1, 2)).max() < 8 and abs(frames.mean((1, 2)) - frames[0].mean()).max() < STEP

def test_the_same_seed_gives_the_same_set_another_another(generator, long, tmp_path):
    people, folder, made = long
    make = lambda name, seed: generate_long_videos(dict(q0=people["q0"]), tmp_path/name, n_per_video=4, seconds=11., fps=20., seed=seed, weights=generator, progress=False)
    one, other = make("one", 3), make("other", 4)
    first = made.annotations[made.annotations.video == "q0_g1"].reset_index(drop=True)
    assert one.annotations.equals(first) and not other.annotations.equals(first)
    assert np.array_equal(np.load(tmp_path/"one"/"frames"/"q0_g1.npy"), np.load(folder/"frames"/"q0_g1.npy"))

@pytest.mark.parametrize("how, says", [(dict(n_per_video=9, seconds=5.), "9 expressions with their rests take"), (dict(expressions=["boredom"]), "no expression 'boredom'"), (dict(people={"a": np.zeros((50, 50), np.uint8)}), "no face is found")])
def test_sets_that_cannot_be_made_leave_nothing(generator, long, tmp_path, how, says):
    with pytest.raises(MespotError, match=says): generate_long_videos(**(dict(people=long[0], folder=tmp_path/"none", weights=generator, progress=False) | how))
    assert not (tmp_path/"none").exists()

def test_what_is_drawn_for_each_kind_is_of_that_kind():
    assert COURSES["micro"]["seconds"][1] <= MICRO_SECONDS < COURSES["macro"]["seconds"][0] and COURSES["micro"]["strength"][1] < COURSES["macro"]["strength"][0]
