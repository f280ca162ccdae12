"""Runs: what is asked for is what is run, what is written is whole, and what fails says so."""
import json, os, signal, subprocess, sys, time

import nbformat
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings, strategies as st

from mespot.core import MespotError
from mespot.kit import runs
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
    assert not (folder/"done").exists() and "It was interrupted." in (folder/"report.html").read_text()
    while time.time() < end:
        try: os.kill(int(pid.read_text()), 0)
        except ProcessLookupError: break
        time.sleep(.1)
    else: pytest.fail("the notebook's process lives on")
