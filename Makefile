# make study | make test | make lab | make book: each builds .venv from requirements.lock if need be.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: study test test-fast lab notebooks book reference check-faces check-rule check-detect bench bench-faces \
	bench-recipe bench-predict network gpu gpu-kit soak lock lint dist clean

# Trainings run one to a core, each on one thread: never more threads than cores.
export OMP_NUM_THREADS ?= 1

study: $(READY)  ## a first look: four notebooks at preset quick, then what they saw and where
	$(BIN)/python -m hmtl study --preset quick --only 00 05 20 21

# A file of tests, or a notebook, stays on one worker; tests/conftest.py lets the longest begin.
TEST := $(BIN)/pytest -n logical --maxprocesses 8 --dist loadfile
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout=600 --nbval-sanitize-with tests/nbval.cfg

test test-fast: export HMTL_PROGRESS = 0
test: $(READY)  ## the tests, and every notebook against its stored outputs
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(TEST) --no-loadscope-reorder $(NBVAL) notebooks tests

test-fast: $(READY)  ## the tests without those that take long, for who edits
	$(TEST) -p no:nbval -m "not slow"

lab: $(READY)  ## JupyterLab; notebooks and their .py twins are paired (pyproject.toml)
	$(BIN)/jupyter lab --notebook-dir=.

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock > $(VENV)/uv.txt
	$(PIP) --require-hashes -r $(VENV)/uv.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
		|| $(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

notebooks: export HMTL_PROGRESS = 0
notebooks: $(READY)  ## carry the .py twins over and execute all notebooks at their defaults
	$(BIN)/python book/twins.py
	$(BIN)/jupytext --update --to ipynb notebooks/*.py
	$(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level=ERROR \
		--ExecutePreprocessor.record_timing=False notebooks/*.ipynb

book: $(READY)  ## notebooks as they are committed, papers, pages: a site that reads offline
	$(BIN)/python -m sphinx -W --keep-going --quiet -c book -d outputs/.book . outputs/book
	@echo "book: outputs/book/index.html"

# Resumable: finished runs are read, not repeated. HMTL_FERPLUS=DIR has the real faces.
reference: $(READY)  ## train what the record lacks of the plan, hours; put it into outputs/reference
	$(BIN)/python -W ignore -m hmtl decide $(if $(HMTL_FERPLUS),--root "$(HMTL_FERPLUS)",--data faces)
	$(BIN)/python -m hmtl decide --collect $(if $(HMTL_FERPLUS),--root "$(HMTL_FERPLUS)")

check-faces: $(READY)  ## can a network cheat on the rendered faces? minutes; into the record
	$(BIN)/python -m hmtl check-faces --preset study

check-detect: $(READY)  ## what the face detector finds, what its boxes cost; minutes; into the record
	$(BIN)/python benchmarks/check_detect.py

check-rule: $(READY)  ## does the rule of the study err as often as it says? minutes; into the record
	$(BIN)/python benchmarks/check_rule.py

bench-faces: $(READY)  ## how fast faces are rendered, and with how much memory; into the record
	HMTL_PROGRESS=0 $(BIN)/python benchmarks/bench_faces.py

# HMTL_FERPLUS=DIR measures on the real faces too
bench-recipe: $(READY)  ## core-seconds to an accuracy, today's recipe and a sooner one; an hour
	HMTL_PROGRESS=0 $(BIN)/python -W ignore benchmarks/bench_recipe.py

# HMTL_FERPLUS=DIR; the others are installed into outputs/peers, beside nothing of ours
bench-predict: $(READY)  ## our networks and ready-made ones on the same faces; into the record
	HMTL_PROGRESS=0 $(BIN)/python -W ignore benchmarks/bench_predict.py

# HMTL_FERPLUS=DIR; resumable. `python -m hmtl ship latest ferplus-best --root DIR` puts it in place
network: $(READY)  ## the best network that ships, from nothing: an hour and a half of one core
	$(BIN)/python -m hmtl run --preset study --data ferplus --root "$(HMTL_FERPLUS)" \
		--set arch small --set size 80 --set epochs 50 --set labels probability --set augment strong \
		--set optimizer muon --set bs 128 --set lr 0.008 --set precision bf16 --set norm_stats plain

bench: $(READY)  ## is a run as fast as the machine allows? some minutes; into the record
	$(BIN)/python benchmarks/bench.py

# make gpu DEVICE=cpu SMALL=1 rehearses all of it in two minutes, without a GPU
gpu: $(READY)  ## right, fast, many seeds at once, the study's runs: within MINUTES (9)
	$(BIN)/python -W ignore benchmarks/gpu.py --minutes $(or $(MINUTES),9) \
		$(if $(DEVICE),--device $(DEVICE)) $(if $(SMALL),--small)

gpu-kit: $(READY)  ## a folder that runs it on a bare machine with torch: benchmarks/GPU.md
	$(BIN)/python -W ignore benchmarks/gpu_kit.py --python $(or $(KIT_PYTHON),3.12)

soak: $(READY)  ## an hour of small trainings in one process: memory and handles stay flat
	HMTL_PROGRESS=0 $(BIN)/python -W ignore benchmarks/soak.py --minutes $(or $(SOAK_MINUTES),60)

# Versions that the bounds allow stay; all anew: make lock UPGRADE=--upgrade
lock: $(READY)  ## requirements.lock, with hashes, from the bounds in pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras \
		--generate-hashes --no-annotate --custom-compile-command "make lock" \
		$(UPGRADE) --output-file requirements.lock pyproject.toml

lint: $(READY)
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

dist:  ## dist/: wheel and sdist, checked as PyPI checks them; nothing is uploaded
	rm -rf .dist-venv dist && $(PYTHON) -m venv .dist-venv
	.dist-venv/bin/python -m pip install --quiet --disable-pip-version-check "build>=1.2" "twine>=6.1"
	.dist-venv/bin/python -m build
	.dist-venv/bin/python -m twine check --strict dist/*
	rm -rf .dist-venv

clean:  ## everything that can be made again, the trained runs included
	rm -rf $(VENV) dist outputs/book outputs/.book outputs/smoke outputs/quick* outputs/study* outputs/runs
