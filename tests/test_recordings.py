"Recordings: simulated and prepared ones are the same kind of thing, parts of them are whole, and their fingerprint tells any change."
import dataclasses, shutil
import numpy as np, pytest
from mespot.core import MespotError
from mespot.data.export_long import write_samm_lv
from mespot.data.frames import store_frames
from mespot.data.long_videos import read_samm_lv
from mespot.data.phantom import phantom
from mespot.data.prepare import Preparation, prepare
from mespot.data.recordings import Recordings, of_phantom, open_recordings
from mespot.measure.intervals import check_annotations, check_videos

PH = phantom("tiny", subjects=3, videos_per_subject=2, seconds=4., micro_per_minute=30.)


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    "A cache of its own, and one process to render in."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESPOT_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr("mespot.data.phantom.os.cpu_count", lambda: 1)
        yield


@pytest.fixture(scope="module")
def simulated(): return of_phantom(PH, progress=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "The same phantom as a licensed copy, prepared."
    root, out = tmp_path_factory.mktemp("samm-lv"), tmp_path_factory.mktemp("prepared")/"samm-lv"
    write_samm_lv(PH, root, quirks=False, view="aligned")
    prepare(read_samm_lv(root), out, Preparation(aligner="none", aus="none"), workers=1, progress=False)
    return out


@pytest.fixture(scope="module")
def prepared(folder): return open_recordings(str(folder))


def test_simulated_and_prepared_are_alike(simulated, prepared):
    for r in (simulated, prepared):
        assert isinstance(r, Recordings) and r.label and r.name and len(r.subjects) == 3 and r.subjects == sorted(r.subjects)
        check_annotations(r.annotations, check_videos(r.videos))
        assert list(r.stores) == r.videos.video.tolist() and {v: s.n_frames for v, s in r.stores.items()} == dict(zip(r.videos.video, r.videos.n_frames))
        for s in r.stores.values(): assert s.frames.dtype == np.uint8 and s.frames.shape == (120, 112, 112) and s.ok.shape == (120,) and s.fps > 0
    assert simulated.simulated is PH and prepared.simulated is None
    a, b = (r.annotations[["onset", "offset", "kind"]].values.tolist() for r in (simulated, prepared))
    assert sorted(a) == sorted(b)                                              # the same people, under other names
    one, other = (next(iter(r.stores.values())).frames for r in (simulated, prepared))
    assert abs(one.astype(int) - other).max() <= 8                             # pictures on disk may be packed


def test_some_of_the_people(simulated, prepared):
    for r in (simulated, prepared):
        two = r.subjects[::2]
        part = r.of(two[::-1])                                                 # in whatever order they are asked for
        assert part.subjects == two and set(part.videos.subject) == set(part.annotations.subject) == set(two) and list(part.stores) == part.videos.video.tolist()
        assert len(part.videos) == 4 and part.videos.index.tolist() == list(range(4)) and part.annotations.index.tolist() == list(range(len(part.annotations)))
        assert (part.name, part.label, part.simulated) == (r.name, r.label, r.simulated) and len(r.videos) == 6
        whole = r.of(r.subjects)
        assert whole.videos.equals(r.videos) and whole.annotations.equals(r.annotations) and whole.fingerprint() == r.fingerprint()
        assert part.of(two[:1]).subjects == two[:1] and r.of([]).subjects == []
        with pytest.raises(MespotError, match=r"no subject (nobody, someone)"): r.of(["someone", two[0], "nobody"])
        with pytest.raises(MespotError, match=r.subjects[1]): part.of(r.subjects)


def changed(r, table, row, **cells):
    "`r` with some cells of a table changed."
    t = getattr(r, table).copy()
    for name, value in cells.items(): t.loc[row, name] = value
    return dataclasses.replace(r, **{table: t})


def test_fingerprint_tells_every_change_and_only_changes(simulated, prepared, tmp_path):
    for r in (simulated, prepared):
        v, store = next(iter(r.stores.items()))
        known = store.meta["made_by"]
        others = [changed(r, "annotations", 0, onset=r.annotations.onset[0] + 1), changed(r, "annotations", 0, offset=r.annotations.offset[0] - 1),
                  changed(r, "annotations", 0, kind={"micro": "macro", "macro": "micro"}[r.annotations.kind[0]]), dataclasses.replace(r, annotations=r.annotations[1:]),
                  changed(r, "videos", 0, fps=25.), changed(r, "videos", 0, n_frames=100), r.of(r.subjects[:2]), r.of(r.subjects[1:]),
                  dataclasses.replace(r, stores={**r.stores, v: dataclasses.replace(store, meta=dict(store.meta, made_by=dict(known, version="another")))}),
                  dataclasses.replace(r, stores={**r.stores, v: store_frames("other", np.array(store.frames), 120, store.fps, dict(what="painted over"), tmp_path)})]
        prints = [o.fingerprint() for o in others]
        assert len({r.fingerprint(), *prints}) == 1 + len(others)
        same = dataclasses.replace(r, annotations=r.annotations.assign(emotion="none", aus="4"), label="called otherwise")
        assert same.fingerprint() == r.fingerprint()
    assert of_phantom(PH, simulated.stores).fingerprint() == simulated.fingerprint() == of_phantom(PH, progress=False).fingerprint()
    assert len({simulated.fingerprint(), prepared.fingerprint(), of_phantom(phantom("tiny", 1, subjects=3, videos_per_subject=2, seconds=4.), progress=False).fingerprint()}) == 3


def test_fingerprint_of_a_source_that_changed(tmp_path):
    ph = phantom("tiny", subjects=1, seconds=2., micro_per_minute=60.)
    def made():
        prepare(read_samm_lv(tmp_path/"copy"), tmp_path/"out", Preparation(aligner="none", aus="none"), workers=1, progress=False)
        return open_recordings(str(tmp_path/"out")).fingerprint()
    write_samm_lv(ph, tmp_path/"copy", quirks=False, view="aligned")
    before = made()
    assert made() == before
    pictures = sorted(p for p in (tmp_path/"copy").rglob("*") if p.suffix in (".jpg", ".png"))
    pictures[3].write_bytes(pictures[40].read_bytes())
    assert made() != before


def test_other_frames_of_a_phantom(simulated, tmp_path):
    stores = {v: store_frames(v, 255 - np.array(s.frames), 120, s.fps, dict(negative_of=v), tmp_path) for v, s in simulated.stores.items()}
    r = of_phantom(PH, stores)
    assert r.stores is stores and r.videos is PH.videos and r.fingerprint() != simulated.fingerprint()


def test_open_by_name(prepared, folder, monkeypatch):
    one = open_recordings("phantom", "tiny", subjects=1, progress=False)
    assert one.subjects == ["p001"] and one.name == "phantom-tiny" and "seed 0" in one.label and list(one.stores) == ["p001_1"]
    assert one.annotations.equals(phantom("tiny").annotations[lambda a: a.subject == "p001"].reset_index(drop=True))
    monkeypatch.setattr("mespot.data.phantom.stored", lambda *_, **__: None); monkeypatch.setattr("mespot.data.recordings.stored", lambda ph, *_, **__: dict.fromkeys(ph.videos.video))
    assert len(open_recordings().subjects) == 6 and len(open_recordings(preset="small", subjects=7).subjects) == 7
    assert not open_recordings(seed=1).annotations.equals(open_recordings().annotations)
    assert open_recordings(str(folder), subjects=2).subjects == prepared.subjects[:2]


@pytest.mark.parametrize("call,match", [(lambda f: open_recordings("phantom", "tiny", subjects=7), "6 subjects, not 7"), (lambda f: open_recordings("phantom", "huge"), "huge"),
                                        (lambda f: open_recordings("no-such-set"), "no-such-set"), (lambda f: open_recordings(str(f), subjects=4), "3 prepared subjects, not 4")])
def test_what_cannot_be_opened(call, match, folder):
    with pytest.raises(MespotError, match=match): call(folder)


def test_half_prepared_sets_have_what_there_is(folder, tmp_path):
    shutil.copytree(folder, tmp_path/"half")
    whole = open_recordings(str(folder))
    (tmp_path/"half"/"frames"/f"{whole.videos.video[0]}.json").unlink()
    half = open_recordings(str(tmp_path/"half"))
    assert half.videos.video.tolist() == whole.videos.video.tolist()[1:] == list(half.stores) and set(half.annotations.video) <= set(half.videos.video)
    assert half.fingerprint() != whole.fingerprint()
