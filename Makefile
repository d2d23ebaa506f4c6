# Everything a person types. The environment is made once and made again when pyproject.toml or the constraints change.
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PYTHON ?= python3
export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := true
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

.DEFAULT_GOAL := help
.PHONY: help setup repro status flow test test-slow check format prove serve ui gallery results bench clean

help:  ## what there is to type
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/ready  ## the virtual environment, with the pinned versions

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

repro: setup  ## build everything in params.yaml that is out of date
	python -m tasks.repro
	@echo "Done: 'make gallery' makes a page of it, 'make ui' shows the runs, 'dvc metrics show' the figures."

status: setup  ## what is out of date
	dvc status

flow: setup  ## the same by Prefect, independent stages side by side
	python -m flows.catalogue

test: setup  ## the tests, in less than 15 minutes on 2 cores
	OMP_NUM_THREADS=1 pytest -n 2 --dist loadgroup

test-slow: setup  ## the tests that take minutes
	OMP_NUM_THREADS=1 pytest -m slow

check: setup  ## style and types
	ruff check .
	ruff format --check .
	pyright

format: setup  ## put the code into its form
	ruff check --fix .
	ruff format .

serve: setup  ## Prefect's pages, schedules and a worker on this machine
	python -m flows.serve

ui: setup  ## MLflow's pages on http://127.0.0.1:5000
	-python -m generative.training.delivery --once
	@case "$$MLFLOW_TRACKING_URI" in \
	http*) echo "Open $$MLFLOW_TRACKING_URI" ;; \
	*) MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1 --host 127.0.0.1 \
		--backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}" ;; \
	esac

prove: setup  ## build everything twice from nothing and compare every output
	python -m generative.prove

gallery: setup  ## one page of the whole catalogue: gallery.html
	python -m generative.gallery

results: setup  ## the figures of what is built, into results/ and the README
	python -m generative.results --readme

bench: setup  ## speed, beside a plain loop, Keras, other U-Nets, GPT-2 and gymnasium
	python -m benchmarks

clean:  ## removes the environment; data and runs stay
	rm -rf $(VENV)
