# Each target makes its own virtual environment first, so a fresh machine needs Python alone.
PYTHON ?= python3
BIN := .venv/bin
OLDEST := .venv-oldest/bin
OLDEST_PYTHON ?= $(or $(shell python3.13 -c 'import sys; print(sys.executable)' 2>/dev/null),$(PYTHON))
export TF_CPP_MIN_LOG_LEVEL ?= 2

# Three processes for two cores, since some tests wait. One alone would compile more with XLA than
# Linux lets a process map (65,530 maps).
PYTEST := -m pytest -n 3 --dist loadfile --no-loadscope-reorder
ALL_TESTS := .venv/test,kserve
RELEASE := $(CURDIR)/.venv-release/bin
# Of a base install, without extras.
WHEEL_TESTS := tests/layers tests/latents tests/models/test_sampler.py

# Material for MkDocs announces another generator in the place of itself, at each build.
export NO_MKDOCS_2_WARNING ?= 1

.PHONY: demo docs test test-slow test-oldest mutants coverage lint release clean

demo: .venv/plots
	$(BIN)/keras-gradlayer demo

# Static files in site/; a warning is an error.
docs: .venv/docs
	$(BIN)/mkdocs build --strict

test: $(ALL_TESTS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python $(PYTEST) -m "not slow"

# Whole results, and scores of real images: minutes each.
test-slow: $(ALL_TESTS)
	$(BIN)/python $(PYTEST) -m slow

# On the oldest versions that setup.cfg allows.
test-oldest: .venv-oldest/test
	$(OLDEST)/python $(PYTEST) tests/layers tests/models tests/latents tests/objectives \
		tests/trainers tests/callbacks tests/serving

# Plants faults in a copy of the package, one at a time: the tests have to catch each.
mutants: $(ALL_TESTS)
	$(BIN)/python tests/mutants.py

# Half as long again: counting follows every call, those within TensorFlow and Keras too.
coverage: $(ALL_TESTS)
	$(BIN)/python $(PYTEST) --cov=keras_gradlayer --cov-report=term-missing:skip-covered --cov-fail-under=95

lint: $(ALL_TESTS)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Wheel and sdist, checked; the sdist's tests then run against the wheel, away from the checkout.
release:
	rm -rf .venv-release dist
	$(PYTHON) -m venv --upgrade-deps .venv-release
	$(RELEASE)/python -m pip install --quiet build twine check-manifest
	$(RELEASE)/check-manifest
	$(RELEASE)/python -m build
	$(RELEASE)/twine check --strict dist/*
	unzip -l dist/*.whl
	$(RELEASE)/python -m pip install --quiet dist/*.whl pytest hypothesis
	$(RELEASE)/keras-gradlayer --version
	away=$$(mktemp -d) && tar -xf dist/*.tar.gz -C $$away && rm -r $$away/*/keras_gradlayer && \
		cd $$away/* && $(RELEASE)/python -m pytest -q -m "not slow" $(WHEEL_TESTS) && rm -r $$away

# The name of the file says which extras are installed.
.venv/%: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv --upgrade-deps .venv
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	touch $@

.venv-oldest/test: setup.cfg pyproject.toml
	test -x $(OLDEST)/python || $(OLDEST_PYTHON) -m venv --upgrade-deps .venv-oldest
	$(OLDEST)/python -m pip install --quiet --editable '.[test]' \
		tensorflow==2.20.0 keras==3.13.2 protobuf==5.29.6 numpy==2.1.3
	touch $@

clean:
	rm -rf .venv .venv-oldest .venv-release build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache .coverage
