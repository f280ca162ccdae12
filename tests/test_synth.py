"`mespot synth` with small random networks: what is painted and kept, when it is made again, and what a user can get wrong."
import dataclasses, hashlib, json, os, shutil, warnings
from pathlib import Path
import cv2
import numpy as np
import pytest
import torch
from mespot.core import MespotError, package_file
from mespot.data.frames import frame_store, open_store
from mespot.data.phantom import phantom
from mespot.data.phantom_face import identity
from mespot.data.portrait import portrait_of, take_portrait, view_of
from mespot.data.video import read_video
from mespot.kit.cli import main
from mespot.nets.stargan2 import StarGANConfig, build, load_networks, save_networks
from mespot.data.export_long import write_samm_lv
from mespot.data.long_videos import read_samm_lv
from mespot.data.prepare import Preparation, prepare, prepared_folder
from mespot.data.recordings import open_recordings
from mespot.synth import load_generator, paint_all, painted, references_of, style_of, synth_set, synth_video

SIZE, N, FPS = 64, 14, 25.
SMALL = StarGANConfig(SIZE, style_dim=8, latent_dim=4, dim_in=4, max_conv_dim=8, hidden_dim=8)
PEOPLE = phantom("tiny", subjects=6, seconds=2., seed=11)

def write(path, frames, fps=FPS):
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, frames.shape[2:0:-1])
    for f in frames: out.write(f[..., ::-1])
    out.release()
    return path

def photo(path, image): cv2.imwrite(str(path), image[..., ::-1]); return path

def weights_of(path, seed, config=SMALL):
    torch.manual_seed(seed)
    save_networks(path, build(config), dict(command="none: random"))
    return path

def sha(path): return hashlib.sha256(path.read_bytes()).hexdigest()

@pytest.fixture(scope="module")
def files(tmp_path_factory, cache):
    "A folder with a video of a person, pictures of others before a wall and before furniture, and random weights."
    at = tmp_path_factory.mktemp("files")
    write(at/"face.mp4", PEOPLE.camera("p001_1", (320, 240)).frames(0, N))
    for name, v, plain in (("anna.png", "p002_1", True), ("berta.png", "p004_1", True), ("room.png", "p003_1", False)): photo(at/name, PEOPLE.camera(v, (256, 256), plain=plain).frames(0, 1)[0])
    photo(at/"nobody.png", np.full((200, 200, 3), 90, np.uint8))
    weights_of(at/"small.safetensors", 0); weights_of(at/"other.safetensors", 1)
    return at

@pytest.fixture(scope="module", autouse=True)
def once():
    "The face of a reference is looked for once, however often it is used."
    from mespot.data import portrait
    find, found = portrait.place_face, {}
    def remembered(grey):
        if (key := grey.tobytes()) not in found: found[key] = find(grey)
        return found[key]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(portrait, "place_face", remembered)
        yield

@pytest.fixture(scope="module")
def networks(files): return load_networks(files/"small.safetensors")[0]

@pytest.fixture
def make(files, tmp_path):
    "synth_video of the video and networks of this file with anything changed, into the test's folder."
    def call(path="face.mp4", reference="anna.png", out=None, weights="small.safetensors", **more):
        return synth_video(files/path, files/reference, out or tmp_path/"out", files/weights, progress=False, **more)
    return call

def made_at(folder, name="face"): return tuple((folder/f).stat().st_mtime_ns for f in (f"{name}.npy", f"{name}.json"))

def count(film):
    cap, frames = cv2.VideoCapture(str(film)), []
    while (got := cap.read())[0]: frames.append(got[1][..., ::-1])
    return frames

# what is painted

def test_every_frame_is_painted_in_the_style_of_the_reference(make, files, networks, tmp_path):
    result = make()
    store, source = result["store"], frame_store(files/"face.mp4", progress=False)
    assert len(store) == N and store.fps == FPS and store.ok.all() and store.frames.shape == (N, 112, 112) and store.frames.dtype == np.uint8
    assert store.path == tmp_path/"out"/"face.npy"
    code, domain = style_of(networks, portrait_of(files/"anna.png", SIZE))
    assert domain == result["manifest"]["domain"]
    for i, frame in enumerate(read_video(files/"face.mp4")):
        by_hand = view_of(painted(networks, take_portrait(frame, source.transforms[i], SIZE)[None], code)[0])
        assert np.abs(by_hand.astype(int) - store.frames[i]).max() <= 1, i
    again = open_store(store.path)
    np.testing.assert_array_equal(again.frames, store.frames)

def test_the_picture_follows_the_source_and_the_style_the_reference(make, networks, files, tmp_path):
    one, other = make()["store"].frames.astype(int), make(reference="berta.png", out=tmp_path/"b")["store"].frames.astype(int)
    assert np.abs(one - other).mean() > .5                                      # another reference, another picture
    moved = np.abs(np.diff(one[[0, N - 1]], axis=0)).mean()
    assert moved > .1                                                           # not one picture repeated

def test_how_many_are_painted_at_once_does_not_matter(make, tmp_path):
    results = [make(out=tmp_path/str(b), batch=b)["store"].frames.astype(int) for b in (3, 64)]
    for r in results[1:]: assert np.abs(r - results[0]).max() <= 1

def test_a_black_frame_stays_black_among_others(networks, files):
    portrait = portrait_of(files/"berta.png", SIZE)
    code = style_of(networks, portrait)[0]
    out = list(paint_all(networks, iter([portrait, 0*portrait, portrait]), code, batch=2))
    assert len(out) == 3 and not out[1].any() and out[0].any()
    assert np.abs(out[0].astype(int) - out[2]).max() <= 1
    assert list(paint_all(networks, [], code)) == []

@pytest.fixture(scope="module")
def gaps(files):
    "A folder of images: black from 8 to 19, which is too long to bridge, and from 24 to 25."
    frames = PEOPLE.camera("p001_1", (320, 240)).frames(0, 30).copy()
    frames[8:20] = 0; frames[24:26] = 0
    (files/"gaps").mkdir()
    for i, f in enumerate(frames): photo(files/"gaps"/f"img{i + 1}.png", f)
    return files/"gaps"

def test_where_there_is_no_face_nothing_is_painted(make, gaps):
    result = make(path="gaps", fps=30.)
    store, source = result["store"], frame_store(gaps, fps=30., progress=False)
    dark = np.zeros(30, bool); dark[8:20] = dark[24:26] = True
    np.testing.assert_array_equal(store.ok, source.ok); np.testing.assert_array_equal(store.ok, ~dark)
    np.testing.assert_array_equal(store.frames.any((1, 2)), ~dark)
    manifest = json.loads((store.path.parent/"manifest.json").read_text())
    assert manifest["frames"] == 30 and manifest["frames_without_face"] == 14 and manifest["fps"] == 30

def test_frames_whose_place_of_the_face_is_not_known_are_left_out(make, files, monkeypatch):
    "An aligner may give views without saying where in the frame they lie; those are not passed off as painted."
    source = frame_store(files/"face.mp4", progress=False)
    transforms = source.transforms.copy(); transforms[3:9] = np.nan
    monkeypatch.setattr("mespot.synth.frame_store", lambda *a, **k: dataclasses.replace(source, transforms=transforms))
    store = make()["store"]
    assert not store.ok[3:9].any() and store.ok.sum() == N - 6 and not store.frames[3:9].any()
    transforms[:] = np.nan
    with pytest.raises(MespotError, match="face.mp4: the aligner does not say where"): make()

# styles and networks

def test_the_domain_is_that_which_paints_the_reference_best(networks, files):
    portrait = portrait_of(files/"berta.png", SIZE)
    given = [style_of(networks, portrait, d) for d in (0, 1)]
    assert [d for _, d in given] == [0, 1] and given[0][0].shape == (1, 8) and not torch.equal(given[0][0], given[1][0])
    errors = [np.abs(painted(networks, portrait[None], code)[0].astype(float) - portrait).mean() for code, _ in given]
    code, domain = style_of(networks, portrait)
    assert domain == int(np.argmin(errors)) and torch.equal(code, given[domain][0]) and errors[0] != errors[1]
    for wrong in (2, -1):
        with pytest.raises(MespotError, match=f"domains 0 to 1, not {wrong}"): style_of(networks, portrait, wrong)

def test_one_domain_is_enough(files, tmp_path):
    one = load_networks(weights_of(tmp_path/"one.safetensors", 3, dataclasses.replace(SMALL, num_domains=1)))[0]
    assert style_of(one, portrait_of(files/"anna.png", SIZE))[1] == 0

def test_codes_for_each_picture_or_one_for_all(networks, files):
    faces = np.stack([portrait_of(files/n, SIZE) for n in ("anna.png", "berta.png")])
    codes = torch.cat([style_of(networks, f, 0)[0] for f in faces])
    both = painted(networks, faces, codes)
    for i in (0, 1): assert np.abs(both[i].astype(int) - painted(networks, faces[i:i + 1], codes[i:i + 1])[0]).max() <= 1
    with pytest.raises(MespotError, match="paints portraits of 64 pixels, not of 128"): painted(networks, np.zeros((1, 128, 128, 3), np.uint8), codes[:1])

def test_the_skip_acts_where_the_face_is(networks, files, monkeypatch):
    "Without the mask of brows, eyes, nose and mouth the picture is another one."
    face = portrait_of(files/"anna.png", SIZE)[None]
    code = style_of(networks, face[0], 0)[0]
    masked = painted(networks, face, code)
    monkeypatch.setattr("mespot.synth.landmark_mask", lambda size: np.zeros((size, size), np.float32))
    assert np.abs(masked.astype(int) - painted(networks, face, code)).mean() > .5

def test_the_authors_format(make, networks, tmp_path):
    states = {name: net.state_dict() for name, net in networks.items()}
    torch.save(states, tmp_path/"x.ckpt")
    torch.save({name: {f"module.{k}": t for k, t in s.items()} for name, s in states.items()}, tmp_path/"y.ckpt")
    one = make()
    for name in ("x.ckpt", "y.ckpt"):
        other = make(weights=tmp_path/name, out=tmp_path/name[0])
        np.testing.assert_array_equal(one["store"].frames, other["store"].frames)
        assert other["manifest"]["weights"] == name and other["manifest"]["sha256"] == sha(tmp_path/name)
        assert other["manifest"]["config"] == one["manifest"]["config"]

def test_only_the_shipped_weights_come_with_a_note(files, monkeypatch):
    monkeypatch.setattr("mespot.synth.SHIPPED", files/"small.safetensors")
    with pytest.warns(UserWarning, match="trained on drawn faces"): _, card = load_generator()
    assert card["weights"] == "small.safetensors" and card["sha256"] == sha(files/"small.safetensors") and card["command"] == "none: random"
    with warnings.catch_warnings():
        warnings.simplefilter("error"); load_generator(files/"small.safetensors"); load_generator(str(files/"other.safetensors"))

# what is kept, and what is made again

def test_the_manifest_says_what_made_it(make, files, tmp_path):
    result = make(domain=1)
    m = json.loads((tmp_path/"out"/"manifest.json").read_text())
    assert m["reference"]["sha256"] == sha(files/"anna.png") and m["reference"]["file"] == "anna.png" and 0 <= m["reference"]["background"] < .03
    assert m["sha256"] == sha(files/"small.safetensors") and m["weights"] == "small.safetensors" and m["domain"] == 1 and m["portrait"] == SIZE
    assert m["config"] == dataclasses.asdict(SMALL) and m["source"]["source"]["path"] == str((files/"face.mp4").resolve())
    assert m["frames"] == N and m["fps"] == FPS and m["frames_without_face"] == 0 and m["film"] is None
    assert result["store"].meta["made_by"] == json.loads(json.dumps(result["manifest"])) and result["manifest"].items() <= {**m, **result["manifest"]}.items()
    assert sorted(p.name for p in (tmp_path/"out").iterdir()) == ["face.json", "face.npy", "face.transforms.npy", "manifest.json"]

def test_the_same_again_is_kept(make, tmp_path):
    make(); before = made_at(tmp_path/"out")
    make(); make(batch=3)
    assert made_at(tmp_path/"out") == before

def test_anything_else_is_made_again(make, files, tmp_path):
    seen = [make()["store"].frames.tobytes()]
    shutil.copy(files/"face.mp4", tmp_path/"face.mp4")
    for change in (dict(reference="berta.png"), dict(weights="other.safetensors"), dict(domain=0), dict(domain=1), dict(path=tmp_path/"face.mp4", reference="berta.png")):
        before = made_at(tmp_path/"out")
        seen.append(make(**change)["store"].frames.tobytes())
        assert made_at(tmp_path/"out") != before, change
    assert len(set(seen[:3])) == 3 and seen[3] != seen[4] and seen[5] == seen[1]            # the copied video shows the same

def test_a_reference_that_was_changed_under_its_name(make, files, tmp_path):
    face = tmp_path/"face.png"
    shutil.copy(files/"anna.png", face); one = make(reference=face)["store"].frames.copy()
    shutil.copy(files/"berta.png", face); other = make(reference=face)["store"].frames
    assert not np.array_equal(one, other)

def test_a_film_has_every_frame_and_shows_what_was_painted(make, tmp_path):
    result = make(video=True)
    frames = count(tmp_path/"out"/"face.mp4")
    assert len(frames) == N and frames[0].shape == (SIZE, SIZE, 3)
    assert cv2.VideoCapture(str(tmp_path/"out"/"face.mp4")).get(cv2.CAP_PROP_FPS) == pytest.approx(FPS)
    for i in (0, 6, N - 1): assert np.abs(view_of(np.ascontiguousarray(frames[i])).astype(float) - result["store"].frames[i]).mean() < 12          # but for compression
    np.testing.assert_array_equal(result["store"].frames, make(out=tmp_path/"silent")["store"].frames)
    assert json.loads((tmp_path/"out"/"manifest.json").read_text())["film"] == "face.mp4" and not [p for p in (tmp_path/"out").iterdir() if ".tmp" in p.name]

def test_a_film_that_is_missing_is_made_again(make, tmp_path):
    film = tmp_path/"out"/"face.mp4"
    make(); assert not film.exists()
    make(video=True); first = film.stat().st_mtime_ns
    make(video=True); make()
    assert film.stat().st_mtime_ns == first                                      # kept, and also if it is not asked for again
    film.unlink(); make(video=True)
    assert len(count(film)) == N

def test_a_film_of_another_reference_does_not_stay(make, tmp_path):
    "Neither beside a result without film, nor as the film of the next."
    film = tmp_path/"out"/"face.mp4"
    make(video=True); first = film.read_bytes()
    make(reference="berta.png"); assert not film.exists()
    make(video=True); make(reference="berta.png"); make(reference="berta.png", video=True)
    assert film.exists() and film.read_bytes() != first
    make(video=True, out=tmp_path/"fresh"); make(video=True)
    assert film.read_bytes() == first == (tmp_path/"fresh"/"face.mp4").read_bytes()

def test_the_source_is_never_overwritten(make, files, tmp_path):
    "Writing into the folder of the video, or painting a painted film once more."
    shutil.copy(files/"face.mp4", tmp_path/"face.mp4"); own = (tmp_path/"face.mp4").read_bytes()
    make(path=tmp_path/"face.mp4", out=tmp_path)                                 # no film: nothing in the way
    with pytest.raises(MespotError, match="would be overwritten"): make(path=tmp_path/"face.mp4", out=tmp_path, video=True)
    assert (tmp_path/"face.mp4").read_bytes() == own
    (tmp_path/"out").mkdir()
    (tmp_path/"out"/"manifest.json").write_text(json.dumps(dict(film="face.mp4"))); shutil.copy(files/"face.mp4", tmp_path/"out"/"face.mp4")
    with pytest.raises(MespotError, match="would be overwritten"): make(path=tmp_path/"out"/"face.mp4")
    assert (tmp_path/"out"/"face.mp4").read_bytes() == own

def test_a_film_that_is_not_ours_is_not_removed(make, tmp_path):
    (tmp_path/"out").mkdir(); (tmp_path/"out"/"face.mp4").write_bytes(b"mine"); (tmp_path/"out"/"manifest.json").write_text("[1, 2")
    make()
    assert (tmp_path/"out"/"face.mp4").read_bytes() == b"mine"

def test_a_failure_in_the_middle_leaves_the_earlier_result(make, tmp_path, monkeypatch):
    make(video=True); before, film = made_at(tmp_path/"out"), (tmp_path/"out"/"face.mp4").read_bytes()
    calls = []
    def fail(*a):
        calls.append(1)
        if len(calls) > 2: raise RuntimeError("out of memory")                   # the first two choose the domain
        return painted(*a)
    monkeypatch.setattr("mespot.synth.painted", fail)
    with pytest.raises(RuntimeError): make(reference="berta.png", out=tmp_path/"new", video=True)
    assert not list((tmp_path/"new").iterdir()) and made_at(tmp_path/"out") == before and (tmp_path/"out"/"face.mp4").read_bytes() == film
    monkeypatch.undo()
    assert len(count(make(reference="berta.png", out=tmp_path/"new", video=True)["store"].path.with_suffix(".mp4"))) == N

# references

def test_a_reference_before_furniture_or_with_glasses_is_warned_of(make, files, tmp_path):
    wears = phantom("tiny", subjects=6, seconds=1., seed=3)
    v = next(v for v in wears.videos.video if identity(wears._seeds(v)[0])["glasses"])
    photo(tmp_path/"glasses.png", wears.camera(v, (256, 256), plain=True).frames(0, 1)[0])
    assert make()["warnings"] == []
    said, = make(reference="room.png")["warnings"]
    assert "background" in said and "room.png" in said
    said, = make(reference=tmp_path/"glasses.png")["warnings"]
    assert "glasses" in said

# mistakes

@pytest.mark.parametrize("how, says", [
    (dict(reference="nobody.png"), "no face is found in the reference picture .*nobody.png"), (dict(reference="missing.png"), "no file .*missing.png"), (dict(reference="small.json"), "small.json cannot be read"),
    (dict(path="missing.mp4"), "no video file or folder .*missing.mp4"), (dict(path="small.json"), "small.json"), (dict(domain=2), "domains 0 to 1, not 2"), (dict(weights="nothing.ckpt"), "nothing.ckpt"),
    (dict(weights="nothing.safetensors"), "nothing.safetensors"), (dict(weights="anna.png"), "anna.png is not a file of tensors"), (dict(weights=package_file("weights", "spotter.safetensors")), "spotter.safetensors"),
    (dict(weights=package_file("weights", "au_meter.safetensors")), "au_meter.safetensors"), (dict(aligner="none"), "320x240"), (dict(aligner="nobody"), "no aligner 'nobody'")])
def test_mistakes_are_one_sentence_and_write_nothing(make, tmp_path, how, says):
    with pytest.raises(MespotError, match=says) as e: make(**how)
    assert "\n" not in str(e.value) and not (tmp_path/"out").exists()

def test_a_device_that_is_not_there(make, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MespotError, match="'cuda' is not available"): make(device="cuda")

def test_a_video_without_a_face(make, tmp_path):
    write(tmp_path/"wall.mp4", np.full((12, 240, 320, 3), 120, np.uint8))
    with pytest.raises(MespotError, match="no face found"): make(path=tmp_path/"wall.mp4")
    assert not (tmp_path/"out").exists()

def test_a_place_that_cannot_be_written(make, tmp_path):
    (tmp_path/"file").write_text("in the way")
    with pytest.raises(MespotError, match="cannot be written"): make(out=tmp_path/"file"/"out")

# the command

@pytest.fixture
def synth(files, tmp_path, monkeypatch, capsys):
    "`mespot synth` on the video, in the test's folder: (exit code, stdout, stderr)."
    monkeypatch.chdir(tmp_path)
    def call(*more, video="face.mp4", weights="small.safetensors"):
        code = main(["synth", str(files/video), *(["--weights", str(files/weights)] if weights else []), *map(str, more)])
        return code, *capsys.readouterr()
    return call

def test_the_command_says_where_it_wrote(synth, files, tmp_path):
    code, out, err = synth("--reference", files/"anna.png", "--domain", 1, "--video")
    assert code == 0 and f"face: {N} frames in the style of anna.png, domain 1" in out and "note" not in err
    assert {"face.npy", "manifest.json", "face.mp4"} <= {p.name for p in (tmp_path/"face-as-anna").iterdir()}
    for part in ("face.npy", "manifest.json", "face.mp4"): assert str(os.path.join("face-as-anna", part)) in out

def test_two_references_give_two_folders(synth, files, tmp_path):
    code, out, _ = synth("--reference", files/"anna.png", "--reference", files/"berta.png", "--out", tmp_path/"all")
    assert code == 0 and out.count("written:") == 2
    stores = [open_store(tmp_path/"all"/f"face-as-{n}"/"face.npy") for n in ("anna", "berta")]
    assert not np.array_equal(*(s.frames for s in stores))
    assert not (tmp_path/"all"/"face.npy").exists()
    code, out, _ = synth("--reference", files/"anna.png", "--out", tmp_path/"one")                 # a single one goes right there
    assert code == 0 and (tmp_path/"one"/"face.npy").exists()

def test_notes_of_the_command(synth, files, monkeypatch):
    code, _, err = synth("--reference", files/"room.png")
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert code == 0 and len(notes) == 1 and "background" in notes[0]
    monkeypatch.setattr("mespot.synth.SHIPPED", files/"small.safetensors")
    code, _, err = synth("--reference", files/"anna.png", weights=None)
    notes = [line for line in err.splitlines() if line.startswith("note: ")]
    assert code == 0 and len(notes) == 1 and "trained on drawn faces" in notes[0]

def test_a_folder_of_images(synth, gaps, files, tmp_path):
    code, out, err = synth("--reference", files/"anna.png", "--fps", 30, video="gaps")
    assert code == 0 and "gaps: 30 frames" in out and "note" not in err
    assert open_store(tmp_path/"gaps-as-anna"/"gaps.npy").fps == 30
    code, out, err = synth("--reference", files/"anna.png", video="gaps")
    assert code == 0 and err.count("note: ") == 1 and "30 frames/s are assumed" in err

@pytest.mark.parametrize("args, says", [
    ([], "Missing option '--reference'"), (["--reference", "nobody.png"], "no face is found"), (["--reference", "missing.png"], "no file"), (["--reference", "anna.png", "--domain", "7"], "domains 0 to 1, not 7"),
    (["--reference", "anna.png", "--domain", "female"], "'--domain'"), (["--reference", "anna.png", "--fps", "0"], "fps is 0"), (["--reference", "anna.png", "--bogus"], "No such option")])
def test_mistakes_in_the_call_are_exit_2(synth, files, tmp_path, args, says):
    code, out, err = synth(*(files/a if a.endswith(".png") else a for a in args))
    assert code == 2 and says in err and "Traceback" not in err and not out and not list(tmp_path.iterdir())
    assert len([line for line in err.splitlines() if line.startswith("mespot: ")]) <= 1

def test_mistakes_in_files_are_exit_2(synth, files):
    for how, says in ((dict(video="missing.mp4"), "no video file or folder"), (dict(weights="anna.png"), "not a file of tensors"), (dict(weights="nothing.ckpt"), "nothing.ckpt")):
        code, out, err = synth("--reference", files/"anna.png", **how)
        assert code == 2 and says in err and err.startswith("mespot: ") and err.count("\n") == 1 and not out

# A whole data set

@pytest.fixture(scope="module")
def prepared(tmp_path_factory, cache):
    "Three people in SAMM-LV's layout, prepared under that name in the cache."
    root = tmp_path_factory.mktemp("samm-lv")
    write_samm_lv(phantom("tiny", subjects=3, seconds=1.2, seed=12, micro_per_minute=60.), root, quirks=False, view="aligned")
    prepare(read_samm_lv(root), None, Preparation(aligner="none", aus="none"), workers=1, progress=False)
    return prepared_folder("samm-lv")

@pytest.fixture(scope="module")
def synthetic(prepared, files): return synth_set("samm-lv", [files/"anna.png", files/"berta.png"], weights=files/"small.safetensors", progress=False)

def test_a_set_is_painted_with_its_labels(prepared, synthetic, files, networks):
    "Same people, frames and annotations under names of their own; each subject in one style, dealt out in turn."
    table, said = synthetic
    before, after = open_recordings("samm-lv"), open_recordings("samm-lv-synth")
    assert after.videos.video.tolist() == [f"{v}s1" for v in before.videos.video] == table.video.tolist() and not said
    assert after.subjects == before.subjects and table.groupby("subject").reference.first().tolist() == ["anna.png", "berta.png", "anna.png"]
    assert after.annotations.drop(columns="video").equals(before.annotations.drop(columns="video")) and len(after.annotations) > 0
    v = before.videos.iloc[1]
    code, _ = style_of(networks, portrait_of(files/"berta.png", SIZE))
    expected = view_of(painted(networks, take_portrait(before.stores[v.video].frames[5], before.stores[v.video].transforms[5], SIZE)[None], code)[0])
    assert np.abs(expected.astype(int) - after.stores[f"{v.video}s1"].frames[5]).max() <= 1
    manifest = json.loads((prepared.parent/"samm-lv-synth"/"manifest.json").read_text())
    assert set(manifest) == set(table.video) and manifest[f"{v.video}s1"]["reference"]["sha256"] == sha(files/"berta.png")

def test_a_set_that_is_there_is_kept_and_joins_the_original(prepared, synthetic, files):
    from mespot.spotting import join
    path = prepared.parent/"samm-lv-synth"/"frames"/f"{synthetic[0].video[0]}.npy"; made = path.stat().st_mtime_ns
    again, _ = synth_set("samm-lv", [files/"anna.png", files/"berta.png"], weights=files/"small.safetensors", progress=False)
    assert path.stat().st_mtime_ns == made and again.equals(synthetic[0])
    both = join(open_recordings("samm-lv"), open_recordings("samm-lv-synth"))
    assert len(both.videos) == 2*len(again) and len(both.subjects) == 3

def test_references_by_subject(files):
    assert references_of(["a", "b"], dict(b="2.png", a="1.png")) == dict(a=Path("1.png"), b=Path("2.png"))
    with pytest.raises(MespotError, match="subject b"): references_of(["a", "b"], dict(a="1.png"))
    with pytest.raises(MespotError, match="no reference picture"): references_of(["a"], [])

def test_the_command_paints_a_set(prepared, files, tmp_path, capsys):
    assert main(["synth", "samm-lv", "--reference", str(files/"anna.png"), "--weights", str(files/"small.safetensors"), "--out", str(tmp_path/"set")]) == 0
    said = capsys.readouterr().out
    assert "3 videos of 3 subjects" in said and str(tmp_path/"set") in said and len(open_recordings(str(tmp_path/"set")).videos) == 3
    (tmp_path/"x").mkdir(); shutil.copy(files/"berta.png", tmp_path/"x"/"anna.png")
    assert main(["synth", str(files/"face.mp4"), "--reference", str(files/"anna.png"), "--reference", str(tmp_path/"x"/"anna.png"), "--out", str(tmp_path/"two")]) == 2
    assert "the same name" in capsys.readouterr().err and not (tmp_path/"two").exists()
