"""Runs: what is asked for is what is run, what is written is whole, and what fails says so."""
import json, os, platform, re, signal, subprocess, sys, time

import nbformat
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings, strategies as st

from mespot.core import MespotError
from mespot.kit import history, runs
from mespot.kit.history import choose, find_runs, read_run, remove_run
from mespot.kit.index_page import write_index
from mespot.kit.runs import RunFailed, convert, find_notebook, literals, run_report

RECORD = """from mespot.report import save_figure, save_metrics, save_table, use_style
import matplotlib.pyplot as plt, pandas as pd, sys
use_style()
print("progress", "50 %", file=sys.stderr)
fig, ax = plt.subplots()
ax.plot([1, 2, epochs])
save_figure("line", fig, "A line & its caption")
save_table("counts", pd.DataFrame({"kind": ["micro", "macro"], "f1": [.123456789, float("nan")]}), "Two rows")
save_metrics(f1=.5, epochs=epochs)"""


digest = runs._package_digest

@pytest.fixture(scope="module", autouse=True)
def package_at_rest():
    "These tests may run while somebody works on the package; a run's name must not change under them."
    with pytest.MonkeyPatch.context() as m:
        m.setattr(runs, "_package_digest", lambda: "same")
        yield


@pytest.fixture(scope="module")
def good(tmp_path_factory, write_chapter):
    d = tmp_path_factory.mktemp("good {x} dir")                   # spaces and braces are allowed in paths
    notebook = write_chapter(d/"ch9_demo.ipynb", "#| export\ndef twice(x): return 2*x", RECORD)
    return notebook, run_report(notebook, {"epochs": "7", "rate": "0.00025", "lcn": "no"}, out=d/"out")


def test_a_run_folder_holds_everything(good):
    notebook, folder = good
    assert folder.parent == notebook.parent/"out"/"ch9_demo" and folder.name.startswith("epochs-7_rate-0.00025_lcn-False_")
    for name in ("report.ipynb", "report.html", "params.yaml", "metrics.json", "environment.json", "done", "tables/counts.csv", "figures/line.png"):
        assert (folder/name).stat().st_size, name
    assert not [p for p in folder.rglob("*") if p.name.startswith(".")]      # no temporary file left
    assert max(folder.rglob("*"), key=lambda p: p.stat().st_mtime_ns if p.is_file() else 0).name == "done"
    assert yaml.safe_load((folder/"params.yaml").read_text()) == {"epochs": 7, "rate": .00025, "preset": "tiny", "lcn": False}
    assert json.loads((folder/"metrics.json").read_text()) == {"f1": .5, "epochs": 7}
    assert pd.read_csv(folder/"tables"/"counts.csv").f1[0] == .123456789


def test_the_environment_is_that_of_the_notebook(good):
    env = json.loads((good[1]/"environment.json").read_text())
    assert env["used"] == {"epochs": 7, "rate": .00025, "preset": "tiny", "lcn": False}
    assert env["numpy"] and env["python"] and env["seconds"] > 0 and env["peak_memory_mb"] > 10 and env["chapter"] == "ch9_demo"
    assert env["device"] == "cpu" and env["seed"] is None and not {"failure", "pid", "host"} & set(env)


def test_seed_and_data_are_in_the_environment(tmp_path, write_chapter):
    (tmp_path/"clip.mp4").write_bytes(b"1")
    notebook = write_chapter(tmp_path/"demo.ipynb", "from mespot.report import save_data\nsave_data('phantom tiny', 'abc')", parameters=f"seed = 7\nclip = {str(tmp_path/'clip.mp4')!r}\ndevice = 'cpu'")
    folder = run_report(notebook, out=tmp_path/"out")
    env = json.loads((folder/"environment.json").read_text())
    assert env["seed"] == 7 and env["data"]["phantom tiny"] == "abc" and len(env["data"][str(tmp_path/"clip.mp4")]) == 16
    assert "<th scope=\"row\">data: phantom tiny</th><td>abc</td>" in (folder/"report.html").read_text()


def test_the_executed_notebook_shows_what_was_injected_and_nothing_of_ours(good):
    nb = nbformat.read(good[1]/"report.ipynb", as_version=4)
    assert not any("close_run" in c.source for c in nb.cells)
    injected, = [c for c in nb.cells if "injected-parameters" in c.metadata.get("tags", ())]
    assert "epochs = 7" in injected.source
    assert str(good[0].parent) not in (good[1]/"report.ipynb").read_text()      # no path of this machine
    nbformat.validate(nb)


def test_the_page_is_complete_in_itself(good):
    page = (good[1]/"report.html").read_text()
    assert "<h1>A small chapter</h1>" in page and "<math" in page and "A line &amp; its caption" in page and "0.123</td>" in page
    assert page.count("data:image/png;base64") == 1 and "progress 50 %" not in page
    assert "<td>0.00025</td>" in page                              # parameters in full, never rounded
    assert "size of the phantom" in page and "default 2" in page
    for outside in ("http://", "https://", "//cdn", "require.js", "mathjax"):
        assert outside not in page.lower().replace("http://www.w3.org/1998/math/mathml", ""), outside


def test_the_same_run_is_not_run_twice_unless_forced(good):
    notebook, folder = good
    done = (folder/"done").stat().st_mtime_ns
    assert run_report(notebook, {"lcn": False, "epochs": 7, "rate": 2.5e-4}, out=notebook.parent/"out") == folder
    assert (folder/"done").stat().st_mtime_ns == done
    assert run_report(notebook, {"lcn": False, "epochs": 7, "rate": 2.5e-4}, out=notebook.parent/"out", force=True) == folder
    assert (folder/"done").stat().st_mtime_ns > done


def test_the_process_environment_is_left_as_it_was(good):
    assert "MESPOT_RUN" not in os.environ and os.environ.get("MPLBACKEND", "") != "module://matplotlib_inline.backend_inline"


@pytest.mark.parametrize("given, says", [({"epoch": "3"}, "epochs (default 2), rate (default 0.01), preset (default 'tiny'), lcn (default True)"),
                                         ({"epochs": "three"}, "expected a value like 2 (int), got 'three'"), ({"lcn": "1"}, "bool"), ({"rate": True}, "float")])
def test_wrong_parameters_are_refused_before_anything_runs(tmp_path, write_chapter, given, says):
    notebook = write_chapter(tmp_path/"demo.ipynb", "open('ran', 'w')")
    with pytest.raises(MespotError) as e: run_report(notebook, given, out=tmp_path/"out")
    assert says in str(e.value) and not (tmp_path/"out").exists()


@pytest.mark.parametrize("how, says", [(dict(tags=()), "0 cells are tagged 'parameters'"), (dict(parameters="n = 2\nm = n + 1"), "`m = n + 1`"),
                                       (dict(parameters="sizes = [1, 2]"), "`sizes = [1, 2]`"), (dict(parameters="import os"), "`import os`")])
def test_a_notebook_without_plain_parameters_is_refused(tmp_path, write_chapter, how, says):
    with pytest.raises(MespotError) as e: run_report(write_chapter(tmp_path/"demo.ipynb", **how), out=tmp_path/"out")
    assert says in str(e.value) and not (tmp_path/"out").exists()


def test_two_parameter_cells_are_refused(tmp_path, write_chapter):
    path = write_chapter(tmp_path/"demo.ipynb")
    nb = nbformat.read(path, as_version=4)
    nb.cells.append(nbformat.v4.new_code_cell("epochs = 3", metadata={"tags": ["parameters"]}))
    nbformat.write(nb, path)
    with pytest.raises(MespotError, match="2 cells"): run_report(path, out=tmp_path)


def test_a_failing_notebook_leaves_what_it_had(tmp_path, write_chapter):
    notebook = write_chapter(tmp_path/"demo.ipynb", RECORD, "import sys; print('clue', file=sys.stderr)\nraise ValueError('no such subject')", "print('never')")
    for _ in range(2):                                            # without `done` it is run again
        with pytest.raises(RunFailed, match="ValueError: no such subject") as e: run_report(notebook, out=tmp_path/"out")
    folder = e.value.folder
    assert not (folder/"done").exists() and (folder/"figures"/"line.png").exists()
    page = (folder/"report.html").read_text()
    assert "This run did not finish" in page and "no such subject" in page and "clue" in page and 'id="failed"' in page
    assert "mespot-close" not in (folder/"report.ipynb").read_text()
    assert read_run(folder)["status"] == "failed" and read_run(folder)["environment"]["failure"] == "ValueError: no such subject"
    assert "no such subject" in (tmp_path/"out"/"index.html").read_text() and (folder/"thumbnail.jpg").stat().st_size < 20_000


def test_an_error_of_ours_in_a_notebook_reads_as_its_sentence(tmp_path, write_chapter):
    notebook = write_chapter(tmp_path/"demo.ipynb", "from mespot.core import MespotError\nraise MespotError('preset huge is not known; use tiny')")
    with pytest.raises(RunFailed, match="^demo failed: preset huge is not known; use tiny$"): run_report(notebook, out=tmp_path)


@pytest.mark.parametrize("cell", ["epochs = 1", "epochs = float(epochs)", "import numpy as np\nepochs = np.int64(epochs)"])
def test_a_notebook_that_overwrites_a_parameter_is_found_out(tmp_path, write_chapter, cell):
    with pytest.raises(RunFailed, match="epochs = .* although 7 was asked for") as e: run_report(write_chapter(tmp_path/"demo.ipynb", cell), {"epochs": 7}, out=tmp_path)
    assert not (e.value.folder/"done").exists() and "although" in (e.value.folder/"report.html").read_text()


def test_a_notebook_whose_process_dies_is_a_failed_run(tmp_path, write_chapter):
    with pytest.raises(RunFailed, match="process died") as e: run_report(write_chapter(tmp_path/"demo.ipynb", "print(1)", "import os; os._exit(3)"), out=tmp_path)
    assert not (e.value.folder/"done").exists() and "process died" in (e.value.folder/"report.html").read_text()


def test_a_run_starts_where_the_caller_is(tmp_path, write_chapter, monkeypatch):
    (tmp_path/"here").mkdir()
    monkeypatch.chdir(tmp_path/"here")
    notebook = write_chapter(tmp_path/"demo.ipynb", "import os\nfrom mespot.report import save_metrics\nsave_metrics(cwd=os.getcwd());")
    folder = run_report(notebook)
    assert folder.parents[1] == tmp_path/"here"/"reports" and json.loads((folder/"metrics.json").read_text())["cwd"] == str(tmp_path/"here")


def test_a_changed_input_file_is_another_run(tmp_path, write_chapter):
    nb = nbformat.read(write_chapter(tmp_path/"demo.ipynb"), as_version=4)
    clip = tmp_path/"clip.mp4"
    clip.write_bytes(b"1")
    first = runs.fingerprint(nb, {"clip": str(clip)})
    assert first == runs.fingerprint(nb, {"clip": str(clip)})
    clip.write_bytes(b"22")
    assert first != runs.fingerprint(nb, {"clip": str(clip)})


@pytest.fixture()
def prepared(tmp_path, monkeypatch):
    "The folder of a small prepared data set in a cache of its own, and its name."
    from mespot.data.prepare import prepared_folder
    monkeypatch.setenv("MESPOT_CACHE", str(tmp_path/"cache"))
    folder = prepared_folder("tiny-set")
    for name, text in [("videos.csv", "video\n006_1\n"), ("annotations.csv", "video,onset\n006_1,3\n"), ("frames/006_1.json", '{"made_by": 1}'), ("aus/006_1.json", "{}"), ("frames/006_1.npy", "x")]:
        (folder/name).parent.mkdir(exist_ok=True)
        (folder/name).write_text(text)
    return folder, "tiny-set"


def test_a_changed_prepared_data_set_is_another_run(prepared, tmp_path, write_chapter):
    nb = nbformat.read(write_chapter(tmp_path/"demo.ipynb"), as_version=4)
    folder, name = prepared
    of = lambda: (runs.fingerprint(nb, {"dataset": name}), runs.fingerprint(nb, {"dataset": str(folder)}))
    seen = [of()]
    for file in ("videos.csv", "annotations.csv", "frames/006_1.json", "aus/006_1.json"):
        (folder/file).write_text((folder/file).read_text() + " ")
        seen.append(of())
    (folder/"frames"/"006_2.json").write_text("{}")
    seen.append(of())
    assert len(set(seen)) == 6 and len({a for a, _ in seen}) == len({b for _, b in seen}) == 6
    for file in folder.rglob("*.*"): os.utime(file, (1, 1))             # prepared once more, to the same
    assert of() == seen[-1]


def test_a_value_that_names_nothing_leaves_nothing_behind(prepared):
    before = sorted(prepared[0].parents[1].rglob("*"))
    assert runs.data_fingerprints({"protocol": "loso", "a": "..", "b": "x"*5000, "c": "nul\0", "d": "", "e": 3, "f": None}) .keys() <= {".."}
    assert sorted(prepared[0].parents[1].rglob("*")) == before


def test_changed_code_or_weights_make_another_run(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "package_file", lambda *parts: tmp_path.joinpath(*parts))
    (tmp_path/"a.py").write_text("x = 1")
    (tmp_path/"w.safetensors").write_bytes(b"1")
    seen = {digest()}
    for name, text in [("a.py", "x = 2"), ("w.safetensors", "2"), ("b.py", "")]:
        (tmp_path/name).write_text(text)
        seen.add(digest())
    (tmp_path/"notes.txt").write_text("not code")
    assert len(seen) == 4 and digest() in seen


def test_chapters_go_by_name(tmp_path, write_chapter, monkeypatch):
    (tmp_path/"notebooks").mkdir()
    write_chapter(tmp_path/"notebooks"/"ch5_spotting.ipynb")
    monkeypatch.setattr(runs, "package_file", lambda *parts: tmp_path.joinpath(*parts))      # as in a wheel: no checkout around
    assert find_notebook("spotting") == find_notebook("ch5_spotting") == ("spotting", tmp_path/"notebooks"/"ch5_spotting.ipynb")
    with pytest.raises(MespotError, match="no chapter 'spoting'; there are: spotting"): find_notebook("spoting")
    with pytest.raises(MespotError, match="nowhere.ipynb: no such notebook"): find_notebook(str(tmp_path/"nowhere.ipynb"))


scalars = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.none())

@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}_", fullmatch=True), scalars, min_size=1, max_size=4))
@settings(deadline=None, max_examples=100)
def test_papermill_passes_on_any_scalar_unchanged(parameters):
    from papermill.translators import PythonTranslator
    assert literals(PythonTranslator.codify(parameters), "x") == parameters


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans()))
def test_what_is_written_is_read_back(value):
    assert convert("x", repr(value), value) == value and type(convert("x", repr(value), value)) is type(value)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupted_run_ends_at_130_and_leaves_no_process(tmp_path, write_chapter):
    notebook = write_chapter(tmp_path/"demo.ipynb", "import os; open('pid', 'w').write(str(os.getpid()))", "import time; time.sleep(60)")
    p = subprocess.Popen([sys.executable, "-c", "import sys; from mespot.kit.cli import main; sys.exit(main())", "report", str(notebook), "--out", "out"],
                         cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    pid, end = tmp_path/"pid", time.time() + 60
    while not (pid.exists() and pid.read_text()) and time.time() < end: time.sleep(.1)
    time.sleep(.5)
    p.send_signal(signal.SIGINT)
    _, err = p.communicate(timeout=30)
    assert p.returncode == 130 and "Traceback" not in err and "interrupted" in err, err
    folder, = (tmp_path/"out"/"demo").iterdir()
    assert not (folder/"done").exists() and "It was interrupted." in (folder/"report.html").read_text() and read_run(folder)["status"] == "partial"
    while time.time() < end:
        try: os.kill(int(pid.read_text()), 0)
        except ProcessLookupError: break
        time.sleep(.1)
    else: pytest.fail("the notebook's process lives on")


# What is there: list, compare, prune, index. No run is made here, only what runs leave.

def leave(folder, done=True, metrics={}, parameters={}, **env):
    "Write what a run leaves in `folder`."
    folder.mkdir(parents=True)
    if done: (folder/"done").touch()
    (folder/"figures").mkdir()
    (folder/"figures"/"a.png").write_bytes(b"no picture")
    (folder/"report.html").write_text("<p>report</p>")
    (folder/"params.yaml").write_text(yaml.safe_dump(parameters))
    (folder/"metrics.json").write_text(json.dumps(metrics))
    (folder/"environment.json").write_text(json.dumps({"mespot": "0", "chapter": folder.parent.name, "run": folder.name, "started": "2026-01-01T10:00:00", "seconds": 5.} | env))
    return folder


@pytest.fixture()
def out(tmp_path):
    out = tmp_path/"reports"
    leave(out/"spotting"/"lcn-False_00000001", metrics=dict(auc_micro=.5, f1_overall=.25), parameters=dict(lcn=False, depth=3), data={"samm-lv": "a"})
    leave(out/"spotting"/"defaults_00000002", metrics=dict(f1_overall=.5, f1_micro=None), parameters=dict(lcn=True, depth=3), started="2026-01-03T10:00:00", data={"samm-lv": "b"})
    leave(out/"spotting"/"depth-6_00000003", done=False, failure="ValueError: no", started="2026-01-02T10:00:00")
    leave(out/"samm_lv"/"defaults_00000004", done=False, seconds=None)
    return out


def command(*words):
    "(exit code, output, exception) of `mespot runs ...`."
    from typer.testing import CliRunner
    from mespot.kit.runs_cli import runs as app
    r = CliRunner().invoke(app, [str(w) for w in words], input="n\n")
    return r.exit_code, r.output, None if isinstance(r.exception, SystemExit) else r.exception


def test_list_says_what_each_run_was(out):
    code, said, _ = command("list", "--out", out)
    lines = [re.split(r"  +", line.strip()) for line in said.splitlines()]
    assert code == 0 and [line[:2] + line[4:5] for line in lines[1:]] == [["spotting", "defaults_00000002", "done"], ["spotting", "depth-6_00000003", "failed"],
                                                                         ["spotting", "lcn-False_00000001", "done"], ["samm_lv", "defaults_00000004", "partial"]], said
    assert [r["run"] for r in find_runs(out)] == ["defaults_00000002", "depth-6_00000003", "lcn-False_00000001", "defaults_00000004"]
    assert [r["status"] for r in find_runs(out)] == ["done", "failed", "done", "partial"]
    assert "F1 overall 0.500" in said and said.index("F1 overall 0.250") < said.index("AUC micro 0.500")
    assert "samm_lv" not in command("list", "--chapter", "spotting", "--out", out)[1]
    assert "there are runs of: samm_lv, spotting" in str(command("list", "--chapter", "spoting", "--out", out)[2])
    assert "there is no folder" in str(command("list", "--out", out/"none")[2])


def test_a_run_at_work_is_running_and_a_dead_one_partial(out):
    me = dict(pid=os.getpid(), host=platform.node(), seconds=None)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    at_work = [leave(out/"x"/f"run_0000000{i}", done=False, **me | more) for i, more in enumerate([{}, dict(host="another machine"), dict(pid=dead.pid)])]
    assert [read_run(p)["status"] for p in at_work] == ["running", "running", "partial"]
    command("prune", "--failed", "--yes", "--out", out)
    assert [p.exists() for p in at_work] == [True, True, False]


def test_compare_shows_what_differs_and_metrics_side_by_side(out):
    code, said, _ = command("compare", "lcn-False", "spotting/defaults", "--out", out)
    rows = [re.split(r"  +", line.strip()) for line in said.splitlines()]
    assert code == 0 and ["lcn", "no", "yes"] in rows and not any(r[0] == "depth" for r in rows)
    assert ["F1 overall", "0.250", "0.500", "+0.250"] in rows and ["AUC micro", "0.500", "(none)"] in rows and ["data: samm-lv", "a", "b"] in rows
    assert rows[0][:2] == ["A", "spotting/lcn-False_00000001"] and "(2026-01-01 10:00, done)" in rows[0], said
    assert [r[0] for r in rows[-3:]] == ["F1 overall", "F1 micro", "AUC micro"]           # one order, though each run lacks some
    assert "2 runs have 'defaults' in their names" in str(command("compare", "defaults", "lcn", "--out", out)[2])
    assert "no run has 'lnc'" in str(command("compare", "lnc", "lcn", "--out", out)[2])
    assert command("compare", out/"spotting"/"lcn-False_00000001", "00000004", "depth", "--out", out)[0] == 0


@pytest.mark.parametrize("options, gone", [("--failed", "34"), ("--failed --keep-last 1", ""), ("--keep-last 1", "13"), ("--keep-last 0", "1234"), ("--older-than 1", "1234"),
                                           ("--older-than 36000", ""), ("--failed --older-than 1", "34")])
def test_prune_takes_what_was_asked_for(out, options, gone):
    before = {r["run"] for r in find_runs(out)}
    assert command("prune", *options.split(), "--dry-run", "--out", out)[0] == 0 and {r["run"] for r in find_runs(out)} == before
    code, said, _ = command("prune", *options.split(), "--out", out)               # asked, and answered no
    assert {r["run"] for r in find_runs(out)} == before and ("nothing was deleted" in said or not gone)
    code, said, error = command("prune", *options.split(), "--yes", "--out", out)
    left = {p.name for p in out.glob("*/*")}
    assert code == 0 and error is None and {name[-1] for name in before - left} == set(gone) and left <= before


def test_prune_wants_to_know_what(out):
    assert "say which runs may go" in str(command("prune", "--yes", "--out", out)[2]) and "from 0 upwards" in str(command("prune", "--keep-last", "-1", "--yes", "--out", out)[2])


def tree(*roots): return {p: (p.is_symlink(), p.read_bytes() if p.is_file() else None) for root in roots for p in root.rglob("*")}

def test_prune_never_touches_what_is_not_a_run_of_ours(out, tmp_path):
    "All that could be taken for a run and is not one, in and around the folder: after pruning everything, it is there byte for byte."
    away = tmp_path/"away"
    foreign = [leave(out/"spotting"/"my-best", run="lcn-False_00000001"), leave(out/"gallery"/"defaults_00000009", chapter="spotting"), leave(out/"a"/"b"/"deep_00000005"),
               leave(away/"spotting"/"elsewhere_00000006"), leave(out/"spotting"/"no-fingerprint")]
    for name, missing in [("no-params_0000000a", "params.yaml"), ("no-env_0000000b", "environment.json")]:
        foreign.append(leave(out/"spotting"/name))
        (foreign[-1]/missing).unlink()
    for name, file, text in [("torn_0000000c", "environment.json", "{"), ("list_0000000d", "environment.json", "[1]"), ("theirs_0000000e", "environment.json", "{}"), ("yaml_0000000f", "params.yaml", "{a: [")]:
        foreign.append(leave(out/"spotting"/name))
        (foreign[-1]/file).write_text(text)
    (out/"spotting"/"notes.txt").write_text("mine")
    (out/"spotting"/"linked_00000006").symlink_to(away/"spotting"/"elsewhere_00000006")
    (out/"linked").symlink_to(away/"spotting")
    (out/"spotting"/"defaults_00000002"/"weights").symlink_to(away)                # in a run that goes: the link goes, what it leads to stays
    before = {p: v for p, v in tree(out, away).items() if not any(p.is_relative_to(r["folder"]) for r in find_runs(out) if r["run"][-1] in "1234" and r["run"] != "my-best")}
    code, said, error = command("prune", "--keep-last", "0", "--yes", "--out", out)
    assert code == 0 and "deleted: 4 runs" in said and tree(out, away) == before
    for folder in foreign:
        if run := read_run(folder):
            with pytest.raises(MespotError, match="by hand"): remove_run(run, out)
    assert tree(out, away) == before


@given(name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30).filter(lambda n: n not in (".", "..")),
       run=st.sampled_from(["lcn-False_00000001", None]))
@settings(deadline=None, max_examples=60)
def test_a_folder_of_any_other_name_is_never_chosen(tmp_path_factory, name, run):
    out = tmp_path_factory.mktemp("reports")
    try: leave(out/"spotting"/name, **{"run": run} if run else {})
    except OSError: return                                          # this file system does not take the name
    chosen = [r["folder"].name for r in choose(find_runs(out), out, keep_last=0)]
    assert chosen == ([name] if re.search(r"_[0-9a-f]{8}$", name) and run in (None, name) else [])


def test_a_removal_that_is_cut_short_can_be_done_again(out, monkeypatch):
    run = read_run(out/"spotting"/"defaults_00000002")
    with monkeypatch.context() as m:
        m.setattr(history.shutil, "rmtree", lambda *a, **k: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
        with pytest.raises(MespotError, match="could not be deleted \\(Permission denied\\)"): remove_run(run, out)
    half = read_run(run["folder"])
    assert half["status"] != "done" and run["folder"] in [r["folder"] for r in choose(find_runs(out), out, failed=True)]
    remove_run(half, out)
    assert not run["folder"].exists()


def test_the_page_of_all_runs_keeps_up(out):
    write_index(out)
    assert "lcn-False_00000001" in (out/"index.html").read_text()
    command("prune", "--keep-last", "1", "--yes", "--out", out)
    page = (out/"index.html").read_text()
    assert "lcn-False_00000001" not in page and "defaults_00000002" in page and page.index('id="spotting"') < page.index('id="samm_lv"')      # the chapter that was run last, first


def test_somebody_elses_index_is_left_alone(out, capsys):
    (out/"index.html").write_text("my home page")
    assert "left as it is" in str(command("index", "--out", out)[2])
    runs._index(out)                                                # after a run: said, but the run has not failed
    assert "no page of all runs" in capsys.readouterr().err and (out/"index.html").read_text() == "my home page"
