"""The command: exit codes, one sentence for each mistake, no traceback, and nothing heavy before it is needed."""
import os, subprocess, sys, time, types

import pytest
from typer.testing import CliRunner

import mespot
from mespot.core import MespotError
from mespot.kit.cli import app, join_pairs, main

COMMAND = [sys.executable, "-c", "import sys; from mespot.kit.cli import main; sys.exit(main())"]


def command(*args, cwd=None, **env):
    return subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, cwd=cwd, env=os.environ | env, timeout=120)


@pytest.fixture
def spotting(monkeypatch):
    "A stand-in for mespot.spot; set `.spot_video` to what it shall do."
    module = types.ModuleType("mespot.spot")
    monkeypatch.setitem(sys.modules, "mespot.spot", module)
    return module


def test_help_and_version():
    for words in (["--help"], ["report", "--help"], ["spot", "--help"], ["data", "fetch", "--help"]):
        shown = CliRunner().invoke(app, words)
        assert shown.exit_code == 0 and "Usage" in shown.output
    assert CliRunner().invoke(app, ["--version"]).output.strip() == f"mespot {mespot.__version__}"


def test_help_is_quick_and_imports_nothing_heavy():
    heavy = ["torch", "lightning", "pandas", "numpy", "scipy", "cv2", "matplotlib", "papermill", "nbconvert", "IPython"]
    code = f"import sys; from mespot.kit.cli import main; main(['--help']); print([m for m in {heavy} if m in sys.modules], file=sys.stderr)"
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        seconds.append(time.perf_counter() - start)
        assert "report" in shown.stdout and shown.stderr.strip() == "[]"
    assert min(seconds) < 1, seconds


@pytest.mark.parametrize("args, says", [
    (["report", "no-such-chapter"], "no chapter 'no-such-chapter'; there are:"), (["report", "nowhere.ipynb"], "nowhere.ipynb: no such notebook"),
    (["report"], "Missing argument"), (["report", "x", "-p", "epochs"], "-p takes a name and a value"), (["report", "x", "-p"], "-p takes a name and a value"),
    (["report", "x", "-p", "a", "1", "-p", "a", "2"], "parameter a is given twice"), (["report", "x", "--bogus"], "No such option"), (["bogus"], "No such command"),
    (["report", "x", "--run", "a"], "--run a picks a run of a file"), (["report", "x", "--from", "nowhere.yaml"], "nowhere.yaml cannot be read"),
    (["report", "no-such-chapter", "--from", "spotting"], "no chapter 'no-such-chapter'"), (["report", "x", "--from", "spoting"], "no list of runs 'spoting'; there are: generation, spotting"),
    (["data", "fetch", "faces"], "there is no data set 'faces'")])
def test_mistakes_in_the_call_are_one_sentence_and_exit_2(capsys, args, says):
    assert main(args) == 2
    out = capsys.readouterr()
    assert says in out.err and "Traceback" not in out.err and not out.out


def test_pairs():
    assert join_pairs(["-p", "a", "-1", "-p", "b=c=d", "-p", "e", "x y", "-p", "f", ""]) == ["-p", "a=-1", "-p", "b=c=d", "-p", "e=x y", "-p", "f="]
    assert join_pairs(["spot", "-v.mp4", "--out", "p"]) == ["spot", "-v.mp4", "--out", "p"]


def test_report_runs_and_says_where(tmp_path, write_chapter):
    notebook = write_chapter(tmp_path/"demo.ipynb", "from mespot.report import save_metrics\nsave_metrics(epochs=epochs, preset=preset);")
    r = command("report", notebook, "-p", "epochs", 5, "-p", "preset", "a = b", "--out", tmp_path/"out")
    assert r.returncode == 0, r.stderr
    assert r.stdout.startswith("report: ") and r.stdout.strip().endswith("report.html")
    page, = tmp_path.glob("out/demo/epochs-5_preset-a-b_*/report.html")
    assert str(page) in r.stdout and (page.parent/"done").exists()


def test_a_failing_notebook_is_exit_1_with_its_partial_report(tmp_path, write_chapter):
    r = command("report", write_chapter(tmp_path/"demo.ipynb", "1/0"), "--out", tmp_path/"out")
    assert r.returncode == 1 and "demo failed: ZeroDivisionError" in r.stderr and "Traceback" not in r.stderr
    page, = tmp_path.glob("out/demo/*/report.html")
    assert f"partial report: {page}" in r.stderr and not (page.parent/"done").exists()


def test_an_unknown_parameter_is_exit_2_and_lists_those_there_are(tmp_path, write_chapter):
    r = command("report", write_chapter(tmp_path/"demo.ipynb"), "-p", "epoch", 5, cwd=tmp_path)
    assert r.returncode == 2 and "no parameter 'epoch'; it has: epochs (default 2)" in r.stderr and len(r.stderr.strip().splitlines()) == 1
    assert not (tmp_path/"reports").exists()


def test_spot_prints_the_summary_and_where_it_wrote(spotting, capsys, tmp_path):
    calls = []
    def spot_video(path, out=None, fps=None):
        calls.append((str(path), str(out)))
        return dict(summary=["one macro-expression", "0.57 s to 2.33 s"])
    spotting.spot_video = spot_video
    assert main(["spot", "a/face.mp4"]) == 0 and main(["spot", "a/face.mp4", "--out", str(tmp_path)]) == 0
    assert calls == [("a/face.mp4", "face-spotted"), ("a/face.mp4", str(tmp_path))]
    out = capsys.readouterr().out
    assert "one macro-expression\n0.57 s to 2.33 s\n" in out and f"{tmp_path/'timeline.png'}" in out


@pytest.mark.parametrize("error, code, says", [(MespotError("face.mp4: no face was found"), 2, "mespot: face.mp4: no face was found\n"),
                                               (KeyboardInterrupt(), 130, "mespot: interrupted\n"), (IndexError("7"), 1, "mespot: IndexError: 7\n")])
def test_what_goes_wrong_inside_is_told_without_a_traceback(spotting, capsys, monkeypatch, error, code, says):
    def spot_video(path, out=None, fps=None): raise error
    spotting.spot_video = spot_video
    monkeypatch.delenv("MESPOT_DEBUG", raising=False)
    assert main(["spot", "face.mp4"]) == code
    err = capsys.readouterr().err
    assert err.endswith(says) and "Traceback" not in err
    if code == 2:
        assert err == says
        monkeypatch.setenv("MESPOT_DEBUG", "1")
        assert main(["spot", "face.mp4"]) == code and "Traceback" in capsys.readouterr().err


def test_fetch_lists_what_it_fetched(monkeypatch, capsys, tmp_path):
    clips = types.ModuleType("mespot.data.open_clips")
    clips.fetch_open_clips = lambda: {"single_face.mp4": tmp_path/"single_face.mp4"}
    monkeypatch.setitem(sys.modules, "mespot.data.open_clips", clips)
    assert main(["data", "fetch", "open-clips"]) == 0
    assert capsys.readouterr().out == f"single_face.mp4: {tmp_path/'single_face.mp4'}\n"


RUNS = "chapter: demo\nruns:\n- name: quick\n  parameters: {epochs: 1}\n- name: long\n  parameters: {epochs: 9, lcn: false}\n"
RECORD = "from mespot.report import save_metrics\nsave_metrics(epochs=epochs, lcn=lcn, rate=rate);"


@pytest.fixture
def demo(tmp_path, write_chapter):
    "A chapter and a function that calls `mespot report` on it with a file of runs: (exit code, params of the runs made)."
    import yaml
    def call(*more, text=RUNS, cells=(RECORD,), chapter="demo.ipynb"):
        notebook = write_chapter(tmp_path/chapter, *cells)
        (tmp_path/"runs.yaml").write_text(text)
        code = main(["report", str(notebook), "--from", str(tmp_path/"runs.yaml"), "--out", str(tmp_path/"out"), *map(str, more)])
        made = [yaml.safe_load((p.parent/"params.yaml").read_text()) for p in tmp_path.glob("out/*/*/done")]
        return code, sorted(({k: p[k] for k in ("epochs", "rate", "lcn")} for p in made), key=lambda p: p["epochs"])
    return call


def test_all_runs_of_a_file_are_made_and_p_wins(demo, capsys):
    assert demo("-p", "rate", .5, "-p", "lcn", "yes") == (0, [dict(epochs=1, rate=.5, lcn=True), dict(epochs=9, rate=.5, lcn=True)])
    said = capsys.readouterr()
    assert [line.split(": ")[0] for line in said.out.splitlines()] == ["quick", "long"] and "run 2 of 2: long" in said.err
    assert all(os.path.exists(line.split(": ", 1)[1]) for line in said.out.splitlines())


def test_one_run_of_a_file(demo):
    assert demo("--run", "long") == (0, [dict(epochs=9, rate=.01, lcn=False)])


def test_a_plain_mapping_is_a_file_of_parameters(demo):
    assert demo(text="epochs: 4\nrate: 1e-3\n", chapter="ch9_demo.ipynb") == (0, [dict(epochs=4, rate=.001, lcn=True)])      # 1e-3 is text to YAML


def test_a_run_that_fails_does_not_keep_the_next_from_running(demo, capsys):
    code, made = demo(cells=(RECORD, "assert epochs != 1, 'too quick'"))
    err = capsys.readouterr().err
    assert code == 1 and [p["epochs"] for p in made] == [9]
    assert "too quick" in err and "partial report: " in err and err.endswith("failed: quick\n") and "Traceback" not in err


@pytest.mark.parametrize("how, says", [
    (dict(text=RUNS.replace("lcn: false", "lnc: false")), "runs.yaml, run 'long': demo has no parameter 'lnc'; it has: epochs (default 2)"),
    (dict(text=RUNS.replace("epochs: 9", "epochs: many")), "run 'long': parameter epochs: expected a value like 2 (int)"), (dict(more=["-p", "epoch", "3"]), "run 'quick': demo has no parameter 'epoch'"),
    (dict(text=RUNS.replace("demo", "spotting")), "declares runs of the chapter spotting, not of demo"), (dict(more=["--run", "short"]), "no run 'short'; there are: quick, long"),
    (dict(text=RUNS.replace("long", "quick")), "run 'quick': the name is given 2 times"), (dict(text="epoch: 3"), "run 'runs': demo has no parameter 'epoch'")])
def test_a_slip_in_the_last_run_is_found_before_the_first(demo, capsys, tmp_path, how, says):
    more = how.pop("more", [])
    assert demo(*more, **how) == (2, []) and not (tmp_path/"out").exists()
    err = capsys.readouterr().err
    assert says in err and len(err.strip().splitlines()) == 1


def test_a_chapter_given_by_file_name_goes_by_its_name(demo):
    assert demo("--run", "quick", chapter="ch9_demo.ipynb")[0] == 0


def test_the_packaged_runs_fit_their_chapters():
    from mespot.core import package_file
    from mespot.kit.cli import parameter_sets
    for path in package_file("sweeps").glob("*.yaml"): assert len(parameter_sets(path.stem, path.stem)) > 1
