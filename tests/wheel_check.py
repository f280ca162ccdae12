"""Run by .ci/run with the Python of an environment that holds the built wheel and nothing else, away from the checkout."""
import importlib, pkgutil, subprocess, sys
from pathlib import Path

import mespot
from mespot.core import package_file
from mespot.kit.runs import chapters
from mespot.measure.quality import pristine
from mespot.published import published
from mespot.train.runs_list import read_runs

assert Path(sys.prefix) in package_file().parents, f"{package_file()} is not the installed package"
modules = [m.name for m in pkgutil.walk_packages(mespot.__path__, "mespot.")]
for name in modules: importlib.import_module(name)
assert "mespot.kit.cli" in modules and "mespot.measure.intervals" in modules, modules
assert {"spotting", "samm_lv", "samm_synth", "generation", "fer"} <= set(chapters()), f"chapters in the wheel: {chapters()}"
for part in ("kit/templates/report.html.j2", "kit/templates/report.css", "weights", "data_manifest.yaml"): assert package_file(part).exists(), f"{part} is not in the wheel"
assert len(published("5.9")) == 8 and read_runs("spotting"), "published tables or declared runs are not in the wheel"
assert pristine().mean.shape == (36,), "the pristine model of NIQE is not in the wheel"
for name in ("au_meter", "domains_faces", "fer_regression", "generation_proposed", "micro_phase", "sequence", "spotter", "stargan2"): assert package_file("weights", f"{name}.safetensors").exists() and package_file("weights", f"{name}.json").exists(), f"the weights {name} are not in the wheel"
listed = subprocess.run([Path(sys.prefix)/"bin"/"mespot", "data", "check", "phantom-tiny"], capture_output=True, text=True)
assert listed.returncode == 0 and "INCOMPLETE" not in listed.stdout, listed
bare = subprocess.run([Path(sys.prefix)/"bin"/"mespot", "report", "spotting"], capture_output=True, text=True)
assert bare.returncode == 2 and "mespot[notebooks]" in bare.stderr, bare
print(f"{len(modules)} modules import from the wheel; chapters: {', '.join(chapters())}")
