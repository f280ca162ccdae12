"The rating page in a real browser: keys, marks, what is kept over a reload, the table it saves, and the order of Python."
import time

import numpy as np
import pytest
from PIL import Image

import test_report_page
from mespot.kit.rate import blind_order, rating_page, read_ratings

pytestmark, browser = test_report_page.pytestmark, test_report_page.page

NAMES = ["a, \"b\"", "happiness", "müde", "x</script>y"]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    "Four clips of 12 frames at 40 frames/s, each frame of the grey level 40 + 10 times its number, on a page that asks for the rater."
    folder = tmp_path_factory.mktemp("clips")
    for k, name in enumerate(NAMES):
        d = folder/name                                              # the last one lies in a folder "x<"
        d.mkdir(parents=True)
        for i in range(12): Image.fromarray(np.full((24 + 8*k, 32), 40 + 10*i, np.uint8)).save(d/f"{i}.png")
    return rating_page(folder, folder/"rate.html", fps=40)


def press(browser, *keys):
    for key in keys:
        for kind in ("keyDown", "keyUp"): browser.call("Input.dispatchKeyEvent", type=kind, key=key)

def grey(browser): return browser.value("(() => { const c = document.getElementById('picture'); return c.getContext('2d').getImageData(3, 3, 1, 1).data[0] })()")

def until(browser, expression, seconds=10):
    end = time.time() + seconds
    while not (value := browser.value(expression)):
        assert time.time() < end, f"not within {seconds} s: {expression}"
        time.sleep(.05)
    return value

def begin(browser, page, who):
    browser.events.clear()
    browser.open(page)
    browser.value(f"document.getElementById('name').value = {who!r}; document.querySelector('#who button').click()")

text = "document.body.innerText"


def test_a_clip_is_rated_by_keys_and_comes_back_after_a_reload(browser, page, tmp_path):
    begin(browser, page, "anna b")
    assert "letters, digits" in browser.value(text) and browser.value("document.getElementById('sheet').hidden")
    begin(browser, page, "anna")
    order = blind_order(NAMES, "anna")
    assert browser.value("order") == order and "Clip 1 of 4" in browser.value(text)
    assert not any(n in browser.value(text) + browser.value("document.title") for n in NAMES)
    press(browser, *["ArrowRight"]*3, "o", *["ArrowRight"]*20, "ArrowLeft", "f", "3")
    until(browser, "document.querySelector('.rate.positive').getAttribute('aria-pressed') == 'true'")
    assert abs(until(browser, "frame == 10 && document.getElementById('picture').getContext('2d').getImageData(3, 3, 1, 1).data[0]") - 140) <= 3
    browser.value("document.getElementById('notes').focus()")
    browser.call("Input.insertText", text='a "grin", 2×')
    press(browser, "1", "n", "Enter")                                # keys in the notes do nothing but leave them
    assert "Clip 1 of 4" in browser.value(text) and browser.value("rows[order[0]].rating") == "positive"
    press(browser, "n", "2", "n", "1", "o", "ArrowRight", "f", "ArrowLeft", "ArrowLeft", "c")
    assert browser.value("[order[2], rows[order[2]].rating, rows[order[2]].onset]") == [order[2], "negative", None]
    assert browser.wrong() == []
    begin(browser, page, "anna")                                     # again: what was entered is there, and the first clip that is not rated
    assert "Clip 4 of 4" in browser.value(text) and "3 rated" in browser.value(text)
    path = tmp_path/"ratings_anna.csv"
    path.write_text(browser.value("csv()"), encoding="utf-8")
    got = read_ratings(tmp_path).set_index("clip")
    assert got.rating.to_dict() == {order[0]: "positive", order[1]: "neutral", order[2]: "negative"} and (got.rater == "anna").all()
    assert (got.onset[order[0]], got.offset[order[0]]) == (3, 10) and got.onset.isna().sum() == 2 and got.notes[order[0]].startswith('a "grin", 2×')
    assert got.time.str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ").all()


def test_another_rater_has_another_table_and_order(browser, page):
    begin(browser, page, "ben")
    assert browser.value("order") == blind_order(NAMES, "ben") and "0 rated" in browser.value(text)
    assert browser.value("csv()") == "clip,rater,rating,onset,offset,time,notes\n"
    for who in ("anna", "ben", "zoë", "r_1"): assert browser.value(f"blindOrder(Object.keys(data.clips), {who!r})") == blind_order(NAMES, who)


def test_an_offset_before_the_onset_is_refused(browser, page):
    begin(browser, page, "cleo")
    press(browser, *["ArrowRight"]*5, "o", "ArrowLeft", "f")
    assert "would lie before the onset" in browser.value(text) and browser.value("[row().onset, row().offset]") == [5, None]


def test_it_plays_to_the_end_at_its_rate_and_stops(browser, page):
    begin(browser, page, "dora")
    browser.value("window.seen = []; setFrame = (f => g => { seen.push([performance.now(), g]); f(g) })(setFrame)")
    press(browser, " ")
    until(browser, "playing === null && frame == 11")
    seen = browser.value("seen")
    shown = [f for _, f in seen]
    assert shown == sorted(shown) and shown[-1] == 11 and .2 < (seen[-1][0] - seen[0][0])/1000 < 2        # 11 steps at 40 frames/s take .275 s
    assert abs(grey(browser) - 150) <= 3
    press(browser, " ")                                              # again, from the first frame
    assert until(browser, "playing !== null || seen.filter(s => s[1] == 0).length == 2")


def test_the_button_saves_the_table_as_a_file(browser, page, tmp_path):
    begin(browser, page, "eve")
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    press(browser, "2")
    browser.value("document.getElementById('save').click()")
    end = time.time() + 10
    while not (tmp_path/"ratings_eve.csv").exists() and time.time() < end: time.sleep(.05)
    assert read_ratings(tmp_path)[["clip", "rating"]].values.tolist() == [[blind_order(NAMES, "eve")[0], "neutral"]]
    assert "3 clips are not rated yet" in browser.value(text)
