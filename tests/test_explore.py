"""The explorer: its session by itself, its widgets without a browser, and all of it in a real JupyterLab."""
import json, os, shutil, subprocess, sys, time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import cv2, nbformat, numpy as np, pandas as pd, pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from nbformat.v4 import new_code_cell, new_notebook

from mespot.core import MespotError
from mespot.data.phantom import phantom
from mespot.data.recordings import Recordings, of_phantom
from mespot.kit import explore_session
from mespot.kit.explore import Explorer, explore, frame_line, readout
from mespot.kit.explore_session import SHIPPED, Session, known_weights, open_any
from mespot.kit.explore_view import envelope, frame_picture, timeline
from mespot.measure.intervals import KINDS, check_predictions
from mespot.nets.spotter import Spotter, SpotterConfig, save_weights

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PH = phantom("tiny", subjects=2, seconds=12., seed=5)
SPAN = ["onset", "offset", "kind"]


pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture(scope="module")
def recordings(cache): return of_phantom(PH, progress=False)

@pytest.fixture
def session(recordings, tmp_path): return Session(recordings, out=tmp_path/"out")

@pytest.fixture(scope="module")
def veiled(recordings):
    "The first video without its annotations, and with its frames 100 to 159 without a face."
    store = recordings.stores["p001_1"]
    ok = np.ones(len(store), bool)
    ok[100:160] = False
    return Recordings("veiled", recordings.videos[:1], recordings.annotations[:0], {"p001_1": replace(store, ok=ok, path=Path("veiled.npy"))})

@pytest.fixture
def explorer(session): return Explorer(session, {"phantom": lambda: session.recordings, "other": lambda: open_any(preset="tiny")}, known_weights())

def spans(session): return list(session.found[SPAN].itertuples(index=False, name=None))


@pytest.mark.parametrize("seed", range(6))
def test_without_corrections_found_is_what_the_decoder_spots(session, seed):
    rng = np.random.default_rng(seed)
    session.open(video=PH.videos.video[seed % 2])
    for name, low, high in (("threshold", .15, .8), ("cutoff", .5, 8), ("gap", 0, 1), ("shortest", .05, .4)):
        for k in (0, 1): session.set(name, k, float(rng.uniform(low, high)))
    spotted = session.post.spotted(session.scores, session.fps)
    for kind, rows in zip(KINDS, spotted): np.testing.assert_allclose(session.found[session.found.kind == kind][["onset", "offset", "score"]].to_numpy(float).reshape(-1, 3), rows)
    counts, found, truth = session.counts.set_index("kind"), session.found, session.truth
    for kind in KINDS:
        right, met = found.right[found.kind == kind], truth.found[truth.kind == kind]
        assert counts.loc[kind, ["TP", "FP", "FN"]].tolist() == [right.sum(), (~right.astype(bool)).sum(), (~met).sum()] and right.sum() == met.sum()


STEPS = st.lists(st.one_of(st.tuples(st.just("add"), st.integers(-3, 365), st.integers(0, 60), st.sampled_from(KINDS)), st.tuples(st.just("delete"), st.integers(0, 9)),
    st.tuples(st.just("change"), st.integers(0, 9), st.integers(-9, 9), st.integers(-9, 9), st.sampled_from((None, *KINDS))), st.tuples(st.just("threshold"), st.floats(.1, .9))), max_size=8)

@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_corrections_are_kept_whatever_follows_and_undone_one_by_one(recordings, steps):
    session, history = Session(recordings), []
    for what, *values in steps:
        before, row = session.found.copy(), values[0] % max(len(session.found), 1) if what in ("delete", "change") else None
        if row is not None and before.empty: continue
        if what == "threshold":
            session.set("threshold", 0, values[0])
            pd.testing.assert_frame_equal(session.found[session.found.edited][SPAN].reset_index(drop=True), before[before.edited][SPAN].reset_index(drop=True), check_dtype=False)      # of no rows
            continue
        try:
            if what == "add": row = session.add(values[0], values[0] + values[1], values[2])
            if what == "delete": session.delete(row)
            if what == "change": row = session.change(row, session.found.onset[row] + values[1], session.found.offset[row] + values[2], values[3])
        except MespotError:
            pd.testing.assert_frame_equal(session.found, before)
            continue
        changed = spans(session) != list(before[SPAN].itertuples(index=False, name=None)) or not before.edited.equals(session.found.edited)
        if what != "change" or changed: history.append(session.post)
        if what != "delete" and changed: assert session.found.edited[row]
        check_predictions(session.found.drop(columns="right"), PH.videos)
        assert spans(session) == sorted(spans(session))
        for kind in KINDS:                                             # nothing lies over anything else of its kind
            rows = session.found[session.found.kind == kind]
            assert (rows.onset.to_numpy()[1:] > rows.offset.to_numpy()[:-1]).all()
    for _ in history: assert session.undo()
    assert not session.undo() and not session.found.edited.any()
    session.reset()
    assert [len(s) for s in session.post.spotted(session.scores, session.fps)] == [(session.found.kind == kind).sum() for kind in KINDS]


def test_what_was_deleted_or_moved_does_not_come_back(session):
    gone, moved = session.span(0), session.span(1)
    session.delete(0)
    assert gone not in spans(session)
    session.change(session.row_of(moved), onset=moved[1] + 2, offset=moved[1] + 6)
    session.set("threshold", KINDS.index(gone[2]), session.post.threshold[KINDS.index(gone[2])] - .02)       # a little longer now
    assert not any(k == gone[2] and a <= gone[1] and b >= gone[0] for a, b, k in spans(session))
    assert [s for s in spans(session) if s[2] == moved[2] and s[0] <= moved[1] + 6 and s[1] >= moved[0]] == [(moved[1] + 2, moved[1] + 6, moved[2])]
    session.open(video="p002_1")
    assert not session.found.edited.any() and not session.undo()      # corrections belong to a video
    session.open(video="p001_1")
    assert session.found.edited.sum() == 1
    with pytest.raises(MespotError, match="is there already"): session.add(moved[1], moved[1] + 2, moved[2])


def test_export_can_be_read_again(session):
    session.change(1, onset=int(session.found.onset[1]) + 1)
    path = session.export()
    table = pd.read_csv(path, dtype=dict(video=str, subject=str))
    assert path.parent.name == "out" and list(table) == ["video", "subject", "onset", "offset", "kind", "score", "fps", "edited"]
    pd.testing.assert_frame_equal(check_predictions(table, PH.videos)[table.columns], session.found.drop(columns="right"))
    session.delete(0)
    assert session.export() == path and len(pd.read_csv(path)) == len(table) - 1
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_video_without_annotations_and_frames_without_a_face(veiled):
    session = Session(veiled)
    assert session.truth is None and session.counts is None and session.found.right.isna().all() and "no annotations" in readout(session)
    assert np.isnan(session.scores[100:160]).all() and "no face" in frame_line(session, 120) and "no face" not in frame_line(session, 99)
    assert not any(a < 160 and b >= 100 for a, b, _ in spans(session))
    for t in (99, 160): assert all(session.store.ok[list(session.pair(t, 1))])
    row = session.add(110, 120, "micro")                              # a person may know better
    assert session.found.score[row] == 0
    drawn = timeline(session.scores, session.smoothed, session.fps, session.post.threshold, session.found, None)
    assert drawn.count("<polyline") == 4 and "true" not in drawn


def test_what_cannot_be_opened_changes_nothing(session, tmp_path, monkeypatch):
    was = session.video, session.weights, session.scores, session.post
    (tmp_path/"broken.safetensors").write_bytes(b"no")
    (tmp_path/"broken.json").write_text("{}")
    save_weights(tmp_path/"movement.safetensors", Spotter(SpotterConfig(outputs=1)), dict(skips=[.2, .8], postprocessing={}))
    for kw, text in ((dict(video="p009_1"), "has no video 'p009_1'"), (dict(weights=tmp_path/"missing.safetensors"), "there is no"), (dict(weights=tmp_path/"broken.safetensors"), "broken"),
                     (dict(weights=tmp_path/"movement.safetensors"), "movement of any kind")):
        with pytest.raises(MespotError, match=text): session.open(**kw)
        assert (session.video, session.weights, session.post) == (was[0], was[1], was[3]) and session.scores is was[2]
    calls = []
    monkeypatch.setattr(explore_session, "predict_video", lambda model, frames, *a, **kw: calls.append(len(frames)) or np.full((len(frames), 2), .5, np.float32))
    for video in ("p002_1", "p001_1", "p002_1"): session.open(video=video)
    assert calls == [360]                                             # each video is spotted once


def test_a_video_file_and_networks_that_were_trained(session, tmp_path):
    camera = phantom("tiny", subjects=1, seconds=1., seed=11).camera("p001_1", size=(240, 240))
    out = cv2.VideoWriter(str(tmp_path/"mine.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 30, (240, 240))
    for frame in camera.frames(): out.write(frame[..., ::-1])
    out.release()
    mine = Session(open_any(tmp_path/"mine.mp4"))
    assert mine.video == "mine" and len(mine.scores) == 30 and mine.truth is None
    place = tmp_path/"reports"/"spotting"/"one"/"weights"/"spotter.safetensors"
    save_weights(place, Spotter(SpotterConfig()), dict(skips=[.2, .8], postprocessing=dict(threshold=[.11, .22])))
    assert known_weights(tmp_path/"reports") == {"shipped with mespot": SHIPPED, "spotting/one/spotter": place}
    session.open(weights=place)
    assert session.post.threshold == (.11, .22)
    with pytest.raises(MespotError, match="mespot data prepare"): open_any("nothing-of-that-name")


@given(x=st.lists(st.one_of(st.floats(0, 1), st.just(np.nan)), min_size=1, max_size=60), columns=st.integers(1, 80))
def test_the_envelope_loses_no_peak(x, columns):
    x = np.array(x)
    low, high = envelope(x, columns)
    assert len(low) == min(columns, len(x)) and (np.isnan(low) == np.isnan(high)).all() and not (low > high).any()
    if not np.isnan(x).all(): assert np.nanmax(high) == np.nanmax(x) and np.nanmin(low) == np.nanmin(x)
    if len(x) <= columns: np.testing.assert_array_equal(low, x)


def test_flow_is_drawn_where_something_moves_and_only_there():
    still = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (112, 112)).astype(np.uint8), (0, 0), 2)
    moved = still.copy()
    moved[20:50, 20:50] = np.roll(still, 2, 1)[20:50, 20:50]          # two pixels to the right
    plain, drawn = frame_picture(moved).astype(int), frame_picture(moved, (still, moved)).astype(int)
    change = (drawn - plain)[:, 112:]
    assert change[28:42, 28:42, 2].mean() > 40 and abs(change[70:105, 70:105]).mean() < 5      # red: to the right


def test_a_slider_is_quick_on_seven_thousand_frames(monkeypatch, capsys):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from mespot.plots import plot_signal
    n, rng = 7000, np.random.default_rng(0)
    onset = np.arange(60, n - 300, 100)
    truth = pd.DataFrame(dict(video="v", subject="s", onset=onset, offset=onset + np.where(np.arange(len(onset)) % 2, 40, 10), kind=np.resize(KINDS, len(onset)), fps=30.))
    scores = .3*rng.random((n, 2))
    for r in truth.itertuples(): scores[r.onset:r.offset+1, KINDS.index(r.kind)] += rng.uniform(.2, .7)
    monkeypatch.setattr(explore_session, "predict_video", lambda *a, **kw: scores.astype(np.float32))
    store = SimpleNamespace(path=Path("long.npy"), frames=np.broadcast_to(np.zeros((112, 112), np.uint8), (n, 112, 112)), ok=np.ones(n, bool), fps=30., __len__=lambda self: n)
    store = type("Store", (), vars(store))()
    session = Session(Recordings("long", pd.DataFrame([dict(video="v", subject="s", fps=30., n_frames=n)]), truth, {"v": store}))
    e = Explorer(session, {"long": lambda: session.recordings}, known_weights())
    def seconds(f):
        start = time.perf_counter()
        f()
        return time.perf_counter() - start
    def figure(): FigureCanvasAgg(plot_signal(session.scores, 30., session.post, session.found, truth)).draw()
    mine = np.median([seconds(lambda: setattr(e.sliders["threshold", k], "value", .3 + .03*i)) for i in range(1, 6) for k in (0, 1)])
    drawn = np.median([seconds(figure) for _ in range(3)])
    with capsys.disabled(): print(f"\n{n} frames, {len(session.found)} intervals: a slider takes {1000*mine:.0f} ms, the same as a figure {1000*drawn:.0f} ms")
    assert len(session.found) > 20 and mine < drawn/2


def test_widgets_do_what_they_say(explorer, session):
    first, counts = session.span(0), explorer.counts.value
    explorer.next.click()
    assert explorer.frame.value == first[0] and explorer.chosen == first and (explorer.onset.value, explorer.offset.value) == first[:2]
    assert f"frame {first[0]}<" in explorer.line.value and explorer.intervals.value == 0 and not explorer.delete.disabled
    explorer.offset.value = first[1] + 2                              # typed
    assert session.span(0) == (first[0], first[1] + 2, first[2]) and "by hand" in explorer.intervals.label
    explorer.back.click()
    explorer.onset_here.click()
    assert session.span(0)[0] == first[0] - 1 == explorer.frame.value
    explorer.switch.click()
    assert session.found[session.found.edited].kind.tolist() == [KINDS[1 - KINDS.index(first[2])]]
    for _ in range(3): explorer.undo.click()
    assert session.span(0) == first and explorer.counts.value == counts
    explorer.frame.value = 0
    explorer.next.click()
    explorer.delete.click()
    assert first not in spans(session) and explorer.chosen is None and explorer.delete.disabled
    explorer.undo.click()
    explorer.frame.value = 5
    explorer.add[1].click()
    assert explorer.chosen == (5, 34, "macro")
    explorer.onset.value = 90                                         # beyond its offset
    assert "onset comes first" in explorer.status.value and explorer.chosen == (5, 34, "macro") and explorer.onset.value == 5
    explorer.export.click()
    assert "p001_1.csv" in explorer.status.value and pd.read_csv(session.out/"phantom-tiny-p001_1.csv").edited.sum() == 1


def test_sliders_recompute_and_their_rounding_does_not(explorer, session):
    session.set("threshold", 0, .4137)
    explorer.show()
    explorer.sliders["threshold", 0].value = .41                      # what a browser reports of .4137
    assert session.post.threshold[0] == .4137
    before = explorer.counts.value, explorer.signals.value, explorer.picture.value
    explorer.sliders["threshold", 0].value = .99
    assert session.post.threshold[0] == .99 and explorer.counts.value != before[0] and explorer.signals.value != before[1] and explorer.picture.value == before[2]
    explorer.sliders["shortest", 0].value = 2.                        # more than the longest
    assert "exceeds longest" in explorer.status.value and explorer.sliders["shortest", 0].value == session.post.shortest[0] < 2
    explorer.reset.click()
    assert session.post.threshold[0] != .99 and explorer.sliders["threshold", 0].value == pytest.approx(session.post.threshold[0]) and not explorer.status.value


def test_a_click_on_the_timeline_goes_there_every_time(explorer, session):
    onset, offset, _ = wanted = session.span(2)
    for _ in range(2):
        explorer.click.value = 2*((onset + offset)//2)                  # the slider has two steps a frame
        assert explorer.frame.value == (onset + offset)//2 and explorer.chosen == wanted and explorer.click.value == -1
        explorer.frame.value = 0
    explorer.click.value = explorer.click.max
    assert explorer.frame.value == len(session.store) - 1


def test_other_videos_sets_and_flow(explorer, session):
    explorer.frame.value = 300
    plain = explorer.picture.value
    explorer.flow.value = 1
    assert explorer.picture.value != plain
    explorer.video.value = "p002_1"
    assert session.video == "p002_1" and explorer.frame.value == 0 and explorer.video.options == ("p001_1", "p002_1")
    explorer.dataset.value = "other"
    assert len(explorer.video.options) == 6 and session.video == explorer.video.value == "p001_1" and explorer.frame.max == explorer.play.max == explorer.offset.max == 449
    explorer.networks["lost"] = Path("lost.safetensors")
    explorer.model.options = [*explorer.model.options, "lost"]
    explorer.model.value = "lost"
    assert "there is no lost" in explorer.status.value and explorer.model.value == "shipped with mespot"


def test_without_ipywidgets_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(MespotError, match=r"extra 'notebooks'.*mespot\[notebooks\]"): explore()


@pytest.fixture
def lab(tmp_path):
    "A page on a JupyterLab with one notebook, n.ipynb, that calls `explore`: (page, root folder, address)."
    if CHROMIUM is None: pytest.skip("no Chromium on this machine")
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    websocket = pytest.importorskip("websocket", reason="websocket-client is not installed")
    from test_report_page import Page
    root, runtime, profile, quiet = (tmp_path/p for p in ("root", "runtime", "profile", "settings/@jupyterlab/apputils-extension"))
    for folder in (root, runtime, quiet): folder.mkdir(parents=True)
    (quiet/"notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    code = "from mespot.data.phantom import phantom\nfrom mespot.data.recordings import of_phantom\nfrom mespot.kit.explore import explore\n" \
           "explore(of_phantom(phantom('tiny', subjects=1, seconds=5.), progress=False))"
    nbformat.write(new_notebook(cells=[new_code_cell(code)], metadata=dict(kernelspec=dict(name="python3", display_name="Python 3 (ipykernel)", language="python"))), root/"n.ipynb")
    env = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")} | dict(
        JUPYTER_RUNTIME_DIR=str(runtime), JUPYTER_CONFIG_DIR=str(tmp_path/"config"), JUPYTERLAB_SETTINGS_DIR=str(tmp_path/"settings"), JUPYTERLAB_WORKSPACES_DIR=str(tmp_path/"workspaces"),
        IPYTHONDIR=str(tmp_path/"ipython"), OMP_NUM_THREADS="1")
    chromium = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--remote-debugging-port=0", "--remote-allow-origins=*", "--window-size=1500,1150",
                f"--user-data-dir={profile}", "about:blank"]
    jupyter = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--IdentityProvider.token=secret", f"--ServerApp.root_dir={root}",
               "--LabApp.expose_app_in_browser=True"]
    with open(tmp_path/"log", "w") as log:
        started = [subprocess.Popen(chromium, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), subprocess.Popen(jupyter, stdout=log, stderr=log, env=env, cwd=root)]
        try:
            wait = lambda found: next(filter(None, (found() or time.sleep(.1) for _ in range(600))), None) or pytest.fail((tmp_path/"log").read_text()[-3000:])
            port = wait(lambda: (p := profile/"DevToolsActivePort").exists() and p.read_text()).split()[0]
            server = json.loads(wait(lambda: next((t for p in runtime.glob("jpserver-*.json") if (t := p.read_text()).endswith("}")), None)))
            tabs = json.load(urlopen(f"http://127.0.0.1:{port}/json"))
            page = Page(websocket.create_connection(next(t for t in tabs if t["type"] == "page")["webSocketDebuggerUrl"], timeout=60))
            yield page, root, server["url"]
        finally:
            for process in started: process.terminate()
            for process in started: process.wait(20)


def test_in_a_real_jupyterlab(lab):
    page, root, url = lab
    start = time.time()
    def until(expression, seconds=30):
        end = time.time() + seconds
        while time.time() < end:
            if value := page.value(f"(() => {{ try {{ return {expression} }} catch (e) {{ return null }} }})()"): return value
            time.sleep(.05)
        pytest.fail(f"not within {seconds} s: {expression}; the page says: {page.value('document.body.innerText')[-2000:]}")
    def click(x, y):
        for kind in ("mousePressed", "mouseReleased"): page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    line = "[...document.querySelectorAll('.widget-html-content')].map(e => e.innerText).find(t => t.startsWith('frame '))"
    press = lambda name: page.value(f"[...document.querySelectorAll('.jp-OutputArea button')].find(b => b.innerText.trim() == '{name}').click()")
    counts, image = "document.querySelector('.mespot-counts').innerText", "document.querySelector('.jp-OutputArea img')"

    for domain in ("Runtime", "Log", "Network", "Page"): page.call(f"{domain}.enable")
    page.call("Page.navigate", url=f"{url}lab/tree/n.ipynb?reset&token=secret")
    until("[...jupyterapp.shell.widgets('main')][0].sessionContext.session.kernel.status == 'idle'")
    page.value("jupyterapp.shell.activateById([...jupyterapp.shell.widgets('main')][0].id); jupyterapp.shell.collapseLeft(); void jupyterapp.commands.execute('notebook:run-all-cells')")
    until(f"{image}.naturalWidth == 224 && !!document.querySelector('.mespot-click .noUi-target')")
    until("document.querySelectorAll('.jp-OutputArea svg polyline').length == 2")
    assert until(line).startswith("frame 0 of 150")

    before = page.value(counts)                                       # a slider, by the keyboard
    page.value("[...document.querySelectorAll('.widget-slider')].find(e => e.innerText.startsWith('threshold')).querySelector('.noUi-handle').focus()")
    for _ in range(60):
        for kind in ("rawKeyDown", "keyUp"): page.call("Input.dispatchKeyEvent", type=kind, key="ArrowRight", code="ArrowRight", windowsVirtualKeyCode=39)
    until(f"{counts}.includes('micro\\t0\\t0')")
    press("settings of the network")
    until(f"{counts} == {before!r}")

    source = page.value(f"{image}.src")                               # a jump, in the list's order
    press("next")
    until(f"!{line}.startsWith('frame 0 ')")
    assert until(f"{image}.src != {source!r}") and page.value("document.querySelector('.jp-OutputArea select[size]').selectedIndex") == 0

    box = json.loads(page.value("JSON.stringify(document.querySelector('.mespot-click').getBoundingClientRect())"))
    for _ in range(2):                                                # the timeline, twice at the same place
        click(box["x"] + box["width"]*120.5/150, box["y"] + 60)
        until(f"{line}.startsWith('frame 120 ')")
        press("previous")
        until(f"!{line}.startsWith('frame 120 ') && !document.querySelector('.mespot-click .noUi-state-tap')")       # while it moves it takes no other click

    page.value("document.querySelector('.widget-play button').click()")
    was = page.value(line)
    until(f"{line} != {was!r}")
    rows = page.value("document.querySelector('.jp-OutputArea select[size]').options.length")
    press("delete")
    press("export")
    until("document.body.innerText.includes('written:')")
    table = pd.read_csv(root/"reports"/"explored"/"phantom-tiny-p001_1.csv")
    assert list(table.columns[:5]) == ["video", "subject", "onset", "offset", "kind"] and len(table) == rows - 1

    ours = [e for e in page.events if e["method"] == "Runtime.exceptionThrown" or e["method"] == "Runtime.consoleAPICalled" and e["params"]["type"] in ("error", "assert")]
    assert ours == [], json.dumps(ours)[:3000]
    assert not [u for e in page.events if e["method"] == "Network.requestWillBeSent" and not (u := e["params"]["request"]["url"]).startswith((url, "data:", "blob:"))]
    assert page.value("document.querySelectorAll('.jp-OutputArea-output [data-mime-type=\"application/vnd.jupyter.stderr\"]').length") == 0
    print(f"in JupyterLab: {time.time() - start:.0f} s")
