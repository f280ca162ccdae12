"""The rendered report in a real browser: no console error, no request to anywhere, figures, formulas and folding there."""
import base64, json, shutil, subprocess, tempfile, time
from pathlib import Path
from urllib.request import urlopen

import pytest

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
    assert page.value("document.querySelector('.metrics').innerText").split() == ["f1_overall", "0.500"]
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
