"""Declared runs: what stands in the file is what is run, a slip in it is an error that says where, and the packaged list agrees with the published tables."""
import re
from math import prod

import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from mespot.core import MespotError, package_file
from mespot.published import printed, published
from mespot.train.runs_list import Run, _said, find_run_file, read_run_file, read_runs

PARAMETERS = dict(lcn=bool, depth=int, pool=str, batch_norm=bool, separable=bool, dropout=float, pair=str, presence_weight=float, micro_weight=float, macro_weight=float,
                  skip_micro=float, skip_macro=float, filters=int)
PROPOSED = dict(presence_weight=3., micro_weight=.9, macro_weight=.1)      # thesis Table 5.10


@pytest.fixture
def write(tmp_path):
    def write(text, name="runs.yaml"):
        (tmp_path/name).write_text(text)
        return tmp_path/name
    return write


def by_table(table): return {r.tables[table]: r for r in read_runs("spotting") if table in r.tables}


def test_the_packaged_runs_are_each_of_its_own_kind():
    found = read_run_file("spotting")
    assert found.chapter == "spotting" and found.path == package_file("sweeps", "spotting.yaml") and found.runs[0] == (found.runs[0].name, {}, found.runs[0].tables)
    sets = [tuple(sorted(r.parameters.items())) for r in found.runs]
    assert len(set(sets)) == len(sets)                                   # no two the same under two names
    for r in found.runs: assert all(type(v) is PARAMETERS[k] for k, v in r.parameters.items()), r
    for r in found.runs: assert re.fullmatch(r"[a-z0-9.-]+", r.name), r  # typed on a command line


def test_every_row_that_a_run_answers_to_is_printed():
    for r in read_runs("spotting"):
        for table, row in r.tables.items():
            source, number = ("paper", table.removeprefix("paper ")) if table.startswith("paper ") else ("thesis", table)
            assert row in published(number, source).index, (r.name, table)


@pytest.mark.parametrize("table, rows", [("5.9", published("5.9").index), ("5.10", published("5.10").index), ("paper 7", published("7", "paper").index)])
def test_every_printed_row_of_the_ablations_has_its_one_run(table, rows):
    assert sorted(r.tables[table] for r in read_runs("spotting") if table in r.tables) == sorted(rows)


def test_weights_and_skips_are_those_printed():
    notes = printed("5.10").drop_duplicates("row").set_index("row").note
    for row, r in by_table("5.10").items():
        assert set(r.parameters) <= set(PROPOSED)
        w = PROPOSED | r.parameters
        assert notes[row] == f"W = {w['presence_weight']:g}, M_ME = {w['micro_weight']:.1f}, M_MaE = {w['macro_weight']:.1f}"
    frames = published("5.5", data_set="SAMM-LV").loc["Manual frame skip", ["micro skip", "macro skip"]]/200
    assert by_table("5.9")["Manual Frame Skip"].parameters == dict(skip_micro=frames["micro skip"], skip_macro=frames["macro skip"])


def test_depths_are_those_printed():
    for row, r in by_table("5.9").items():
        said = re.fullmatch(r"Without LCN, (\d+) Conv Layers", row)
        assert (r.parameters.get("lcn", True), r.parameters.get("depth", 3)) == ((False, int(said[1])) if said else (True, 3)), row


def test_a_plain_mapping_is_one_run(write):
    assert read_runs(write("epochs: 3\nrate: 1.0e-3\nclip: null\n", "params.yml")) == [Run("params", dict(epochs=3, rate=.001, clip=None), {})]
    assert read_run_file(write("epochs: 3")).chapter is None


@pytest.mark.parametrize("text, says", [
    ("", "runs.yaml: is empty"), ("- name: a", "should be a mapping"), ("runs: [", "is not valid YAML"), ("epochs: [1, 2]", r"parameters: epochs is \[1, 2\]"),
    ("rums:\n- name: a", "parameters: rums is"), ("epochs: 1\nepochs: 2", "the key 'epochs' is given twice"), ("day: 2020-01-01", "parameters: day is"),
    ("runs: []", "at least one run"), ("runs:\n  name: a", "runs should be a list"), ("runs:\n- a", "run 1: should be a mapping with name, parameters, tables"),
    ("chapters: x\nruns:\n- name: a", "'chapters' is not a known key; use chapter, about, base, runs, grid"), ("chapter: 5\nruns:\n- name: a", "chapter should be text, not 5"),
    ("runs:\n- name: a\n- parameters: {}", "run 2: needs a name"), ("runs:\n- name: no", "run 1: needs a name, which is text, not False"), ("runs:\n- name: ' '", "needs a name"),
    ("runs:\n- name: a\n- name: b\n- name: a", "run 'a': the name is given 2 times"), ("runs:\n- name: a\n  params: {}", "run 1: 'params' is not a known key; use name, parameters, tables"),
    ("runs:\n- name: a\n  name: b", "the key 'name' is given twice"), ("runs:\n- name: a\n  parameters: {lcn: true, lcn: false}", "the key 'lcn' is given twice"),
    ("runs:\n- name: a\n  parameters: {depth: [3]}", r"run 'a': parameters: depth is \[3\]; give it one number"), ("runs:\n- name: a\n  parameters: {depth: {of: 3}}", "run 'a': parameters: depth"),
    ("runs:\n- name: a\n  parameters: 3", r"run 'a': parameters should be a mapping"), ("runs:\n- name: a\n  parameters: {1: 3}", "the name 1 is not text"),
    ("runs:\n- name: a\n  tables: {5.10: Proposed}", "run 'a': tables: the name 5.1 is not text; write it in quotes"), ("runs:\n- name: a\n  tables: {'5.9': 3}", "tables: 5.9 is 3; give it one text"),
    ("runs:\n- name: !!python/object:os.system a", "is not valid YAML"),
    ("grid: {depth: 3}", "grid: depth is 3; give it a list"), ("grid: {}", "grid should be a mapping"), ("grid: [3]", "grid should be a mapping"), ("grid: {depth: []}", "depth is \\[\\]; give it a list"),
    ("grid: {depth: [3, {a: 1}]}", "grid: depth is {'a': 1}"), ("grid: {1: [3]}", "the name 1 is not text"), ("grid: {depth: [3, 6, 3]}", "depth has 3 twice"), ("grid: {clip: [a b, a-b]}", "clip has a-b twice"),
    ("grid: {depth: [3]}\nruns:\n- name: a", "either `runs:` or `grid:`, and has both"), ("base: {depth: 3}", "has neither"), ("base: {depth: 3}\ngrid: {depth: [6]}", "depth stands in base and in grid"),
    ("base: 3\nruns:\n- name: a", "base should be a mapping"), ("base: {depth: [3]}\nruns:\n- name: a", "base: depth is \\[3\\]"), ("about: [x]\ngrid: {depth: [3]}", "about should be text")])
def test_a_slip_in_the_file_is_one_sentence_that_says_where(write, text, says):
    with pytest.raises(MespotError, match=says) as e: read_runs(write(text))
    assert "runs.yaml" in str(e.value) and "\n" not in str(e.value)


def test_a_file_that_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(MespotError, match="nowhere.yaml cannot be read"): read_runs(tmp_path/"nowhere.yaml")
    with pytest.raises(MespotError, match="no list of runs 'spoting'; there are: generation, spotting"): read_runs("spoting")
    (tmp_path/"spotting").mkdir()
    monkeypatch.chdir(tmp_path)                                          # a folder of that name is not in the way
    assert find_run_file("spotting").is_file()


def test_base_holds_for_all_runs_unless_one_says_otherwise(write):
    found = read_run_file(write("chapter: demo\nabout: two\nbase: {epochs: 10, lcn: true}\nruns:\n- name: a\n- name: b\n  parameters: {lcn: false}"))
    assert [r.parameters for r in found.runs] == [{"epochs": 10, "lcn": True}, {"epochs": 10, "lcn": False}] and (found.chapter, found.about) == ("demo", "two")


def test_a_grid_is_every_combination_once_with_the_last_parameter_fastest(write):
    found = read_runs(write("base: {rate: 0.1}\ngrid: {depth: [3, 6], lcn: [true, null], pair: [a b, '']}"))
    assert [r.name for r in found][:3] == ["depth-3_lcn-true_pair-a-b", "depth-3_lcn-true_pair-empty", "depth-3_lcn-null_pair-a-b"] and len({r.name for r in found}) == 8
    assert found[-1] == Run("depth-6_lcn-null_pair-empty", dict(rate=.1, depth=6, lcn=None, pair=""), {})


scalars = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.none())
names = st.from_regex(r"[a-z][a-z0-9-]{0,9}", fullmatch=True)

@given(st.lists(st.tuples(names, st.dictionaries(names, scalars, max_size=4), st.dictionaries(st.text(), st.text(), max_size=2)), min_size=1, max_size=5, unique_by=lambda r: r[0]))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_declared_is_read(write, declared):
    path = write(yaml.safe_dump(dict(chapter="spotting", runs=[Run(*r)._asdict() for r in declared])))
    assert read_runs(path) == [Run(*r) for r in declared]


@given(st.dictionaries(names, st.lists(scalars, min_size=1, max_size=3, unique_by=_said), min_size=1, max_size=3))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_grid_has_as_many_runs_as_combinations_all_different(write, grid):
    found = read_runs(write(yaml.safe_dump(dict(grid=grid))))
    assert len({r.name for r in found}) == len(found) == prod(map(len, grid.values()))
    for name, values in grid.items(): assert {_said(r.parameters[name]) for r in found} == {_said(v) for v in values}
