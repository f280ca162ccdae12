# The few commands of the README. Everything happens in .venv; nothing is installed anywhere else.

.DEFAULT_GOAL := help
.PHONY: help report test lab readme clean

# One thread a process: on small networks a second thread costs more than it brings.
export OMP_NUM_THREADS ?= 1

# The first of these that is Python 3.11-3.13 and can make an environment (constraints.txt was frozen with 3.11).
PYTHONS ?= python3.11 python3.12 python3.13 python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

report: $(READY) ## Train on the phantom, spot a real clip, and render the report
	$(BIN)/mespot report spotting -p preset small -p validation_subjects 10 -p test_subjects 10 -p epochs 12 -p ablations proposed,no-lcn \
	  -p movement no -p composite none -p unseen none -p end_to_end no -p clip single_face.mp4

test: $(READY) ## Run every notebook, then the tests
	$(BIN)/nbdev_test --n_workers 2
	$(BIN)/pytest -q -n 2

lab: $(READY) ## Open the notebooks in JupyterLab, with nbdev's hooks
	$(BIN)/nbdev_install_hooks
	$(BIN)/jupyter lab --notebook-dir=nbs

readme: $(READY) ## Make README.md from nbs/index.ipynb
	$(BIN)/jupyter nbconvert --log-level=WARN --to markdown --output-dir=. --output=README nbs/index.ipynb
	sed -i.bak 's#(images/#(nbs/images/#' README.md && rm README.md.bak

clean: ## Remove the environment and what tools made; runs in reports/ stay
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .hypothesis
	find mespot nbs tests -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

$(BIN)/python:
	@for p in $(PYTHONS); do \
	  if $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; then \
	    echo "mespot: using $$($$p --version) for $(VENV)"; $$p -m venv $(VENV); exit; fi; done; \
	echo "mespot needs Python 3.11, 3.12 or 3.13 (with venv); none of these is one: $(PYTHONS)." >&2; \
	echo "Install one, or name yours: make PYTHONS=/path/to/python3.12 ..." >&2; exit 1

$(READY): settings.ini setup.py pyproject.toml constraints.txt | $(BIN)/python
	@echo "mespot: installing into $(VENV); the first time this takes a few minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[notebooks,excel,landmarks,explain,judges,cluster,dev]'
	@touch $@
