# Each target first makes sure of .venv, from the lock requirements.txt.
PY := .venv/bin/python
COURSE := .venv/bin/course

.PHONY: site start test test-binder run build lint check clean bench soak lock setup help

start: setup  ## set everything up and open the course in JupyterLab
	@$(COURSE) start

test: setup lint  ## run every test and execute every notebook
	@.ci/tools
	@$(COURSE) engine up && $(COURSE) images || test "$$CI" != true
	@$(PY) -m pytest tests notebooks solutions --nbval --nbval-sanitize-with nbval.cfg -m "not soak and not binder"

run: setup  ## execute every notebook headlessly; reports/ holds the results
	@$(COURSE) run

build: setup  ## execute source/ and write the notebooks
	@$(COURSE) build

site: setup  ## make the course's web site in reports/site/html
	@$(PY) -m authoring.site

lint: setup  ## lint and gates
	@.venv/bin/ruff check --quiet
	@.venv/bin/ruff format --quiet --check
	@$(COURSE) build --check

check: lint  ## lint, gates and fast tests: seconds, no engine
	@$(PY) -m pytest --quiet tests -m "not engine and not slow and not soak and not binder"

clean: setup  ## remove what the course made in the engine; your files stay
	@$(COURSE) clean

bench: setup  ## measure, beside what one would use instead
	@$(PY) benchmarks/start.py
	@$(PY) benchmarks/grade.py
	@$(PY) benchmarks/drift.py

soak: setup  ## what is long: everything twice, repeated loops
	@$(PY) -m pytest tests -m soak

test-binder: setup  ## every lesson that fits there, in a pod like Binder's
	@$(PY) -m pytest tests/test_rootless.py tests/binder -m "engine or binder"

lock: setup  ## resolve the dependencies anew into requirements.txt
	@$(PY) .ci/lock

setup:
	@python3 course/bootstrap.py

help:
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14
