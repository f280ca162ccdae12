"""Packaging of mespot. Everything that can be said is said in settings.ini; this file only hands it on."""
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
parser = ConfigParser(delimiters=["="])
parser.read(HERE / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]

LICENSES = {"apache2": "Apache-2.0", "mit": "MIT", "bsd3": "BSD-3-Clause", "gpl3": "GPL-3.0-only"}
STATUSES = ["1 - Planning", "2 - Pre-Alpha", "3 - Alpha", "4 - Beta", "5 - Production/Stable", "6 - Mature", "7 - Inactive"]
PYTHONS = ["3.11", "3.12", "3.13"]
DATA = ["*.safetensors", "*.json", "*.yaml", "*.csv", "*.html", "*.css", "*.j2", "py.typed"]


class BuildWithChapters(build_py):
    "Put the chapter notebooks and the data manifest into a built package, so that it works without a checkout."

    def run(self):
        super().run()
        if self.editable_mode: return
        for source in sorted((HERE / cfg["nbs_path"] / "chapters").glob("*.ipynb")):
            target = Path(self.build_lib) / cfg["lib_path"] / "notebooks" / source.name
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))
        self.copy_file(str(HERE / "data_manifest.yaml"), str(Path(self.build_lib) / cfg["lib_path"]))


def words(field): return cfg.get(field, "").split()


setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    keywords=words("keywords"),
    author=cfg["author"],
    author_email=cfg["author_email"],
    maintainer=cfg["copyright"].split(", ", 1)[1],
    url=cfg["git_url"],
    project_urls={"Source": f"{cfg['git_url']}/tree/{cfg['branch']}", "Documentation": cfg["doc_host"] + cfg["doc_baseurl"]},
    license=LICENSES[cfg["license"]],
    classifiers=[f"Development Status :: {STATUSES[int(cfg['status']) - 1]}", f"Intended Audience :: {cfg['audience']}",
                 f"Natural Language :: {cfg['language']}", *(f"Programming Language :: Python :: {v}" for v in PYTHONS),
                 "Topic :: Scientific/Engineering :: Image Recognition"],
    python_requires=f">={cfg['min_python']}",
    install_requires=words("requirements"),
    extras_require={field.removesuffix("_requirements"): words(field) for field in cfg if field.endswith("_requirements")},
    packages=find_packages(include=[cfg["lib_path"], f"{cfg['lib_path']}.*"]),
    package_data={cfg["lib_path"]: [f"**/{pattern}" for pattern in DATA]},
    include_package_data=False,
    entry_points={"console_scripts": words("console_scripts")},
    cmdclass={"build_py": BuildWithChapters},
    zip_safe=False,
)
