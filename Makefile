# Development commands. `make run` on a fresh machine needs only python3 >= 3.11.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install install-dev run serve docs test quick check format compare latency story memory dashboard-cost watched history micro load abuse webhooks rolling outages lock messages manifests image image-base sbom audit clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1	/' | expand -t 24

install: $(VENV)/.installed ## create the virtual environment and install the gateway's dependencies

install-dev: $(VENV)/.installed-dev

RUNTIME := requirements.txt requirements-core.txt requirements-firebase.txt requirements-postgres.txt

$(VENV)/.installed: $(RUNTIME)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "python3 >= 3.11 is needed; try make PYTHON=python3.12")'
	@test -x $(BIN)/pip || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo 'python3 lacks its venv module; on Debian and Ubuntu: sudo apt-get install python3-venv' >&2; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements-otel.txt requirements-apprise.txt requirements-geoip.txt requirements-docs.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

run: install ## start the gateway with demonstration services (PORT, HOST, WORKERS)
	@DEBUG=$${DEBUG:-1} REDIS_URL="$${REDIS_URL-$$($(BIN)/python -m gateway_project.launch)}" exec $(BIN)/python manage.py rungateway --demo

serve: install ## start the gateway with your own services (CONFIG=my.yaml; PORT, HOST, WORKERS)
	@exec $(BIN)/python manage.py serve $(if $(CONFIG),'$(CONFIG)')

PROCESSES ?= 2
# Compiled modules are kept, whatever the environment says: to compile the tests takes longer than to collect them.
export PYTHONDONTWRITEBYTECODE :=

test: install install-dev ## run the tests (TESTS="tests/routing -k cors" for some; PROCESSES=0: one after the other)
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadgroup --no-loadscope-reorder $(TESTS)

# More processes than cores: many of these tests wait.
quick: install install-dev ## run the tests that need no server, browser, process or database
	$(BIN)/python -m pytest -m "not slow" -n 4 --dist loadgroup $(TESTS)

# A production environment for the checks; nothing is served with it.
CHECK_ENV := DEBUG=off SECRET_KEY=c8f1e0b6a94d7352f08e1b6a94d7352c8f1e0b6a94d7352f08e DATABASE_URL=sqlite://:memory:

check: install install-dev ## check formatting, lint, types, import contracts and Django's system checks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(CHECK_ENV) $(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(CHECK_ENV) $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(CHECK_ENV) $(BIN)/python manage.py makemigrations --check --dry-run

docs: install-dev ## build the documentation as a site in var/site, and check its links
	$(CHECK_ENV) $(BIN)/python manage.py reference docs/reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file docs/site/mkdocs.yml
	@echo "open var/site/index.html"

format: install-dev ## format the code and apply lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

compare: install-dev ## benchmark throughput against nginx and other proxies (ARGS="--only hit,miss --seconds 3")
	$(BIN)/python -m benchmarks.compare $(ARGS)

latency: install-dev ## benchmark the latency the gateway adds, at fixed request rates
	$(BIN)/python -m benchmarks.latency $(ARGS)

story: install-dev ## benchmark 1,000 mixed requests with and without the gateway, and a team's day
	$(BIN)/python -m benchmarks.story $(ARGS)

memory: install-dev ## measure one worker's memory, idle and after a million requests
	$(BIN)/python -m benchmarks.memory $(ARGS)

dashboard-cost: install-dev ## benchmark throughput with dashboards and scrapes (ARGS="5 10": seconds, rounds)
	$(BIN)/python -m benchmarks.dashboard $(ARGS)

watched: install-dev ## benchmark what dashboards, scrapes and the request log cost hits and misses, in three minutes
	$(BIN)/python -m benchmarks.watched $(ARGS)

history: install-dev ## generate a year at 50 services and measure each page (ARGS="--database postgresql://...")
	$(BIN)/python -m benchmarks.history $(ARGS)

micro: install-dev ## run the microbenchmarks of single functions
	$(BIN)/python -m benchmarks.micro $(ARGS)

.PHONY: scale
scale: install-dev ## measure what one Redis carries for 1 to 256 virtual workers, in four minutes (ARGS="--workers 16 --dry-run", or "--replay 64")
	$(BIN)/python -m benchmarks.scale $(ARGS)

load: install ## run five load tests with ApacheBench against a temporary gateway
	$(BIN)/python -m benchmarks.load

abuse: install-dev ## abuse two workers for ten minutes beside a measured load (ARGS="--minutes 1")
	$(BIN)/python -m benchmarks.abuse $(ARGS)

webhooks: install-dev ## send 500 deliveries of webhooks a second for ten seconds while a worker dies
	$(BIN)/python -m benchmarks.webhooks $(ARGS)

rolling: install-dev ## restart two gateways behind HAProxy and nginx under load, and kill workers (ARGS="haproxy --rounds 1")
	$(BIN)/python -m benchmarks.rolling $(ARGS)

outages: install-dev ## take away, slow down and fill Redis and PostgreSQL, and see what clients and staff get (ARGS="--seconds 20")
	$(BIN)/python -m benchmarks.outages $(ARGS)

# Tools of releases have an environment of their own. UV_DEFAULT_INDEX, or pip's settings, name another package index.
RELEASE := .venv-release/bin
EXTRAS := firebase postgres otel apprise geoip

$(RELEASE)/.installed: requirements-release.txt
	@test -x $(RELEASE)/python || $(PYTHON) -m venv .venv-release
	$(RELEASE)/python -m pip install --quiet --disable-pip-version-check -r requirements-release.txt
	@touch $@

# Each extra's lock has all that it needs, at the versions of requirements-core.lock, so that pip takes any of them together.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url \
	--custom-compile-command "make lock"

lock: $(RELEASE)/.installed ## write requirements*.lock: all versions with their hashes (ARGS=--upgrade)
	$(RELEASE)/$(COMPILE) requirements-core.txt -o requirements-core.lock $(ARGS)
	for extra in $(EXTRAS); do $(RELEASE)/$(COMPILE) requirements-$$extra.txt -c requirements-core.lock \
		-o requirements-$$extra.lock $(ARGS) || exit 1; done

messages: install-dev ## extract the texts of pages, and compile their translations (needs Debian's gettext)
	for domain in django djangojs; do $(CHECK_ENV) $(BIN)/python manage.py makemessages --locale de --domain $$domain \
		--no-location --no-wrap --no-obsolete --ignore '.venv*' --ignore tests --ignore benchmarks --ignore docs --ignore var \
		|| exit 1; done
	for po in gateway_project/locale/de/LC_MESSAGES/*.po; do \
		msgattrib --sort-output --no-wrap $$po | sed '/^"POT-Creation-Date:/d' > $$po.new && mv $$po.new $$po || exit 1; done
	$(CHECK_ENV) $(BIN)/python manage.py compilemessages --locale de --ignore '.venv*'

manifests: install-dev ## render the Helm chart to deploy/kubernetes/
	$(BIN)/python -m deploy.render

BASE_TAG ?= python:3.12-slim
IMAGE ?= intelligence-gateway
VERSION ?= $(shell $(PYTHON) -c 'import tomllib; print(tomllib.load(open("pyproject.toml", "rb"))["project"]["version"])')

# The digest of the index, of which every platform takes its own image; nothing else is written into the Dockerfile.
BASE_DIGEST := docker buildx imagetools inspect $(BASE_TAG) --format '{{.Manifest.Digest}}' | grep -x 'sha256:[0-9a-f]\{64\}'

image-base: ## pin the Dockerfile's base image to the digest that BASE_TAG has now
	digest=$$($(BASE_DIGEST)) || { echo 'the digest of $(BASE_TAG) is not known'; exit 1; }; \
		sed -i "s|^ARG BASE=.*|ARG BASE=$(BASE_TAG)@$$digest|" Dockerfile

image: sbom ## build and push the release IMAGE:VERSION, with provenance and bills of materials
	@grep -q '^ARG BASE=.*@sha256:[0-9a-f]\{64\}$$' Dockerfile || { echo 'the base image has no digest: make image-base'; exit 1; }
	@digest=$$($(BASE_DIGEST)) || exit 0; grep -q "^ARG BASE=.*@$$digest$$" Dockerfile || \
		echo 'the base image is not the latest one: make image-base renews it' >&2
	docker buildx build --pull --provenance mode=max --sbom=true --tag $(IMAGE):$(VERSION) --push .

sbom: $(RELEASE)/.installed ## write dist/*.cdx.json: bills of materials of the locked requirements (CycloneDX)
	mkdir -p dist
	for lock in requirements*.lock; do $(RELEASE)/cyclonedx-py requirements $$lock --output-reproducible \
		--output-file dist/$${lock%.lock}.cdx.json || exit 1; done

audit: $(RELEASE)/.installed ## look the locked requirements up in the database of known vulnerabilities
	for lock in requirements*.lock; do $(RELEASE)/pip-audit --strict --disable-pip --no-deps --requirement $$lock || exit 1; done

clean: ## remove the virtual environment and tool caches
	rm -rf $(VENV) .venv-release dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
