# `make demo` trains and scores a small EfficientPS, `make test` runs the tests; both make .venv first.
VENV := .venv
PY := $(VENV)/bin/python
SYSTEM_PYTHON := $(shell for p in python3.11 python3.12 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$p && break; done)

.PHONY: demo test lint venv clean
venv: $(VENV)/installed

$(VENV)/installed: pyproject.toml tools/install_detectron2.py
	@test -n "$(SYSTEM_PYTHON)" || { echo "Python 3.11 or 3.12 is needed and was not found on PATH."; exit 1; }
	test -x $(PY) || $(SYSTEM_PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip<26" "setuptools<82" wheel
	$(PY) -m pip install --progress-bar on -e ".[lite,dev]"
	$(PY) tools/install_detectron2.py
	touch $@
