PYTHON ?= python3
PORT ?= 8501
PYTEST_ARGS ?=

BIN := .venv/bin
APP_READY := .venv/app-ready
DEV_READY := .venv/dev-ready
PYTEST := $(BIN)/python -m pytest $(PYTEST_ARGS)

.NOTPARALLEL:
.PHONY: help run test lint types unit pages browser format bench load concept thumbnails messages audit browser-ready nginx-ready

help: ## List what can be made
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 14

run: $(APP_READY) ## Start the app (PORT=8501)
	$(BIN)/python -m streamlit run app.py --server.port $(PORT)

test: lint types browser-ready nginx-ready ## Check everything: lint, types, doctests, unit, page and browser tests
	@echo "==> doctests, unit and page tests"
	@OMP_NUM_THREADS=1 $(PYTEST) --numprocesses 2 --ignore tests/browser
	@echo "==> browser tests"
	@$(PYTEST) tests/browser

lint: $(DEV_READY) ## Check style, format and the import contract
	@echo "==> ruff check"
	@$(BIN)/ruff check .
	@echo "==> ruff format --check"
	@$(BIN)/ruff format --check .
	@echo "==> import contract"
	@$(BIN)/lint-imports --no-logo

types: $(DEV_READY) ## Check the types of explainers
	@echo "==> mypy --strict explainers"
	@$(BIN)/mypy --strict explainers

unit: $(DEV_READY) ## Doctests and unit tests
	@$(PYTEST) --ignore tests/pages --ignore tests/browser

pages: $(DEV_READY) ## Page tests
	@$(PYTEST) tests/pages

browser: browser-ready nginx-ready ## Browser tests
	@$(PYTEST) tests/browser

format: $(DEV_READY) ## Let ruff fix and format the code
	$(BIN)/ruff check --fix --exit-zero .
	$(BIN)/ruff format .

bench: browser-ready ## Print the figures that the README states
	$(BIN)/python -m bench.run

load: $(DEV_READY) ## Let fifty visitors use the app for five minutes and print how they fared
	$(BIN)/python -m bench.load

concept: $(DEV_READY) ## Create the files of a new concept (ID=its_name SECTION=layers)
	@test -n "$(ID)" || { echo "Name the concept: make concept ID=its_name" >&2; exit 1; }
	$(BIN)/python -m tools.new_concept $(ID) $(SECTION)

thumbnails: browser-ready ## Draw the gallery and the picture in the README
	$(BIN)/python -m tools.thumbnails

messages: $(DEV_READY) ## Collect the messages to translate
	$(BIN)/python -m tools.messages

audit: $(DEV_READY) ## Ask PyPI for known vulnerabilities of what is installed
	$(BIN)/python -m tools.audit

browser-ready: $(DEV_READY)
	@echo "==> browser"
	@tools/install_browser.sh $(BIN)/python

nginx-ready:
	@echo "==> nginx"
	@tools/install_nginx.sh

$(APP_READY): requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python 3.11 or newer is needed; $(PYTHON) is %d.%d. Name another one with PYTHON=..." % v[:2])'
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install -r requirements.txt
	@touch $@

$(DEV_READY): requirements-dev.txt $(APP_READY)
	$(BIN)/pip install --quiet -r requirements-dev.txt
	@touch $@
