# Each target first makes sure of .venv, from the lock requirements.txt.
PY := .venv/bin/python
COURSE := .venv/bin/course
# What takes longest, and can be tested side by side with the notebooks.
BESIDE := $(patsubst %,tests/test_%.py,rootless grading_live bundle bootstrap site lab_answers)

.PHONY: site start test test-binder run build lint check clean bench soak lock setup help

start: setup  ## set everything up and open the course in JupyterLab
	@$(COURSE) start

test: setup lint  ## run every test and execute every notebook
	@.ci/tools
	@$(COURSE) engine up && $(COURSE) images || test "$$CI" != true
	@$(PY) -m pytest tests $(BESIDE:%=--ignore %) -m "not soak and not binder"
	@$(PY) -m pytest $(BESIDE) notebooks solutions --nbval --nbval-sanitize-with nbval.cfg --numprocesses 2 --no-loadscope-reorder -m "not soak and not binder"

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
	@$(PY) benchmarks/memory.py
	@$(PY) benchmarks/pod.py
	@$(PY) benchmarks/capacity.py

soak: setup  ## what is long: everything twice, repeated loops
	@$(PY) -m pytest tests -m soak

test-binder: setup  ## every lesson that fits there, in a pod like Binder's; a class of three
	@$(PY) -m pytest tests/test_rootless.py tests/test_hub.py tests/test_grading_live.py tests/binder -m "engine or binder"

lock: setup  ## resolve the dependencies anew into requirements.txt
	@$(PY) .ci/lock

setup:  ## make .venv from the lock, or bring it up to date
	@python3 course/bootstrap.py

help:
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14
