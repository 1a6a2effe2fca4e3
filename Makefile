# What a person does with the gateway. `make run` on a fresh machine needs python3 >= 3.11 and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install install-dev run test check format compare latency story memory micro load clean watched

help: ## what there is to do
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1	/' | expand -t 18

install: $(VENV)/.installed ## the virtual environment with what the gateway runs on

install-dev: $(VENV)/.installed-dev

$(VENV)/.installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "python3 >= 3.11 is needed; try make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-otel.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

run: install ## serve, with demonstration services (PORT, HOST, WORKERS)
	@DEBUG=$${DEBUG:-1} REDIS_URL="$${REDIS_URL-$$($(BIN)/python -m gateway_project.launch)}" exec $(BIN)/python manage.py rungateway --demo

test: install install-dev ## every test
	$(BIN)/python -m pytest $(TESTS)

# The environment of a production start, for what only checks: nothing of it is served.
CHECKED := DEBUG=off SECRET_KEY=c8f1e0b6a94d7352f08e1b6a94d7352c8f1e0b6a94d7352f08e DATABASE_URL=sqlite://:memory:

check: install install-dev ## format, lint, types, layers, Django's own checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(CHECKED) $(BIN)/mypy
	$(BIN)/lint-imports
	$(CHECKED) $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(CHECKED) $(BIN)/python manage.py makemigrations --check --dry-run

format: install-dev ## write the code the way `check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

compare: install-dev ## the gateway beside nginx and others, in ratios (ARGS="--only hit,miss --seconds 3")
	$(BIN)/python -m benchmarks.compare $(ARGS)

latency: install-dev ## what the gateway adds to an answer's time, at fixed rates
	$(BIN)/python -m benchmarks.latency $(ARGS)

story: install-dev ## the same 1,000 requests with and without the gateway
	$(BIN)/python -m benchmarks.story $(ARGS)

memory: install-dev ## of one worker, idle and after a million requests
	$(BIN)/python -m benchmarks.memory $(ARGS)

watched: install-dev ## what dashboards and scrapes cost the answers (ARGS="5 10": seconds, rounds)
	$(BIN)/python -m benchmarks.dashboard $(ARGS)

micro: install-dev ## what the single rules cost
	$(BIN)/python -m benchmarks.micro $(ARGS)

load: install ## five load tests with ApacheBench, against a gateway of their own
	$(BIN)/python -m benchmarks.load

clean: ## remove what install and the tests made
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
