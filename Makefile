# make run: the main job.  make test: the tests.  Both set up what they need.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# one thread per process: tests and runs share two cores
export OMP_NUM_THREADS ?= 1

.PHONY: run test test-all lint types install clean

run: $(STAMP)
	$(BIN)/mempost run configs/figure1_1d.yaml --out results/figure1_1d
	$(BIN)/mempost run configs/figure1_2d.yaml --out results/figure1_2d
	$(BIN)/mempost run configs/digits_inpainting.yaml --out results/digits_inpainting

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(STAMP)
	MEMPOST_CHECK_SHAPES=1000000000 $(BIN)/python -m pytest -n 2

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) results
