"The manifest of data sets: what it says is right, slips in it are found, and copies are found where the user keeps them."
import importlib
import os
import pkgutil
import re
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, strategies as st

import mespot.data
from mespot.core import MespotError
from mespot.data import manifest as module
from mespot.data.manifest import agrees, citation, count_files, count_text, data_root, entry, find, manifest, read_yaml
from mespot.data.phantom import PRESETS, phantom

ROOT = Path(__file__).parents[1]
TEXT = (ROOT/"data_manifest.yaml").read_text(encoding="utf-8")
NAMES = """samm-lv samm samm-synth cas-me2 cas-me3 megc2022 megc2023 casme2 smic ck-plus mug mmi kdef fer2013 affectnet ffhq celeba mgif moving-mnist mnist
           open-clips phantom-tiny phantom-small phantom-varied phantom-standard phantom-hard""".split()
EMOTIONS = set("happiness sadness surprise fear anger disgust contempt neutral repression others negative positive".split())
SMALL = """
faces:
  title: Faces
  kind: images
  used_in: nowhere
  access: licence
  licence: None.
  apply: Ask.
  citation:
    - {key: a2020, type: article, author: A and B, title: T, venue: V, year: 2020, doi: 10.1000/x}
  layout:
    images: {glob: "*.png", files: 3}
  annotations: {}
  fps: null
  expected: {subjects: 4, micro: 7, classes: {anger: 1}}
"""


@pytest.fixture(autouse=True)
def nothing_set_up(tmp_path, monkeypatch):
    "Settings of the person who runs the tests do not count."
    manifest()                                                     # mespot's own, before the checkout is another
    empty = tmp_path/"empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    monkeypatch.delenv("MESPOT_DATA", raising=False)
    monkeypatch.setattr(module, "package_file", (empty/"mespot").joinpath)


# ---- what it says

def test_every_data_set_is_there():
    assert sorted(manifest()) == sorted(NAMES)
    assert all(e.name == name for name, e in manifest().items())


def test_licensed_sets_say_how_to_apply_and_what_to_cite():
    licensed = {n for n, e in manifest().items() if e.access == "licence"}
    assert licensed == set(NAMES[:15])                             # from SAMM-LV to AffectNet
    for name, e in manifest().items():
        assert e.apply.endswith(".") and e.licence.endswith("."), name
        assert bool(e.citation) == (e.kind != "phantom"), name
        assert name not in licensed or re.search(r"https?://|@", e.apply), f"{name}: neither page nor address"


def test_references_are_whole_and_keys_mean_one_thing():
    references = [r for e in manifest().values() for r in e.citation]
    assert all(r == s for r in references for s in references if r.key == s.key)
    dois = {r.doi: r.key for r in references if r.doi}
    assert len(dois) == len({r.key for r in references if r.doi})  # two papers never share a DOI
    for r in references: assert "?" not in r.text() and str(r.year) in r.key and (r.doi or r.note)


@pytest.mark.parametrize("name, counts, fps", [
    ("samm-lv", dict(subjects=30, videos=147, micro=159, macro=343), 200), ("samm-synth", dict(subjects=30, videos=147, micro=159, macro=343), 200),
    ("cas-me2", dict(subjects=22, videos=(87, 98), micro=57, macro=300), 30), ("megc2022", dict(videos=10), None), ("megc2023", dict(videos=30), None),
    ("samm", dict(videos=159, micro=159), 200), ("casme2", dict(subjects=26, videos=255, micro=255), 200), ("smic", dict(subjects=16, videos=(157, 164), micro=(157, 164)), 100),
    ("ck-plus", dict(subjects=123, videos=593), 30), ("mug", dict(subjects=(52, 86)), 19), ("kdef", dict(subjects=70), None), ("ffhq", dict(images=(69471, 70000)), None),
    ("mgif", dict(videos=1000), None), ("moving-mnist", dict(videos=10000), None)])
def test_counts_are_those_of_the_sources(name, counts, fps):
    e = entry(name)
    assert {k: getattr(e.expected, k) for k in counts} == counts and e.fps == fps


def test_classes_add_up():
    for name, e in manifest().items():
        classes = e.expected.classes or {}
        assert set(classes) <= EMOTIONS, name
        known = [n for n in classes.values() if n is not None]
        assert not known or len(known) == len(classes), name
    total = lambda name: sum(entry(name).expected.classes.values())
    assert total("ck-plus") == 327 == entry("ck-plus").annotations["emotions"].files
    assert total("samm") == entry("samm").expected.micro
    for preset in PRESETS: assert total(f"phantom-{preset}") == entry(f"phantom-{preset}").expected.micro + entry(f"phantom-{preset}").expected.macro


@pytest.mark.parametrize("preset", PRESETS)
def test_phantom_counts_are_the_real_ones(preset):
    ph, e = phantom(preset), entry(f"phantom-{preset}")
    kinds = ph.annotations.kind.value_counts()
    found = dict(subjects=ph.videos.subject.nunique(), videos=len(ph.videos), micro=kinds["micro"], macro=kinds["macro"], images=None,
                 classes=ph.annotations.emotion.value_counts().to_dict())
    assert e.expected.model_dump() == found and e.fps == ph.preset.fps and e.kind == "phantom"


def test_it_never_says_where_data_lie():
    assert not re.search(r"(?<![\w/:.])(/(home|data|mnt|media|work|Users|tmp)/|~/|[A-Z]:\\)", TEXT)
    for e in manifest().values():
        for part in (*e.layout.values(), *e.annotations.values()): assert not any(g.startswith(("/", "~")) or ".." in g for g in part.glob)


def test_git_ignores_the_users_own_settings():
    if not (ROOT/".git").exists(): pytest.skip("no checkout")
    assert subprocess.run(["git", "check-ignore", "-q", "data.local.yaml"], cwd=ROOT).returncode == 0
    assert subprocess.run(["git", "check-ignore", "-q", "data_manifest.yaml"], cwd=ROOT).returncode == 1


# ---- slips

@pytest.mark.parametrize("old, new, complaint", [
    ("  fps: null", "  fps: null\n  size: 5", r"faces > size: is not a known key$"),
    ("micro: 7", "micros: 7", r"faces > expected > micros: is not a known key$"),
    ("  title: Faces", "  title: Faces\n  name: other", r"faces > name: is not a known key$"),
    ("micro: 7", "micro: many", r"faces > expected > micro: should be a whole number .*, not 'many'$"),
    ("micro: 7", "micro: true", r"faces > expected > micro: should be a whole number"),
    ("micro: 7", "micro: 7.5", r"faces > expected > micro: should be a whole number .*, not '7.5'$"),
    ("micro: 7", "micro: -7", r"faces > expected > micro: should be a whole number"),
    ("micro: 7", "micro: [9, 7]", r"faces > expected > micro: should be a whole number or a range"),
    ("anger: 1", "anger: x", r"faces > expected > classes > anger: should be a whole number"),
    ("fps: null", "fps: fast", r"faces > fps: should be a number, not 'fast'$"),
    ("fps: null", "fps: -1", r"faces > fps: should be greater than 0, not '-1'$"),
    ("title: Faces", "title: 7", r"faces > title: should be text, not '7'$"),
    ("title: Faces", "title: [a]", r"faces > title: should be text"),
    ("kind: images", "kind: pictures", r"faces > kind: should be 'long videos', .* or 'phantom', not 'pictures'$"),
    ("files: 3", "optional: 1", r"faces > layout > images > optional: should be true or false, not '1'$"),
    ("annotations: {}", "annotations: []", r"faces > annotations: should be a mapping"),
    ('glob: "*.png"', "glob: []", r"faces > layout > images > glob: should not be empty"),
    ('glob: "*.png"', "glob: /data/*.png", r"faces > layout > images > glob > 1: should be a pattern below the set's folder, not '/data/\*.png'$"),
    ('glob: "*.png"', 'glob: "../*.png"', r"should be a pattern below"), ('glob: "*.png"', "glob: '~/x'", r"should be a pattern below"),
    ('glob: "*.png"', "glob: 'C:\\x'", r"should be a pattern below"),
    ("year: 2020", "year: '2020'", r"faces > citation > 1 > year: should be a whole number, not '2020'$"),
    ("doi: 10.1000/x", "doi: https://doi.org/10.1000/x", r"faces > citation > 1 > doi: .*not 'https://doi.org/10.1000/x'$"),
    ("doi: 10.1000/x", "doi: null", r"faces > citation > 1: has no DOI; its note should say why$"),
    ("  apply: Ask.\n", "", r"faces > apply: is missing$"), ("key: a2020, ", "", r"faces > citation > 1 > key: is missing$"),
    ("  fps: null\n", "", r"faces > fps: is missing$"), ("  layout:\n    images: {glob: \"*.png\", files: 3}\n", "", r"faces > layout: is missing$"),
    ("apply: Ask.", 'apply: ""', r"faces: needs a licence, so apply and citation should be filled in$"),
    ("  title: Faces", "  titel: Faces", r"faces > title: is missing \(and 1 more\)$")])
def test_slips_are_named(tmp_path, old, new, complaint):
    assert old in SMALL
    (tmp_path/"data_manifest.yaml").write_text(SMALL.replace(old, new, 1))
    with pytest.raises(MespotError, match=complaint) as e: manifest(tmp_path/"data_manifest.yaml")
    assert str(e.value).startswith("data_manifest.yaml: faces") and "\n" not in str(e.value)


@pytest.mark.parametrize("text, complaint", [
    (SMALL + SMALL, r", line 17, column 1: is not valid YAML: the key 'faces' is given twice"),
    (SMALL.replace("  fps: null", "  fps: null\n  fps: 30"), r", line 15, column 3: .* the key 'fps' is given twice"),
    (SMALL.replace("subjects: 4", "micro: 4"), "the key 'micro' is given twice"),
    (SMALL.replace("title: Faces", "title: a: b"), r", line 3, column \d+: is not valid YAML: mapping values are not allowed"),
    (SMALL.replace("{subjects", "{{subjects"), "is not valid YAML"), ("\tfaces: 1", r"line 1, column 1: is not valid YAML"),
    ("!!python/object/apply:os.system ['echo run']", "is not valid YAML: could not determine a constructor"),
    ("faces: *nobody", "is not valid YAML: found undefined alias"), ("- faces", r"should be a mapping \(name: ...\), not \"\['faces'\]\""), ("faces", "should be a mapping")])
def test_bad_yaml_is_refused(tmp_path, text, complaint, capfd):
    path = tmp_path/"data_manifest.yaml"
    path.write_text(text)
    with pytest.raises(MespotError, match=complaint) as e: manifest(path)
    assert str(path) in str(e.value) and "\n" not in str(e.value) and "run" not in capfd.readouterr().out


def test_unreadable_files(tmp_path):
    with pytest.raises(MespotError, match="cannot be read: No such file"): manifest(tmp_path/"no.yaml")
    with pytest.raises(MespotError, match="cannot be read: Is a directory"): manifest(tmp_path)
    (tmp_path/"b.yaml").write_bytes(b"a: \xff\xfe\x00")
    with pytest.raises(MespotError, match="is not valid YAML"): manifest(tmp_path/"b.yaml")
    (tmp_path/"c.yaml").write_text("# nothing yet\n")
    assert read_yaml(tmp_path/"c.yaml") == {}
    (tmp_path/"d.yaml").write_text("faces:\n")
    with pytest.raises(MespotError, match="faces: should be a mapping"): manifest(tmp_path/"d.yaml")


def test_the_strict_reader_reads_what_yaml_reads():
    assert read_yaml(ROOT/"data_manifest.yaml") == yaml.safe_load(TEXT)


def test_found_in_a_checkout_and_in_a_package(tmp_path, monkeypatch):
    checkout, package = tmp_path/"top", tmp_path/"top"/"mespot"
    package.mkdir(parents=True)
    monkeypatch.setattr(module, "package_file", package.joinpath)
    fresh = module._default.__wrapped__
    with pytest.raises(MespotError, match="cannot be read"): fresh()
    (package/"data_manifest.yaml").write_text(SMALL)
    assert list(fresh()) == ["faces"]
    (checkout/"data_manifest.yaml").write_text(SMALL.replace("faces:", "others:"))
    assert list(fresh()) == ["others"]


# ---- counts, names, citations

@given(st.integers(0, 300), st.one_of(st.none(), st.integers(0, 300), st.tuples(st.integers(0, 300), st.integers(0, 300)).map(sorted).map(tuple)))
def test_agrees(found, expected):
    allowed = range(301) if expected is None else range(expected[0], expected[1] + 1) if isinstance(expected, tuple) else [expected]
    assert agrees(found, expected) == (found in allowed)
    assert (count_text(expected) == "") == (expected is None)


@pytest.mark.parametrize("spelling, name", [("samm_lv", "samm-lv"), ("SAMM-LV", "samm-lv"), (" Samm lv", "samm-lv"), ("SAMM_longvideos", "samm-lv"), ("casme2", "casme2"),
                                            ("CASME II", "casme2"), ("cas_me2", "cas-me2"), ("CAS(ME)^2", "cas-me2"), ("CASME_sq", "cas-me2"), ("CAS(ME)3", None),
                                            ("casme3", "cas-me3"), ("CAS(ME)³", "cas-me3"), ("CK+", "ck-plus"), ("ckplus", "ck-plus"), ("samm", "samm"), ("phantom_tiny", "phantom-tiny")])
def test_spellings(spelling, name):
    if name: assert entry(spelling).name == name
    else:
        with pytest.raises(MespotError, match="cas-me3"): entry(spelling)


def test_no_spelling_means_two_sets():
    seen = {}
    for e in manifest().values():
        for s in (e.name, *e.aka): assert seen.setdefault(module._plain(s), e.name) == e.name, s
    short = {}
    for s, name in seen.items(): short.setdefault(s.replace("-", ""), set()).add(name)
    assert {s for s, names in short.items() if len(names) > 1} == {"casme2"}   # CASME II's own name; what CAS(ME)² becomes without its hyphen
    with pytest.raises(MespotError, match="did you mean .*casme2"): entry("cas-me-2")


def test_unknown_names():
    with pytest.raises(MespotError, match="there is no data set 'sam-lv'; did you mean .*samm-lv"): entry("sam-lv")
    with pytest.raises(MespotError, match="there is no data set 'xyz'; choose one of samm-lv, "): entry("xyz")
    with pytest.raises(MespotError, match="there is no data set ''"): data_root("")


def test_citations():
    assert citation("samm_lv").endswith("https://doi.org/10.1109/FG47880.2020.00029") and "Kendrick and M. H. Yap: SAMM Long" in citation("samm-lv")
    assert len(citation("megc2023").split("\n")) == 3 and citation("phantom-tiny") == ""
    for name in NAMES:
        text = citation(name, bibtex=True)
        assert text.count("{") == text.count("}") and text.count("@") == len(entry(name).citation) and "None" not in text
    assert "@article{yan2014casme,\n  author = {W.-J. Yan and" in citation("casme2", True) and "journal = {PLoS ONE}" in citation("casme2", True)


# ---- where copies lie

@pytest.fixture
def disk(tmp_path):
    for name in ("SAMM_LV", "cas-me2/rawpic", "x"): (tmp_path/"disk"/name).mkdir(parents=True)
    return tmp_path/"disk"


def test_nowhere(): assert all(data_root(name) is None for name in NAMES)


def test_a_given_folder(disk, monkeypatch):
    monkeypatch.setenv("MESPOT_DATA", str(disk))
    assert data_root("samm-lv", disk/"x") == disk/"x" == data_root("samm-lv", str(disk/"x"))
    with pytest.raises(MespotError, match=r"there is no folder .*/y, which was given for samm-lv"): data_root("samm-lv", disk/"y")


def test_data_local_yaml(disk, monkeypatch):
    here, top = Path.cwd(), module.package_file().parent
    (here/"data.local.yaml").write_text(f"samm_lv: {disk}/SAMM_LV\ncas-me2: ../disk/cas-me2\nsmic: /no/such/folder\n")
    assert data_root("SAMM-LV") == disk/"SAMM_LV" and data_root("cas-me2").samefile(disk/"cas-me2") and data_root("samm") is None
    with pytest.raises(MespotError, match=r"there is no folder /no/such/folder, which .*data.local.yaml names for smic"): data_root("smic")
    (here/"sub").mkdir()
    monkeypatch.chdir(here/"sub")                                  # relative paths start at the file, here that of the checkout
    assert data_root("cas-me2").samefile(disk/"cas-me2") and top == here
    (here/"sub"/"data.local.yaml").write_text(f"cas-me2: {disk}/x\n")
    assert data_root("cas-me2") == disk/"x" and data_root("samm-lv") == disk/"SAMM_LV"   # the nearer file first, the other for the rest
    monkeypatch.setenv("MESPOT_DATA", str(disk))
    assert data_root("cas-me2") == disk/"x"


def test_home_is_understood(disk, monkeypatch):
    monkeypatch.setenv("HOME", str(disk))
    Path("data.local.yaml").write_text("mug: ~/x")
    assert data_root("mug") == disk/"x" == data_root("mug", "~/x")


@pytest.mark.parametrize("text, complaint", [("sam-lv: /data", "data.local.yaml: there is no data set 'sam-lv'; did you mean .*samm-lv"), ("samm-lv: 5", "samm-lv: should be a path, not '5'"),
                                             ("samm-lv:", "samm-lv: should be a path, not 'None'"), ("- samm-lv", "should be a mapping"), ("samm-lv: [", "is not valid YAML"),
                                             ("samm-lv: /a\nSAMM_LV: /b", "samm-lv is given twice"), ("samm-lv: /a\nsamm-lv: /b", "the key 'samm-lv' is given twice")])
def test_a_bad_data_local_yaml(text, complaint):
    Path("data.local.yaml").write_text(text)
    with pytest.raises(MespotError, match=complaint) as e: data_root("mug")
    assert "data.local.yaml" in str(e.value)


def test_mespot_data(disk, monkeypatch):
    monkeypatch.setenv("MESPOT_DATA", str(disk))
    assert data_root("samm-lv") == disk/"SAMM_LV" and data_root("cas-me2") == disk/"cas-me2" and data_root("casme2") is None and data_root("samm") is None
    (disk/"CASME2").mkdir()
    assert data_root("casme2") == disk/"CASME2" and data_root("cas-me2") == disk/"cas-me2"
    (disk/"CAS(ME)^2").mkdir()
    assert data_root("cas-me2") == disk/"cas-me2"                  # the set's own name goes first
    (disk/"SAMMLV").mkdir()
    with pytest.raises(MespotError, match="has SAMMLV and SAMM_LV for samm-lv"): data_root("samm-lv")
    monkeypatch.setenv("MESPOT_DATA", str(disk/"gone"))
    with pytest.raises(MespotError, match=r"there is no folder .*gone, which MESPOT_DATA names"): data_root("samm-lv")
    monkeypatch.setenv("MESPOT_DATA", "")
    assert data_root("samm-lv") is None


# ---- what lies there

def touch(root, *names):
    for name in names:
        (root/name).parent.mkdir(parents=True, exist_ok=True)
        (root/name).touch()


PATHS = st.lists(st.sampled_from("ab"), min_size=1, max_size=3).map(lambda p: "/".join(p))


@given(st.sets(st.tuples(PATHS, st.sampled_from(["1.jpg", "2.jpg", "1.png"])), max_size=12), st.sampled_from(["*.jpg", "*/*.jpg", "a/*.jpg", "*/b/*.*", "[a]/?/1.*", "a/b/1.png"]))
def test_counts_what_glob_counts(tmp_path_factory, files, glob):
    root = tmp_path_factory.mktemp("tree")
    touch(root, *(f"{folder}/{name}" for folder, name in files))
    found = [p for p in root.glob(glob) if p.is_file()]
    assert count_files(root, glob) == (len(found), len({p.parent for p in found}))


def test_letter_case_and_hidden_files(tmp_path):
    touch(tmp_path, "AF01/AF01AFS.JPG", "AF01/._AF01AFS.JPG", ".trash/AF01AFS.JPG", "AF02/af02afs.jpg", "AF02/Thumbs.db", "AF02/~$AF02.jpg")
    (tmp_path/"AF02"/"AF02.jpg").mkdir()                           # a folder is no file
    assert count_files(tmp_path, "*/[AB][FM]*.jpg") == (2, 2) and count_files(tmp_path, "*/*.jpg") == (2, 2)


def test_find_a_copy(tmp_path):
    frames = [f"cohn-kanade-images/S{i:03d}/001/S{i:03d}_001_{j:08d}.png" for i in range(593) for j in (1, 2)]
    labels = [f"Emotion/S{i:03d}/001/S{i:03d}_001_00000002_emotion.txt" for i in range(327)]
    touch(tmp_path, *frames, *labels)
    found = find("CK+", tmp_path).set_index("part")
    assert found.files.to_dict() == {"frames": 1186, "emotions": 327, "action units": 0} and found.folders["frames"] == 593
    assert found.complete.all() and found.expected.to_dict() == {"frames": "593 folders", "emotions": "327 files", "action units": "593 files (optional)"}
    (tmp_path/labels[5]).unlink()
    touch(tmp_path, "FACS/S001/001/S001_001_00000002_facs.txt")
    found = find("ck-plus", tmp_path).set_index("part")
    assert found.complete.to_dict() == {"frames": True, "emotions": False, "action units": False}     # what is there has to be whole


def test_find_deeper_and_by_another_pattern(tmp_path):
    touch(tmp_path, *(f"copy/longVideoFaceCropped/s15/{i}/img_1.jpg" for i in range(90)), "copy/code_final.xlsx")
    found = find("cas-me2", tmp_path)
    assert found.glob.tolist() == ["*/longVideoFaceCropped/s*/*/img*.jpg", "*/*code_final*.xls*"] and found.complete.all()
    touch(tmp_path, "copy/rawpic/s15/15_0101disgustingteeth/img001.jpg")
    assert find("cas-me2", tmp_path).complete.tolist() == [False, True]    # the first pattern that finds something counts


def writer(name):
    "The function that writes a phantom in the layout of a set, from whichever module has it."
    for found in pkgutil.iter_modules(mespot.data.__path__, "mespot.data."):
        if ".export_" in found.name and (write := getattr(importlib.import_module(found.name), f"write_{name.replace('-', '_')}", None)): return write
    pytest.skip(f"nothing writes {name}")


@pytest.mark.parametrize("name", ["samm-lv", "cas-me2", "samm", "casme2", "smic", "ck-plus", "mug", "fer2013", "kdef"])
def test_patterns_fit_what_the_writers_write(tmp_path, name):
    write = writer(name)
    written = write(phantom("tiny", subjects=4, seconds=8.), tmp_path/"a"/"b", view="aligned", quirks=name != "mug")     # MUG's quirk is a take in the wrong place
    found, parts = find(name, tmp_path).set_index("part"), {**entry(name).layout, **entry(name).annotations}
    assert all(found.files[part] or spec.optional for part, spec in parts.items())
    if "frames" in parts: assert (found.files["frames"], found.folders["frames"]) == (written.videos.n_frames.sum(), len(written.videos))


def test_find_says_where_to_look(tmp_path, monkeypatch):
    with pytest.raises(MespotError, match=r"no copy of .*SAMM-LV.* was found: .*data.local.yaml.*M.Yap@mmu.ac.uk"): find("samm-lv")
    (tmp_path/"samm-lv").mkdir()
    monkeypatch.setenv("MESPOT_DATA", str(tmp_path))
    found = find("samm-lv")
    assert found.files.tolist() == [0, 0] and not found.complete.any() and found.glob.tolist()[0] == "SAMM_longvideos/*/*.jpg"
    assert find("phantom-tiny").empty and list(find("phantom-tiny").columns) == list(found.columns)


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def denied(folder): raise PermissionError(13, "Permission denied", str(folder))
    monkeypatch.setattr(module, "scandir", denied)
    with pytest.raises(MespotError, match="cannot be opened: Permission denied; check its permissions") as e: find("samm-lv", tmp_path)
    assert str(tmp_path) in str(e.value)
    monkeypatch.setenv("MESPOT_DATA", str(tmp_path))
    with pytest.raises(MespotError, match="which MESPOT_DATA names, cannot be opened: Permission denied"): data_root("samm-lv")


def test_a_million_frames_take_less_than_a_minute(tmp_path):
    names = [f"006_1_{i:04d}.jpg" for i in range(3000)]
    (tmp_path/"SAMM_longvideos"/"006_1").mkdir(parents=True)
    for name in names: os.close(os.open(tmp_path/"SAMM_longvideos"/"006_1"/name, os.O_CREAT | os.O_WRONLY))
    start = time.perf_counter()
    assert count_files(tmp_path, "SAMM_longvideos/*/*.jpg") == (3000, 1)
    assert (time.perf_counter() - start)*1_200_000/3000 < 60
