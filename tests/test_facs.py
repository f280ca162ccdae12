"FACS as coders write it: every number found, sides, intensities and doubts kept, nothing raises."
import re
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from mespot.core import MespotError
from mespot.data.facs import FacsUnit, facs_table, parse_facs

shown = lambda text: [(u.side, u.au, u.intensity, u.certainty) for u in parse_facs(text)[0]]
SEEN, EITHER, REF, LOST = "seen", "either", "ref", "lost"

# notations that occur in the tables of the public data sets, each with what a reader of FACS would take from it
@pytest.mark.parametrize("text, units, words", [
    ("6+12", [("", 6, "", SEEN), ("", 12, "", SEEN)], ""),
    ("L12", [("L", 12, "", SEEN)], ""),
    ("4(B/C)+7B", [("", 4, "B/C", SEEN), ("", 7, "B", SEEN)], ""),
    ("R2+A14", [("R", 2, "", SEEN), ("A", 14, "", SEEN)], ""),
    ("14/10", [("", 14, "", EITHER), ("", 10, "", EITHER)], ""),
    ("10A/B", [("", 10, "A/B", SEEN)], ""),
    ("1D/E+2D/E+15D/E", [("", 1, "D/E", SEEN), ("", 2, "D/E", SEEN), ("", 15, "D/E", SEEN)], ""),
    ("12(B/C)+17B+(23/24) ", [("", 12, "B/C", SEEN), ("", 17, "B", SEEN), ("", 23, "", EITHER), ("", 24, "", EITHER)], ""),
    ("12A or 14A", [("", 12, "A", EITHER), ("", 14, "A", EITHER)], ""),
    ("(R6 or R12) + R15", [("R", 6, "", EITHER), ("R", 12, "", EITHER), ("R", 15, "", SEEN)], ""),
    ("24 or 31 or 80", [("", 24, "", EITHER), ("", 31, "", EITHER), ("", 80, "", EITHER)], ""),
    ("26+((8+25)or(50))", [("", 26, "", SEEN), ("", 8, "", EITHER), ("", 25, "", EITHER), ("", 50, "", EITHER)], ""),
    ("ref(5)+15B", [("", 5, "", REF), ("", 15, "B", SEEN)], ""),
    ("ref(L10)+A12B", [("L", 10, "", REF), ("A", 12, "B", SEEN)], ""),
    ("Ref(14)+43E", [("", 14, "", REF), ("", 43, "E", SEEN)], ""),
    ("6C/D+ref(7)12E+25", [("", 6, "C/D", SEEN), ("", 7, "", REF), ("", 12, "E", SEEN), ("", 25, "", SEEN)], ""),
    ("9A ref (L12 or L10)", [("", 9, "A", SEEN), ("L", 12, "", REF), ("L", 10, "", REF)], ""),
    ("R6A+ref(12/14)+16", [("R", 6, "A", SEEN), ("", 12, "", REF), ("", 14, "", REF), ("", 16, "", SEEN)], ""),
    ("(1B+2A)or(loses AU4)", [("", 1, "B", EITHER), ("", 2, "A", EITHER), ("", 4, "", LOST)], "loses"),
    ("(loses 1+2) or (4(B/C))", [("", 1, "", LOST), ("", 2, "", LOST), ("", 4, "B/C", EITHER)], "loses"),
    ("A(4B/C)+5B", [("A", 4, "B/C", SEEN), ("", 5, "B", SEEN)], ""),
    ("(L/A)12(B/A)", [("L/A", 12, "B/A", SEEN)], ""),
    ("A/L12", [("A/L", 12, "", SEEN)], ""),
    ("7A/B+L10A/B)+ref(11)+12C", [("", 7, "A/B", SEEN), ("L", 10, "A/B", SEEN), ("", 11, "", REF), ("", 12, "C", SEEN)], ""),
    ("R(12or14)B+38", [("R", 12, "", EITHER), ("", 14, "", EITHER), ("", 38, "", SEEN)], ""),
    ("T18+B23+39", [("T", 18, "", SEEN), ("B", 23, "", SEEN), ("", 39, "", SEEN)], ""),
    ("4+7+AD38", [("", 4, "", SEEN), ("", 7, "", SEEN), ("", 38, "", SEEN)], ""),
    ("26+ADR30", [("", 26, "", SEEN), ("R", 30, "", SEEN)], ""),
    ("1+M58", [("", 1, "", SEEN), ("", 58, "", SEEN)], ""),
    ("31?", [("", 31, "", "doubtful")], "?"),
    ("12B ?", [("", 12, "B", "doubtful")], "?"),
    ("80 (big swallow) ", [("", 80, "", SEEN)], "big swallow"),
    ("4+glare", [("", 4, "", SEEN)], "glare"),
    ("7D+all of the above", [("", 7, "D", SEEN)], "all of the above"),
    ("twice - L1B+L2B", [("L", 1, "B", SEEN), ("L", 2, "B", SEEN)], "twice"),
    ("7B+double 45", [("", 7, "B", SEEN), ("", 45, "", SEEN)], "double"),
    ("subject do 2x  R2(C and then B)", [("R", 2, "", SEEN)], "subject do then"),
    ("Chewing", [], "Chewing"), ("?", [], "?"), ("", [], ""), (None, [], ""), (float("nan"), [], "")])
def test_what_coders_write(text, units, words):
    assert shown(text) == units and parse_facs(text)[1] == words


UNIT = st.builds(FacsUnit, st.integers(1, 99), st.sampled_from(["", "L", "R", "A", "T", "B", "L/A"]), st.sampled_from(["", *"ABCDE", "B/C", "D/E"]), st.just(SEEN))

@given(st.lists(UNIT, max_size=6), st.booleans(), st.sampled_from(["+", " + "]))
def test_what_is_written_is_read_back(units, brackets, plus):
    level = lambda i: f"({i})" if brackets and i else i
    text = plus.join(f"{'(' + u.side + ')' if '/' in u.side else u.side}{u.au}{level(u.intensity)}" for u in units)
    assert parse_facs(text) == (units, "")

@settings(max_examples=300)
@given(st.text("0123456789+()/?LRATBCDEorf xU", max_size=30))
def test_no_text_raises_and_no_action_unit_is_lost(text):
    numbers = [int(n) for n in re.findall(r"(?<![\d.])\d{1,2}(?![\dx])", text)]
    assert [u.au for u in parse_facs(text)[0]] == numbers

def test_the_table_has_a_row_for_each_unit_and_keeps_the_rest():
    annotations = pd.DataFrame(dict(video=["a", "a", "b"], onset=[1, 2, 3], aus=["4+ref(7)", None, "L12C"]), index=[5, 7, 9])
    t = facs_table(annotations)
    assert t.index.tolist() == [5, 5, 9] and t.onset.tolist() == [1, 1, 3] and t.au.tolist() == [4, 7, 12] and t.certainty.tolist() == [SEEN, REF, SEEN]
    assert "aus" not in t and facs_table(annotations[:0]).empty and list(facs_table(annotations[:0])) == list(t)
    with pytest.raises(MespotError, match="no column aus"): facs_table(annotations.drop(columns="aus"))
