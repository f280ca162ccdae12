"""The project itself: settings and package metadata agree, the README is the index notebook, floors hold, notebooks are clean."""
import ast, configparser, re, runpy, subprocess, sys
from pathlib import Path

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(p for p in (ROOT/"nbs").rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)
MODULES = sorted(p for p in (ROOT/"mespot").rglob("*.py") if p.name not in ("__init__.py", "_modidx.py"))
settings = configparser.ConfigParser(delimiters=["="])
settings.read(ROOT/"settings.ini", encoding="utf-8")
settings = settings["DEFAULT"]


@pytest.fixture(scope="module")
def said():
    "What setup.py hands to setuptools."
    import setuptools
    kept = {}
    with pytest.MonkeyPatch.context() as m:
        m.chdir(ROOT)
        m.setattr(setuptools, "setup", lambda **kw: kept.update(kw))
        runpy.run_path(str(ROOT/"setup.py"))
    return kept


def test_setup_hands_on_the_settings(said):
    assert said["name"] == settings["lib_name"] and said["version"] == settings["version"] and said["description"] == settings["description"]
    assert said["install_requires"] == settings["requirements"].split() and said["python_requires"] == f">={settings['min_python']}"
    assert set(said["extras_require"]) == {"notebooks", "excel", "landmarks", "cluster", "explain", "judges", "dev"} and all(said["extras_require"].values())
    assert said["entry_points"] == {"console_scripts": ["mespot=mespot.kit.cli:main"]}
    assert said["license"] == "Apache-2.0" and "Development Status :: 3 - Alpha" in said["classifiers"]


def test_setup_reads_every_field_that_is_not_nbdevs_own():
    nbdevs = {"user", "repo", "title", "custom_sidebar", "doc_path", "recursive", "tst_flags", "allowed_cell_metadata_keys", "clear_all", "clean_ids", "update_pyproject",
              "jupyter_hooks", "black_formatting", "put_version_in_init", "readme_nb", "cell_number"}
    source = (ROOT/"setup.py").read_text()
    unread = [k for k in settings if k not in nbdevs and not k.endswith("_requirements") and not re.search(rf"""["']{k}["']""", source)]
    assert unread == []


def test_the_version_is_the_same_everywhere():
    import mespot
    assert mespot.__version__ == settings["version"] and mespot.MespotError.__module__ == "mespot.core"


def test_constraints_pin_every_requirement_within_its_bounds():
    pins = dict(line.split("==") for line in (ROOT/"constraints.txt").read_text().split("\n") if line and not line.startswith("#"))
    pins = {canonicalize_name(k): v for k, v in pins.items()}
    assert not any("+" in v for v in pins.values())                # a local tag such as +cpu is found nowhere else
    for field in settings:
        if not field.endswith("requirements"): continue
        for r in map(Requirement, settings[field].split()):
            assert canonicalize_name(r.name) in pins and r.specifier.contains(pins[canonicalize_name(r.name)], prereleases=True), f"{field}: {r}"


def test_the_readme_is_the_index_notebook():
    from nbconvert import MarkdownExporter
    body, _ = MarkdownExporter().from_filename(str(ROOT/"nbs"/"index.ipynb"))
    assert (ROOT/"README.md").read_text(encoding="utf-8").strip() == body.strip().replace("(images/", "(nbs/images/"), "run: make readme"


def test_the_documentation_lists_every_notebook():
    written = (ROOT/"nbs"/"sidebar.yml").read_text()
    assert sorted(re.findall(r"- ([\w/]+\.ipynb)", written)) == sorted(p.relative_to(ROOT/"nbs").as_posix() for p in NOTEBOOKS), "run: nbdev_sidebar"
    assert all((ROOT/"nbs"/name).is_file() for name in ("_quarto.yml", "nbdev.yml", "styles.css"))


def test_what_the_readme_names_is_there():
    readme, makefile = (ROOT/"README.md").read_text(), (ROOT/"Makefile").read_text()
    targets = set(re.findall(r"^(\w+):", makefile, re.M))
    assert {"report", "test", "lab", "clean"} <= targets
    assert set(re.findall(r"make ([a-z]+)\b(?= |`|$)", "\n".join(re.findall(r"^make .*|`make .*?`", readme, re.M)))) <= targets
    assert (pictures := re.findall(r"!\[[^\]]+\]\(([^)]+)\)", readme)) and all((ROOT/p).is_file() for p in pictures)
    for folder in re.findall(r"^\| `(\w[\w/]*/)` \|", readme, re.M): assert (ROOT/folder).is_dir() or folder == "reports/", folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebooks_are_clean(path):
    nb = nbformat.read(path, as_version=4)
    nbformat.validate(nb)
    code = [c for c in nb.cells if c.cell_type == "code"]
    assert not any(c.outputs or c.execution_count for c in code) and all(set(c.metadata) <= {"tags"} for c in nb.cells)


def test_every_module_comes_from_one_notebook():
    made = {}
    for path in NOTEBOOKS:
        for name in re.findall(r"^#\| default_exp (\S+)", "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"), re.M):
            assert name not in made, f"{path} and {made[name]} both export {name}"
            made[name] = path
    assert {".".join(p.relative_to(ROOT/"mespot").with_suffix("").parts) for p in MODULES} == set(made)


@pytest.mark.parametrize("path", sorted((ROOT/"nbs"/"chapters").glob("*.ipynb")), ids=lambda p: p.stem)
def test_chapters_run_with_the_extra_notebooks_alone(path):
    names = lambda *fields: {Requirement(r).name for f in fields for r in settings[f].split()}
    only_dev = names("dev_requirements") - names("requirements", "notebooks_requirements")
    source = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code")
    assert not {m for m in re.findall(r"^\s*(?:from|import) (\w+)", source, re.M)} & only_dev


FLOORS = dict(core=0, report=1, published=1, signal=1, measure=1, nets=2, data=2, train=3, kit=5)      # other modules at the top are chapters: 4

def dotted(path): return ("mespot", *path.relative_to(ROOT/"mespot").with_suffix("").parts)

def imports(path):
    "Full names of what a module imports from the package, at its top or inside functions (nbdev writes them relative)."
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import): yield from (a.name for a in node.names if a.name.startswith("mespot."))
        if isinstance(node, ast.ImportFrom):
            base = [*dotted(path)[:-node.level], *filter(None, [node.module])] if node.level else (node.module or "").split(".")
            if base == ["mespot"]: yield from (f"mespot.{a.name}" for a in node.names if not a.name.startswith("__") and a.name != "MespotError")
            elif base[0] == "mespot": yield from (".".join(base), *(".".join([*base, a.name]) for a in node.names))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: ".".join(dotted(p)[1:]))
def test_a_module_imports_only_from_floors_below_or_its_own(path):
    floor = FLOORS.get(dotted(path)[1], 4)
    for name in imports(path):
        below = FLOORS.get(name.split(".")[1], 4)
        assert below <= floor, f"imports {name} from floor {below}"
        if floor == 5 and not path.name.endswith("cli.py"): assert below != 4, f"imports {name}: the kit reaches chapters by their notebooks only"


def test_no_module_imports_in_a_circle():
    graph = {".".join(dotted(p)): set(imports(p)) for p in MODULES}
    while free := [m for m, uses in graph.items() if not uses & set(graph)]:
        for m in free: del graph[m]
    assert not graph, graph


@pytest.mark.skipif(sys.platform == "win32", reason="make")
def test_make_says_so_when_there_is_no_suitable_python(tmp_path):
    for name in ("Makefile", "settings.ini", "setup.py", "pyproject.toml", "constraints.txt"): (tmp_path/name).write_text((ROOT/name).read_text())
    old = tmp_path/"python-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    r = subprocess.run(["make", "report", f"PYTHONS=no-such-python {old}"], cwd=tmp_path, capture_output=True, text=True)
    assert r.returncode != 0 and "mespot needs Python 3.11, 3.12 or 3.13" in r.stderr and not (tmp_path/".venv").exists()
