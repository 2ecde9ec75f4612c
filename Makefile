# Two commands do everything: `make demo` and `make test`. Each makes .venv and installs what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DOCUMENTED := sdclient sdclient.models sdclient.errors sdclient.client sdclient.manifest sdclient.batch sdclient.plan \
	sdclient.sources sdclient.masks sdclient.curate sdclient.compose sdclient.export sdclient.testing sdclient.infotext \
	trainer trainer.config trainer.errors trainer.data.check trainer.data.split trainer.models.predict trainer.models.explain \
	trainer.models.export trainer.evaluation.metrics trainer.evaluation.stats trainer.evaluation.evaluate \
	trainer.evaluation.operating_point trainer.evaluation.compare trainer.evaluation.diagnosis trainer.training.train \
	trainer.experiment generator generator.config generator.errors

.PHONY: demo test coverage lint types docs bench clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[train,serve,dev]"
	@touch $@

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py demo-out

test: $(VENV)/.installed
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -p no:randomly --numprocesses 2

coverage: $(VENV)/.installed
	$(BIN)/python -m pytest -p no:randomly --numprocesses 2 --cov

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed
	$(BIN)/mypy

docs: $(VENV)/.installed
	$(BIN)/pdoc --docformat google --output-directory build/docs $(DOCUMENTED)

bench: $(VENV)/.installed
	$(BIN)/python bench/run_all.py --output bench-results

clean:
	rm -rf $(VENV) demo-out bench-results build dist
