"""Reports and the page of all runs in a real browser: no console error, no request to anywhere, figures, formulas, folding, sorting and filtering there."""
import base64, json, shutil, subprocess, tempfile, time
from pathlib import Path
from urllib.request import urlopen

import nbformat.v4 as v4
import numpy as np
import pandas as pd
import pytest

from mespot import report
from mespot.core import MespotError
from mespot.kit import render
from mespot.kit.index_page import write_index
from mespot.kit.render import render_report
from mespot.kit.runs import RunFailed, run_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
websocket = pytest.importorskip("websocket", reason="websocket-client is not installed")

CELLS = ["#| export\ndef twice(x): return 2*x", "from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass\nimport pandas as pd\npd.DataFrame({'a': [1.5]})",
         """from mespot.report import save_figure, save_metrics, save_table, use_style
import matplotlib.pyplot as plt, pandas as pd
use_style()
for name in ("one", "two"):
    fig, ax = plt.subplots(); ax.plot([1, 2]); save_figure(name, fig, f"Figure called {name}")
save_table("counts", pd.DataFrame({"kind": ["micro"], "f1": [.5]}), "One row")
save_metrics(f1_overall=.5)""", "fig, ax = plt.subplots(figsize=(3, 2)); ax.plot([2, 1]); plt.show()"]


class Page:
    "A page in headless Chromium, driven by its debugging protocol; what it says and asks for is kept in `events`."
    def __init__(self, socket): self.socket, self.events, self.n = socket, [], 0

    def call(self, method, **params):
        self.n += 1
        self.socket.send(json.dumps({"id": self.n, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.n: return message.get("result", message)
            self.events.append(message)

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, path):
        for domain in ("Runtime", "Log", "Network", "Page"): self.call(f"{domain}.enable")
        self.call("Page.navigate", url=path.as_uri())
        end = time.time() + 20
        while self.value("document.readyState") != "complete" and time.time() < end: time.sleep(.1)
        time.sleep(.3)
        self.value("1")                                             # takes in what has arrived meanwhile

    def wrong(self):
        "Console errors, exceptions, and requests to anything but this file and data in it."
        bad = [e for e in self.events if e["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")
               or e["method"] == "Runtime.consoleAPICalled" and e["params"]["type"] in ("error", "warning", "assert")]
        return bad + [u for e in self.events if e["method"] == "Network.requestWillBeSent" and not (u := e["params"]["request"]["url"]).startswith(("file:", "data:"))]


@pytest.fixture(scope="module")
def page():
    profile = Path(tempfile.mkdtemp())
    browser = subprocess.Popen([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--remote-debugging-port=0", "--remote-allow-origins=*",
                                "--window-size=1400,1000", f"--user-data-dir={profile}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        port, end = profile/"DevToolsActivePort", time.time() + 60
        while not (port.exists() and port.read_text()) and time.time() < end: time.sleep(.1)
        tabs = json.load(urlopen(f"http://127.0.0.1:{port.read_text().split()[0]}/json"))
        yield Page(websocket.create_connection(next(t for t in tabs if t["type"] == "page")["webSocketDebuggerUrl"], timeout=30))
    finally:
        browser.terminate()
        browser.wait(20)
        shutil.rmtree(profile, ignore_errors=True)


def test_a_report_reads_well_in_a_browser(page, tmp_path, write_chapter):
    folder = run_report(write_chapter(tmp_path/"demo.ipynb", *CELLS), {"epochs": 5}, out=tmp_path/"out")
    page.events.clear()
    page.open(folder/"report.html")
    assert page.wrong() == []
    count = lambda selector: page.value(f"document.querySelectorAll('{selector}').length")
    assert page.value("[...document.images].every(i => i.complete && i.naturalWidth > 200)") and count("img") == 3
    assert page.value("[...document.images].every(i => i.getBoundingClientRect().right <= document.querySelector('main').getBoundingClientRect().right + 1)")
    assert page.value("document.querySelector('math').getBoundingClientRect().width") > 5
    assert page.value("[...document.querySelectorAll('nav a')].map(a => a.textContent)") == ["Experiment", "What to notice", "Parameters", "Environment"]
    assert page.value("[...document.querySelectorAll('nav a')].every(a => document.getElementById(a.hash.slice(1)))")
    assert page.value("document.querySelector('.metrics').innerText").split() == ["F1", "overall", "0.500"]
    assert count("figcaption") == 5 and "it/s" not in page.value("document.body.innerText")
    assert page.value("document.documentElement.scrollWidth <= innerWidth")       # nothing sticks out sideways
    assert count("details.code") == 5 and count("details.code[open]") == 0
    page.value("document.getElementById('unfold').click()")
    assert count("details.code[open]") == 5 and "def twice" in page.value("document.body.innerText")
    page.value("document.getElementById('unfold').click()")
    assert count("details.code[open]") == 0
    png = base64.b64decode(page.call("Page.captureScreenshot")["data"])
    assert len(png) > 20_000                                      # a drawn page, not a blank one


def test_a_failed_report_shows_where(page, tmp_path, write_chapter):
    with pytest.raises(RunFailed) as e: run_report(write_chapter(tmp_path/"demo.ipynb", "1/0"), out=tmp_path/"out")
    page.events.clear()
    page.open(e.value.folder/"report.html")
    assert page.wrong() == [] and "ZeroDivisionError" in page.value("document.querySelector('.failure').innerText")
    page.value("document.querySelector('.failure a').click()")
    assert "1/0" in page.value("document.querySelector('#failed details[open]').innerText")


TABLE = pd.DataFrame({"name": ["x10", "x9", "a", "b"], "n": [1000, 200, 30, 9], "f1": [.25, np.nan, -.5, -2.], "share": ["10 %", "9 %", "100 %", "nan"]})
ORIGINAL = ["x10", "x9", "a", "b"]

@pytest.fixture(scope="module")
def tables(page, tmp_path_factory):
    "A page with TABLE as we and as pandas show it, one of pandas with an index of two levels, and a pair of measured and published, opened."
    shown = []
    with pytest.MonkeyPatch.context() as m:
        m.setattr(report, "_show", lambda markup, text: shown.append(markup))
        m.setenv("MESPOT_RUN", str(tmp_path_factory.mktemp("run")))
        report.save_table("t", TABLE)
        report.save_beside("b", TABLE, TABLE[["name", "n"]], "A caption", on="phantom", source="thesis Table 5.6")
    levels = pd.DataFrame({"n": [3, 1, 2, 10]}, index=pd.MultiIndex.from_tuples([("p", "a"), ("p", "b"), ("q", "a"), ("q", "b")], names=["subject", "part"]))
    outputs = [v4.new_output("display_data", data={"text/html": h}) for h in (shown[0], TABLE.set_index("name").to_html(), levels.to_html(), shown[1])]
    nb = v4.new_notebook(cells=[v4.new_markdown_cell("# Tables\n> To be sorted."), v4.new_code_cell("1", outputs=outputs)])
    path = render_report(nb, tmp_path_factory.mktemp("page")/"report.html", dict(run="r", meta=[], parameters=[("b", 2, ""), ("a", 1, "")], metrics={}, environment={}))
    page.events.clear()
    page.open(path)
    yield page
    assert page.wrong() == []


def column(page, table, j): return page.value(f"[...document.querySelectorAll('main table')[{table}].tBodies[0].rows].map(r => r.cells[{j}].textContent)")
def click(page, table, name): page.value(f"[...document.querySelectorAll('main table')[{table}].querySelectorAll('th button')].find(b => b.textContent === {name!r}).click()")


@pytest.mark.parametrize("table", [0, 1])
@pytest.mark.parametrize("by, up, down", [("n", ["b", "a", "x9", "x10"], ["x10", "x9", "a", "b"]),                   # numbers, not text: 9 before 30 before 1000
                                          ("f1", ["b", "a", "x10", "x9"], ["x10", "a", "b", "x9"]),                  # -2 before -0.5; what is missing last, either way
                                          ("share", ["x9", "x10", "a", "b"], ["a", "x10", "x9", "b"]),
                                          ("name", ["a", "b", "x9", "x10"], ["x10", "x9", "b", "a"])])
def test_a_table_sorts_up_down_and_back(tables, table, by, up, down):
    seen = []
    for _ in range(3):
        click(tables, table, by)
        seen.append((column(tables, table, 0), tables.value(f"[...document.querySelectorAll('main table')[{table}].querySelectorAll('th[aria-sort]')].map(t => t.textContent + ' ' + t.ariaSort)")))
    assert seen == [(up, [f"{by} ascending"]), (down, [f"{by} descending"]), (ORIGINAL, [])]


def test_sorting_by_another_column_starts_anew(tables):
    click(tables, 0, "n"); click(tables, 0, "f1")
    assert column(tables, 0, 0) == ["b", "a", "x10", "x9"] and tables.value("document.querySelectorAll('main table')[0].querySelectorAll('[aria-sort]').length") == 1
    assert column(tables, 1, 0) == ORIGINAL                         # other tables stay as they are
    click(tables, 0, "f1"); click(tables, 0, "f1")
    assert column(tables, 0, 0) == ORIGINAL


def test_rows_under_a_spanning_index_keep_their_index(tables):
    click(tables, 2, "n")
    rows = tables.value("[...document.querySelectorAll('main table')[2].tBodies[0].rows].map(r => [...r.cells].map(c => c.textContent).join(' '))")
    assert rows == ["p b 1", "q a 2", "p a 3", "q b 10"]
    click(tables, 2, "n"); click(tables, 2, "n")
    assert tables.value("[...document.querySelectorAll('main table')[2].tBodies[0].rows].map(r => r.cells.length)") == [3, 2, 3, 2]


def test_tables_are_sorted_from_the_keyboard(tables):
    tables.value("document.querySelectorAll('main table')[0].querySelectorAll('th button')[1].focus()")
    for kind in ("keyDown", "keyUp"): tables.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r" if kind == "keyDown" else "")
    assert column(tables, 0, 1) == ["9", "30", "200", "1000"]
    click(tables, 0, "n"); click(tables, 0, "n")


def test_parameters_are_no_table_to_sort_and_measured_and_published_stand_apart(tables):
    assert tables.value("document.querySelectorAll('.values button').length") == 0
    assert tables.value("[...document.querySelectorAll('.beside > div')].map(d => [d.className, d.querySelector('.of').textContent, d.querySelectorAll('thead th').length].join('|'))") == \
        ["measured|measured (phantom)|4", "published|as published (thesis Table 5.6)|2"]
    assert len(set(tables.value("[...document.querySelectorAll('.beside > div')].map(d => getComputedStyle(d).backgroundColor)"))) == 2
    assert tables.value("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_of_all_runs(page, tmp_path):
    import cv2
    for chapter, run, day, metrics, more in [("spotting", "lcn-False_00000001", 1, {"auc_micro": .7, "f1_micro": .1, "f1_overall": .25}, {}), ("spotting", "clip-a b&c#d%.mp4_00000002", 2, {"f1_overall": .5}, {}),
                                             ("samm_lv", "defaults_00000003", 3, {"f1_overall meter": .75}, {"failure": "ValueError: <no>"})]:
        folder = tmp_path/"reports"/chapter/run
        (folder/"figures").mkdir(parents=True)
        cv2.imwrite(str(folder/"figures"/"roc.png"), np.full((600, 900, 3), 40*day, np.uint8))
        if not more: (folder/"done").touch()
        (folder/"report.html").write_text(f"<title>{run.replace('&', '&amp;')}</title>")
        (folder/"params.yaml").write_text(f"lcn: {'false' if day == 1 else 'true'}\n")
        (folder/"metrics.json").write_text(json.dumps(metrics))
        (folder/"environment.json").write_text(json.dumps({"mespot": "0", "chapter": chapter, "run": run, "started": f"2026-01-0{day}T10:00:00", "seconds": 75.} | more))
    sweep = tmp_path/"reports"/"spotting"/"sweep-depths_00000009"
    sweep.mkdir()
    for name in ("sweep.yaml", "index.html"): (sweep/name).touch()
    (tmp_path/"reports").rename(tmp_path/"moved")                  # links are relative to the page
    path = write_index(tmp_path/"moved")
    page.events.clear()
    page.open(path)
    assert page.wrong() == [] and path.stat().st_size < 40_000
    assert page.value("[...document.images].map(i => i.complete && i.naturalWidth)") == [300, 300, 300]
    assert page.value("[...document.querySelectorAll('.chapter h2')].map(h => h.firstChild.textContent.trim())") == ["samm_lv", "spotting"]      # newest first
    assert page.value("[...document.querySelectorAll('.run h3')].map(h => h.textContent)") == ["defaults_00000003", "clip-a b&c#d%.mp4_00000002", "lcn-False_00000001"]
    assert page.value("[...document.querySelectorAll('.run .big')].map(b => b.textContent)") == ["F1 overall, meter0.750", "F1 overall0.500", "F1 overall0.250"]
    assert page.value("[...document.querySelectorAll('h2 a')].map(a => a.getAttribute('href'))") == ["spotting/sweep-depths_00000009/index.html"]
    size = lambda selector: page.value(f"parseFloat(getComputedStyle(document.querySelector('{selector}')).fontSize)")
    assert size(".big dd") > 1.5*max(size(".run h3"), size(".run p"), size(".run td"))          # the F1 is what one sees first
    assert "failed" in page.value("document.querySelector('.run.failed').innerText") and "ValueError: <no>" in page.value("document.querySelector('.run.failed').innerText")
    shown = lambda words: (page.value(f"{{ const f = document.getElementById('filter'); f.value = {words!r}; f.dispatchEvent(new Event('input')); }}"),
                           page.value("[...document.querySelectorAll('.run')].filter(r => r.offsetHeight).map(r => r.querySelector('h3').textContent.slice(-1))"))[1]
    assert [shown(w) for w in ("spotting", "SPOTTING lcn=no", "failed", "nothing like it")] == [["2", "1"], ["1"], ["3"], []]
    assert page.value("document.getElementById('none').offsetHeight") > 0 and not page.value("[...document.querySelectorAll('h2')].some(h => h.offsetHeight)")
    assert shown("") == ["3", "2", "1"]
    for width in (1280, 420):
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        assert page.value("document.documentElement.scrollWidth <= innerWidth"), width
    page.call("Emulation.clearDeviceMetricsOverride")
    for name, link in page.value("[...document.querySelectorAll('.run h3 a')].map(a => [a.textContent, a.href])"):
        page.call("Page.navigate", url=link)
        end = time.time() + 10
        while page.value("document.title") != name and time.time() < end: time.sleep(.05)
        assert page.value("document.title") == name



def test_a_report_is_printed_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path/"report.html").write_text("<h1>A page</h1>")
    printed = render.pdf(tmp_path)
    assert printed == tmp_path/"report.pdf" and printed.read_bytes().startswith(b"%PDF") and b"%%EOF" in printed.read_bytes()[-64:]
    whole = printed.read_bytes()
    broken = tmp_path/"browser"
    broken.write_text("#!/bin/sh\nfor a; do case $a in --print-to-pdf=*) printf '%%PDF-1.4 half' > \"${a#*=}\";; esac; done\necho out of paper >&2\n")
    broken.chmod(0o755)
    monkeypatch.setattr(render, "BROWSERS", (str(broken),))
    with pytest.raises(MespotError, match="did not print .*out of paper"): render.pdf(tmp_path)
    assert printed.read_bytes() == whole and sorted(p.name for p in tmp_path.iterdir()) == ["browser", "report.html", "report.pdf"]
    monkeypatch.setattr(render, "BROWSERS", ("no-such-browser",))
    with pytest.raises(MespotError, match="install Chromium or Chrome"): render.pdf(tmp_path)
