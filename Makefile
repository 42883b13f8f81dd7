# Every target makes what it needs. `make` alone explains them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RESULTS := loadtest/results
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help install run test test-fast check format coverage vllm-test deploy-test bench chaos quality docs lock clean

help: ## Explain the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create the environment in .venv from the lock file

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	  || { echo "entroute needs Python 3.11 to 3.13; say which: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: $(STAMP) ## Serve two embedded models on this machine's CPU (weights are fetched once, 1.6 GB)
	@$(BIN)/python -m entroute serve $(ARGS)

test: $(STAMP) check ## Check and run every test but those of vLLM (a real Redis, real models)
	$(BIN)/coverage run -m pytest -m "not vllm and not deploy" $(ARGS)
	$(BIN)/coverage report

test-fast: $(STAMP) ## Run the tests that need no model
	$(BIN)/pytest -m "not vllm and not models and not deploy" $(ARGS)

vllm-test: $(STAMP) ## Run the tests against a real vLLM on the CPU (its environment is built once, 4 GB)
	$(BIN)/python -m tests.vllm.environment
	$(BIN)/pytest -m vllm tests/vllm $(ARGS)

deploy-test: $(STAMP) ## Check image, compose, chart, rules and dashboards with the real tools (Debian or Ubuntu, as root)
	$(BIN)/python -m tests.deploy.tools
	$(BIN)/python -m tests.deploy.images
	$(BIN)/pytest -m deploy tests/deploy $(ARGS)

check: $(STAMP) ## Lint, format, types, layers, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check
	$(BIN)/python -m deploy.generate --check

format: $(STAMP) ## Format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP) ## Write what is made from code: pages, dashboards, the chart's schema
	$(BIN)/python -m docs.generate
	$(BIN)/python -m deploy.generate

bench: $(STAMP) ## Measure the gateway's overhead beside direct calls, on a fake worker
	@mkdir -p $(RESULTS)
	$(BIN)/python -m loadtest.bench --json $(RESULTS)/bench.json $(ARGS)

chaos: $(STAMP) ## Break workers, Redis and configuration under load for ten minutes: make chaos ARGS="--minutes 2"
	@mkdir -p $(RESULTS)
	$(BIN)/python -m loadtest.chaos --json $(RESULTS)/chaos.json $(ARGS)

quality: $(STAMP) ## Ask a running gateway checkable prompts: make quality ARGS="--gsm8k F --humaneval F"
	@mkdir -p $(RESULTS)
	$(BIN)/python -m loadtest.quality $(ARGS)

# What every lock is made with; an image's takes the versions that were tested.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --no-header
TESTED = $(COMPILE) --constraints requirements-dev.lock

lock: ## Renew the lock files, the images' among them
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(COMPILE) pyproject.toml --extra llamacpp --extra maths --extra sandbox --extra learning \
	  --extra plots --extra semantic --extra tracing --group dev --output-file requirements-dev.lock
	$(TESTED) pyproject.toml --extra tracing --output-file deploy/image/gateway.lock
	$(TESTED) pyproject.toml --extra tracing --extra llamacpp --output-file deploy/image/embedded.lock
	$(TESTED) pyproject.toml --extra sandbox --output-file deploy/image/sandbox.lock
	$(TESTED) deploy/image/build.in --output-file deploy/image/build.lock

clean: ## Remove the environment and what tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage* .import_linter_cache dist
