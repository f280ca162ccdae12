"""Sweeps: every run is made once, wherever it is made; a death costs one run, an interruption none that is done; the table and the page say what came out."""
import json, os, re, signal, subprocess, sys, threading, time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mespot.core import MespotError
from mespot.kit import sweep
from mespot.kit.cli import main
from mespot.kit.sweep import Sweep, executor, gather_runs, graphics_cards, main_metrics, plan_sweep, render_sweep, run_sweep, share_out

COMMAND = [sys.executable, "-c", "import sys; from mespot.kit.cli import main; sys.exit(main())"]
PARAMETERS = "n = 0\nkind = 'plain'\nworkers = 0"
# Leaves its mark in the working directory: one letter for each time it was begun, and the process that began it. Waits at a gate, if there is one.
BODY = """import os, time
from mespot.report import save_metrics
open(f"begun-{n}", "a").write("x")
open(f"by-{n}", "w").write(str(os.getppid()))
open(f"pid-{n}", "w").write(str(os.getpid()))
time.sleep(.5)
while n and os.path.exists("gate"): time.sleep(.1)
if kind == "broken": raise ValueError(f"no number {n}")
save_metrics(f1_overall=n/7, text="a < b")"""
WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="signals")


@pytest.fixture
def chapter(tmp_path, monkeypatch, write_chapter):
    "A folder, which is the working one, with a chapter and a function that writes a sweep file of it."
    monkeypatch.chdir(tmp_path)
    write_chapter(tmp_path/"demo.ipynb", BODY, parameters=PARAMETERS)
    def write(text="grid: {n: [0, 1]}", name="all.yaml", chapter="demo.ipynb"):
        (tmp_path/name).write_text(f"chapter: {chapter}\n{text}")
        return tmp_path/name
    return write


def appears(path, seconds=90):
    end = time.time() + seconds
    while not (path.exists() and path.read_text()):
        if time.time() > end: pytest.fail(f"{path.name} never came")
        time.sleep(.05)
    return path.read_text()


def ends(pid, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        try: os.kill(int(pid), 0)
        except ProcessLookupError: return True
        time.sleep(.1)


# What is to be run

@pytest.mark.parametrize("text, how, says", [
    ("runs: [{name: a}]", dict(only=["b"]), "no run 'b'; there are: a"), ("runs: [{name: a, parameters: {m: 1}}]", {}, "run 'a': demo has no parameter 'm'"),
    ("grid: {n: [one]}", {}, "run 'n-one': parameter n: expected a value like 0"), ("grid: {n: [0, 1]}", dict(given={"n": "3"}), "run 'n-1': has the same parameters as 'n-0'"),
    ("runs: [{name: a}, {name: b, parameters: {n: 0}}]", {}, "run 'b': has the same parameters as 'a'"),
    ("runs: [{name: a, tables: {'5.9': Ours}}]", {}, "run 'a': thesis, Table 5.9: no row 'Ours'; its rows: "), ("runs: [{name: a, tables: {'9.9': Ours}}]", {}, "no published table '9.9'")])
def test_a_sweep_that_cannot_be_is_refused_before_anything_runs(chapter, tmp_path, text, how, says):
    with pytest.raises(MespotError, match=re.escape(says)): run_sweep(chapter(text), out=tmp_path/"out", **how)
    assert not (tmp_path/"out").exists()


def test_a_file_must_say_its_chapter(tmp_path):
    (tmp_path/"a.yaml").write_text("n: 3")
    with pytest.raises(MespotError, match="does not say of which chapter"): plan_sweep(tmp_path/"a.yaml")


def test_runs_that_share_a_machine_do_not_take_all_of_it(chapter):
    file = chapter("runs: [{name: a}, {name: b, parameters: {workers: 3}}]")
    assert [p["workers"] for p in plan_sweep(file).parameters.values()] == [1, 3]
    assert plan_sweep(file, {"workers": "2", "n": 1}, ["a"]).parameters == {"a": {"workers": 2, "n": 1}}
    assert plan_sweep(file, alone=True).parameters == {"a": {}, "b": {"workers": 3}}


def test_the_packaged_sweep_can_be_planned():
    plan = plan_sweep("spotting", {"preset": "tiny"}, ["no-lcn", "proposed"])
    assert (plan.name, plan.called, plan.chapter) == ("spotting", "spotting", "spotting") and list(plan.folders) == ["proposed", "no-lcn"]
    assert plan.parameters["no-lcn"] == {"workers": 1, "lcn": False, "preset": "tiny"} and plan.tables["no-lcn"]["paper 7"] == "No LCN"
    assert plan.folder != plan_sweep("spotting", {"preset": "tiny"}, ["no-lcn"]).folder


# Where it is run

def test_threads_and_cards_are_shared_out(monkeypatch, tmp_path):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [share_out(w)[0]["OMP_NUM_THREADS"] for w in (1, 3, 8, 20)] == ["8", "2", "1", "1"]
    assert [e["CUDA_VISIBLE_DEVICES"] for e in share_out(5, ["0", "1"])] == list("01010") and "CUDA_VISIBLE_DEVICES" not in share_out(1)[0]
    for said, cards in [("", []), ("2, 5", ["2", "5"])]:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
        assert graphics_cards() == cards
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert graphics_cards() == []


@WINDOWS
def test_what_the_driver_lists(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path/"nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: GPU-1)'\necho '  MIG 1g: x'\necho 'GPU 1: A (UUID: GPU-2)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert graphics_cards() == ["0", "1"]


@pytest.fixture
def cluster(tmp_path):
    "The address of a Dask scheduler with two workers, one of which has two threads, in processes of their own and with a working directory of their own."
    pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    where = tmp_path/"cluster"
    where.mkdir()
    def start(*words): return subprocess.Popen([sys.executable, "-m", *words], cwd=where, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started = [start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", "scheduler.json")]
    try:
        address = json.loads(appears(where/"scheduler.json"))["address"]
        started += [start("distributed.cli.dask_worker", address, "--nworkers", "1", "--nthreads", str(i), "--no-nanny", "--no-dashboard", "--local-directory", f"w{i}") for i in (1, 2)]
        yield address
    finally:
        for p in started:
            p.kill()
            p.wait()


RUNS = "about: 'a < b'\nruns: [{name: zero}, {name: one, parameters: {n: 1}}, {name: two, parameters: {n: 2}}, {name: broken, parameters: {n: 3, kind: broken}}]"
MEASURED = ["run", "n", "kind", "f1_overall", "text", "status", "why"]

def check_swept(tmp_path, folder, table, killed=None):
    "What a sweep of RUNS leaves, whoever made it; each run was begun once, the one whose worker was killed twice."
    assert table.f1_overall[:3].tolist() == [0, 1/7, 2/7] and table.status.tolist() == ["done"]*3 + ["failed"]
    assert table.why.tolist() == ["", "", "", "demo failed: ValueError: no number 3"] and table.f1_overall.isna()[3]
    assert [len((tmp_path/f"begun-{n}").read_text()) for n in range(4)] == [2 if n == killed else 1 for n in range(4)]
    written = pd.read_csv(folder/"results.csv", keep_default_na=False, na_values={"f1_overall": [""]})
    pd.testing.assert_frame_equal(written[MEASURED][:3], table[MEASURED][:3], check_dtype=False)
    assert written.why[3] == table.why[3] and list(written) == list(table)
    for name, there in zip(table.folder, table.status == "done"): assert (folder.parent/name/"done").exists() == there and f'href="../{name}/report.html"' in (folder/"index.html").read_text()
    assert not [p for p in tmp_path.rglob(".*.tmp*")]


def swept(tmp_path, file, kill=None, **how):
    "A sweep; the process that begins run number `kill` is killed in the midst of it."
    def killer():
        os.kill(int(appears(tmp_path/f"by-{kill}")), signal.SIGKILL)
    for mark in tmp_path.glob("begun-*"): mark.unlink()
    for mark in tmp_path.glob("by-*"): mark.unlink()
    thread = threading.Thread(target=killer, daemon=True)
    if kill is not None: thread.start()
    result = run_sweep(file, out=how.pop("out"), **how)
    check_swept(tmp_path, *result, kill)
    return result[1]


@WINDOWS
def test_wherever_and_whatever_dies_the_table_is_the_same(chapter, tmp_path, cluster, capsys):
    file = chapter(RUNS)
    local = swept(tmp_path, file, out="local", workers=2, kill=1)
    dask = swept(tmp_path, file, out="dask", cluster=cluster)
    maimed = swept(tmp_path, file, out="maimed", cluster=cluster, kill=1)
    for other in (dask, maimed): pd.testing.assert_frame_equal(local[MEASURED], other[MEASURED])
    said = capsys.readouterr()
    assert re.search(r"^two: F1 overall 0.286, \d+ s$", said.out, re.M) and said.out.count("broken: FAILED: demo failed: ValueError: no number 3") == 3 and "4/4" in said.err


@WINDOWS
def test_an_interrupted_sweep_ends_its_processes_and_goes_on_where_it_stopped(chapter, tmp_path):
    file = chapter("grid: {n: [0, 1, 2]}")
    (tmp_path/"gate").touch()
    p = subprocess.Popen([*COMMAND, "sweep", str(file), "--out", "out", "--workers", "2"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    notebooks = [appears(tmp_path/f"pid-{n}") for n in (1, 2)]
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    assert p.returncode == 130 and "Traceback" not in err and err.endswith("mespot: interrupted\n") and out.startswith("n-0: F1 overall 0.000"), err
    assert all(map(ends, notebooks))
    assert not (next((tmp_path/"out"/"demo").glob("sweep-*"))/"results.csv").exists()
    (tmp_path/"gate").unlink()
    assert main(["sweep", str(file), "--out", "out", "--workers", "2"]) == 0
    assert [len((tmp_path/f"begun-{n}").read_text()) for n in range(3)] == [1, 2, 2]
    folder, = (tmp_path/"out"/"demo").glob("sweep-*")                    # the same sweep, the same folder
    table = pd.read_csv(folder/"results.csv")
    assert table.f1_overall.tolist() == [0, 1/7, 2/7] and (table.status == "done").all()
    again, _ = run_sweep(folder/"sweep.yaml", out="out")                 # what was asked for can be asked for again: nothing is left to do
    assert [len((tmp_path/f"begun-{n}").read_text()) for n in range(3)] == [1, 2, 2] and (again/"results.csv").read_text() == (folder/"results.csv").read_text()


def test_a_failed_run_is_exit_1_and_words_go_where_they_belong(monkeypatch, capsys):
    asked, status = [], ["done", "failed"]
    def swept(*args):
        asked.append(args)
        return Path("out")/"s", pd.DataFrame(dict(run=["a", "b"], status=status))
    monkeypatch.setattr(sweep, "run_sweep", swept)
    assert main("sweep all.yaml --run a --run b -p n 5 -p kind=x --cluster slurm --workers 3 -o memory=8GB -o cores=4 --out out".split()) == 1
    assert asked == [("all.yaml", {"n": "5", "kind": "x"}, ["a", "b"], Path("out"), 3, "slurm", {"memory": "8GB", "cores": 4})]
    assert capsys.readouterr() == (f"table: {Path('out/s/results.csv')}\npage: {Path('out/s/index.html')}\n", "failed: b\n")
    status[1] = "done"
    assert main(["sweep", "all.yaml"]) == 0 and asked[1] == ("all.yaml", {}, (), None, None, None, {})


@pytest.mark.parametrize("args, says", [
    (["nowhere.yaml"], "nowhere.yaml cannot be read"), (["spoting"], "no list of runs 'spoting'; there are: "), (["spotting", "-p", "depht", "3"], "has no parameter 'depht'"),
    (["spotting", "-p", "depth", "3", "-p", "depth", "4"], "parameter depth is given twice"), (["spotting", "--run", "no-lnc"], "no run 'no-lnc'; there are: proposed, no-lcn"),
    (["spotting", "--workers", "0"], "workers should be 1 or more"), (["spotting", "-o", "memory=8GB"], "add --cluster slurm"), (["spotting", "--cluster", "slurm", "-o", "memory"], "option memory has no value")])
def test_mistakes_in_the_call_are_one_sentence_and_exit_2(tmp_path, capsys, args, says):
    assert main(["sweep", "--out", str(tmp_path), *args]) == 2
    said = capsys.readouterr()
    assert says in said.err and said.err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_cluster_that_cannot_be_had(monkeypatch):
    pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    for cluster, says in [("10.0.0.1", "neither slurm nor the address"), ("tcp://127.0.0.1:1", "no Dask scheduler answers at tcp://127.0.0.1:1"), ("bus://a", "no Dask scheduler answers")]:
        monkeypatch.setattr(sweep, "_PATIENCE", "1s")
        with pytest.raises(MespotError, match=says), executor(cluster): pytest.fail("there is none")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MespotError, match=r"needs the extra 'cluster' \(distributed is missing\)"), executor("tcp://127.0.0.1:1"): pytest.fail("there is none")


def test_a_slurm_job_is_one_worker_of_one_thread(monkeypatch):
    jobqueue = pytest.importorskip("dask_jobqueue", reason="needs the extra 'cluster'")
    monkeypatch.setattr(jobqueue.SLURMCluster, "adapt", lambda self, **how: setattr(self, "asked", how))
    with sweep._slurm(3, dict(memory="2GiB", cores=4, walltime="04:00:00", queue="gpu", interface="lo", scheduler_options=dict(dashboard_address=None))) as found:
        script = found.job_script()
        assert found.asked == dict(minimum_jobs=3, maximum_jobs=3)
    for words in ("--cpus-per-task=4", "--mem=2G", "-t 04:00:00", "-p gpu", "--nthreads 1 "): assert words in script, script
    assert "--nworkers" not in script
    with pytest.raises(MespotError, match="give its options, such as -o memory=8GB"): sweep._slurm(1, {})
    with pytest.raises(MespotError, match="cannot be set up"): sweep._slurm(1, dict(memory="1GB", colour="red"))


# What came out

@pytest.fixture
def folders(tmp_path):
    "Run folders by name, written by hand: two that are done, one that failed with numbers of its own, one that never was."
    def run(name, parameters, metrics, done=True):
        folder = tmp_path/"out"/"demo"/name
        folder.mkdir(parents=True)
        (folder/"params.yaml").write_text(yaml.safe_dump(parameters))
        (folder/"metrics.json").write_text(json.dumps(metrics))
        (folder/"environment.json").write_text(json.dumps(dict(seconds=12.3, peak_memory_mb=99)))
        (folder/"report.html").write_text("x")
        if done: (folder/"done").touch()
        return folder
    common = dict(dataset="phantom", rate=.1)
    return {"<a>": run("a b", common | dict(depth=3, lcn=True, seconds=1), dict(auc=.5, f1_micro=.25, depth=7, note="x")), "b": run("b", common | dict(depth=6, lcn=True, seconds=2), dict(f1_micro=None, auc=.75)),
            "c": run("c", common | dict(depth=3, lcn=True, seconds=3), dict(auc=1.), done=False), "d": tmp_path/"out"/"demo"/"d"}


def test_the_table_is_tidy(folders):
    table = gather_runs(folders, {"c": "it broke", "d": "it died"})
    assert list(table) == ["run", "depth", "seconds (parameter)", "auc", "f1_micro", "depth (metric)", "note", "seconds", "peak_memory_mb", "status", "why", "folder"]
    assert table.attrs["common"] == dict(dataset="phantom", rate=.1, lcn=True)
    assert table.auc.tolist()[:2] == [.5, .75] and table.auc.isna().tolist() == [False, False, True, True]      # what failed has no numbers
    assert table.why.tolist() == ["", "", "it broke", "it died"] and table.folder.tolist() == ["a b", "b", "c", "d"] and table["seconds (parameter)"][:3].tolist() == [1, 2, 3]
    assert main_metrics(table) == ["f1_micro", "auc", "depth (metric)"]


def test_yes_and_one_are_different_values(tmp_path):
    for name, value in (("a", True), ("b", 1)):
        (tmp_path/name).mkdir()
        (tmp_path/name/"params.yaml").write_text(yaml.safe_dump(dict(x=value)))
    assert gather_runs({n: tmp_path/n for n in "ab"}).attrs["parameters"] == ["x"]


def test_the_page_compares_links_and_labels(folders, tmp_path):
    plan = Sweep("mine", "demo", "demo", "a & b", {n: {} for n in folders}, {"<a>": {"5.9": "Proposed"}, "b": {"5.9": "Without BatchNorm", "paper 7": "No Batch Norm"}}, {n: f.name for n, f in folders.items()})
    path = tmp_path/"out"/"demo"/plan.folder/"index.html"
    render_sweep(path, plan, gather_runs(folders, {"d": "no <i> here"}))
    page = path.read_text()
    assert '<a href="../a%20b/report.html">&lt;a&gt;</a>' in page and "a &amp; b" in page and "no &lt;i&gt; here" in page and "<i>" not in page
    assert 'href="../c/report.html"' in page and 'href="../d/' not in page                # what left nothing has no report
    assert "2 of 4 runs failed" in page and "2 of 4 runs done" in page and page.count("data:image/png;base64") == 1
    boxes = re.findall(r'<div class="(measured|published)"(.*?)</div>', page, re.S)
    assert [kind for kind, _ in boxes] == ["measured", "published"]*2                       # Tables 5.9 and paper 7
    assert "measured (phantom)" in boxes[0][1] and "0.2500" in boxes[0][1] and "as published (Thesis, Table 5.9)" in boxes[1][1] and "SAMM-LV: micro f1" in boxes[1][1] and "SAMM-LV" not in boxes[0][1]
    assert "No Batch Norm" in boxes[3][1] and "&lt;a&gt;" not in boxes[3][1]
    for outside in ("http://", "https://", "<link rel=\"stylesheet\""): assert outside not in page


def test_a_page_without_numbers(folders, tmp_path):
    plan = Sweep("mine", "demo", "demo", "", {"d": {}}, {"d": {}}, {"d": "d"})
    render_sweep(tmp_path/"out"/"demo"/plan.folder/"index.html", plan, gather_runs({"d": folders["d"]}))
    page = (tmp_path/"out"/"demo"/plan.folder/"index.html").read_text()
    assert "<img" not in page and "0 of 1 runs done" in page
