# `make demo` trains and scores a small EfficientPS, `make test` runs the tests; both make .venv first.
VENV := .venv
PY := $(VENV)/bin/python
CHECK := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c '$(CHECK)' 2>/dev/null && echo $$p && break; done)
OUTPUT := output/streets
# pip takes four times as long, but reads pip.conf: make venv INSTALL=".venv/bin/python -m pip install"
INSTALL := $(VENV)/bin/uv pip install --compile-bytecode --python $(PY)
WHEELS := cuda-wheels
PACKAGES := ".[lite,dev]" ./runtime sal-detectron2 panopticapi-lite
EDITABLE := -e runtime -e ".[lite,dev]"

# Without its bytecode each process would compile all of PyTorch again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-faults lint venv cuda cuda-wheels

venv: $(VENV)/installed

# How packages are installed; `make cuda` does it without a network.
define INSTALLATION
$(PY) -m pip install --quiet --upgrade pip uv
$(INSTALL) $(EDITABLE)
$(PY) tools/install_detectron2.py
endef

$(VENV)/installed: pyproject.toml runtime/pyproject.toml tools/install_detectron2.py
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed; none was found on PATH."; exit 1; }
	@echo "Installing PyTorch, Detectron2 and the rest into $(VENV); about 6 GB, some minutes."
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(INSTALLATION)
	@touch $@

# A second run finds the dataset and the trained model and only shows the results again.
demo: $(OUTPUT)/report.html
	@echo; cat $(OUTPUT)/results.md
	@echo; echo "Checkpoint: $(OUTPUT)/model_final.pth   Images: $(OUTPUT)/pictures/"
	@echo "Report, for a browser: $(OUTPUT)/report.html"

$(OUTPUT)/report.html: $(OUTPUT)/inference/streets_val_metrics.json
	$(VENV)/bin/efficientps-d2 report $(OUTPUT)

$(OUTPUT)/inference/streets_val_metrics.json: | $(VENV)/installed
	$(VENV)/bin/efficientps-d2 streets --if-missing
	$(PY) train_net.py --config-file configs/efficientps_streets.yaml --resume

test: $(VENV)/installed
	$(PY) -m pytest -n auto

# Kills, full disks and damaged files: about half an hour. FAULT_SECONDS is for each reader of files.
test-faults: $(VENV)/installed
	FAULT_TRIES=$(or $(FAULT_TRIES),7) FAULT_SECONDS=$(or $(FAULT_SECONDS),60) \
		$(PY) -m pytest -n auto -o faulthandler_timeout=3600 tests/faults

lint: $(VENV)/installed
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

# For a machine with a GPU and no network: all packages, for this Python and this kind of machine.
cuda-wheels: $(VENV)/installed
	$(PY) tools/install_detectron2.py --output $(WHEELS)
	$(PY) -m pip download --progress-bar on --dest $(WHEELS) --find-links $(WHEELS) \
		$(PACKAGES) setuptools

# Checks on a GPU, in less than ten minutes; from cuda-wheels/ where nothing is installed yet.
cuda: INSTALLATION = $(if $(wildcard $(WHEELS)),$(FROM_WHEELS),$(error $(NO_WHEELS)))
cuda: $(VENV)/installed
	$(VENV)/bin/efficientps-d2 streets --if-missing
	$(PY) tools/cuda/run.py

FROM_WHEELS = $(PY) -m pip install --no-index --find-links $(WHEELS) $(EDITABLE) \
	sal-detectron2 panopticapi-lite
NO_WHEELS = Run make venv; or without a network copy $(WHEELS)/ here, which make cuda-wheels collects
