# Each target makes its own virtual environment first, so a fresh machine needs Python alone.
PYTHON ?= python3
BIN := .venv/bin
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: demo test coverage lint clean

demo: .venv/ready
	$(BIN)/keras-gradlayer demo

# Two processes: one alone would compile more with XLA than Linux lets a process map (65,530 maps).
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(PYTEST)

# Half as long again: counting follows every call, those within TensorFlow and Keras too.
coverage: .venv/ready
	$(PYTEST) --cov=keras_gradlayer --cov-report=term-missing:skip-covered --cov-fail-under=95

lint: .venv/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/ready: setup.cfg pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test,kserve]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .coverage
