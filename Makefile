# Set-up, training and tests with nothing but Python 3.11+, pip and make. The commands can be typed by hand as well.

CONFIG ?= configs/atlas.yaml
VENV := .venv
STAMP := $(VENV)/.installed
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	if $$p -c "$(IS_NEW_ENOUGH)" 2>/dev/null; then echo $$p; break; fi; done)

.PHONY: setup train test lint

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer on the PATH; name one by PYTHON=..." >&2; exit 1; }
	@# Some systems ship Python without ensurepip; then its own pip fills the environment.
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --python $(VENV)/bin/python install pip; }
	$(VENV)/bin/python -m pip install --constraint constraints.txt --editable ".[dev]"
	@touch $@

train: $(STAMP)
	$(VENV)/bin/python train.py --config $(CONFIG)
	$(VENV)/bin/python train.py test --config $(CONFIG) --ckpt_path last
	@echo "The report lies in runs/$(basename $(notdir $(CONFIG)))/report.html"

test: $(STAMP)
	$(VENV)/bin/python -m pytest

lint: $(STAMP)
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy
