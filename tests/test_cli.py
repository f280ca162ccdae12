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
