# Everything that a developer or CI runs. Each target does its own set-up in .venv. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_SYSTEM_CERTS ?= 1
RESOLVE = UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip compile --quiet --universal --python-version 3.11.5 --no-header --no-emit-index-url --generate-hashes --no-strip-extras
# The lock has everything that is needed. Where uv cannot install it, as it does not know pip's settings, pip does.
LOCKED = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes
SEEDS ?= 300
STEPS ?= 200
# Tests at once: they wait for other processes for a third of their time.
WORKERS ?= 3
SECONDS ?= 300

.PHONY: help install demo dev lock supply-chain fuzz test test-browser test-faults test-mutants mutation simulate simulate-thousands simulate-roots release-schema bench bench-latency bench-orchestration bench-scale bench-emulator bench-enqueue docs screenshots site wheel lint types check clean
.DEFAULT_GOAL := check

$(VENV)/.installed: pyproject.toml requirements.lock hatch_build.py $(wildcard bedrock_pipeline/kernel/*.[ch])
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}. Choose another with: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	awk '/^[a-z]/ {wanted = /^uv==/} wanted' requirements.lock > $(VENV)/uv.lock
	$(LOCKED) -r $(VENV)/uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --no-deps --require-hashes -r requirements.lock || $(LOCKED) -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

help:  ## list the targets
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## /{printf "  %-20s%s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo 'Arguments: make demo ARGS="--keep"; another interpreter: make PYTHON=python3.12 install'

install: $(VENV)/.installed  ## install into .venv

demo: install  ## the main job, end to end, on this machine
	$(BIN)/bedrock-pipeline demo $(ARGS)

dev: install  ## the embedded stack with Dagster's UI
	$(BIN)/bedrock-pipeline dev $(ARGS)

screenshots: install  ## docs/images: the UI's pages, photographed by the test that operates it in a browser
	SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/python -m pytest -q bedrock_pipeline_tests/end_to_end/test_browser.py

docs: install  ## generate the tables of docs/reference from the code
	$(BIN)/python -m bedrock_pipeline_tests.docs.generate

site: install  ## dist/site: the documentation as a site; a link that leads nowhere is an error
	$(BIN)/zensical build --strict

wheel: install  ## dist/: a wheel with the kernel compiled for this platform, and the sdist
	$(BIN)/python -m hatchling build -d dist

lock: install  ## requirements.lock of development, and that of the image, resolved again
	$(RESOLVE) --extra dev pyproject.toml -o requirements.lock
	echo dagster-webserver | $(RESOLVE) -c requirements.lock pyproject.toml - -o deploy/requirements.lock

supply-chain: install  ## reports/sbom.json and licenses.json; licences and known vulnerabilities are checked
	$(BIN)/python -m bedrock_pipeline_tests.packaging.supply_chain $(ARGS)

lint: install site  ## style, import contracts, spelling, phrases, and whether generated pages are current
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache
	$(BIN)/codespell
	$(BIN)/python -m bedrock_pipeline_tests.docs.phrases
	$(BIN)/python -m bedrock_pipeline_tests.docs.generate --check

types: install  ## mypy, strict
	$(BIN)/mypy

test: install  ## all tests except the fault suite and the one in a browser
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not faults and not browser" $(ARGS)

test-browser: install  ## an operator works in Dagster's UI, in Chromium
	$(BIN)/python -m pytest -m browser bedrock_pipeline_tests/end_to_end $(ARGS)

test-faults: install  ## processes killed at every crash point; writes reports/faults.json
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m faults bedrock_pipeline_tests/faults $(ARGS)

bench: install  ## packing and parsing compared with DuckDB and Polars; writes reports/benchmarks.md
	$(BIN)/python benchmarks/throughput.py $(ARGS)

bench-latency: install  ## time from the end of a job to its published results, through the daemon
	$(BIN)/python benchmarks/latency.py

bench-orchestration: install  ## what orchestration costs at rest, and for each of 200 chunks, through the daemon
	$(BIN)/python benchmarks/orchestration.py $(ARGS)

bench-scale: install  ## 2,000 chunks, 1,000 jobs in flight: one poll and each sensor's tick
	$(BIN)/python benchmarks/scale.py

bench-emulator: install  ## throughput of the emulator
	$(BIN)/python benchmarks/emulator.py

bench-enqueue: install  ## cost of a task, one at a time and in bulk
	$(BIN)/python benchmarks/enqueue.py

simulate: install  ## SEEDS of STEPS steps over the real Postgres, judged; a failing seed is shrunk and printed as a story
	$(BIN)/python -m bedrock_pipeline_tests.simulation --seeds $(SEEDS) --steps $(STEPS) $(ARGS)

simulate-thousands: SEEDS = 5000
simulate-thousands: simulate  ## the same with 5,000 seeds

simulate-roots: install  ## fixed defects reintroduced one at a time: the simulation must find each
	$(BIN)/python -m bedrock_pipeline_tests.simulation.roots $(ARGS)

fuzz: install  ## each target for SECONDS, guided by coverage; what breaks a promise is in reports/fuzz
	$(BIN)/python -m bedrock_pipeline_tests.fuzz --seconds $(SECONDS) $(ARGS)

test-mutants: install  ## each safeguard removed: a named test must fail
	$(BIN)/python -m bedrock_pipeline_tests.faults.mutants

mutation: install  ## mutants of each package, sampled by a seed: which does no test notice? writes reports/mutation.json
	$(BIN)/python -m bedrock_pipeline_tests.mutation $(ARGS)

release-schema: install  ## at a release: the dump of the schema over which later versions must start
	$(BIN)/python -m bedrock_pipeline_tests.upgrade.every_state

check: lint types test  ## lint, types and tests

clean:  ## remove .venv, the embedded stack's data, dist and reports
	rm -rf $(VENV) .bedrock-pipeline dist reports
