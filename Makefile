# make test and make demo prepare .venv by themselves, once and again when pyproject.toml has changed.
export PYTHON ?= python3
# Threads that wait for each other must sleep, or everything crawls beside another program (medsam2_core/processor.py).
export OMP_WAIT_POLICY ?= PASSIVE
VENV := .venv
BIN := $(VENV)/bin/python
VIEWS := .venv-views
# The files of tests are shared among processes, one a core; each is as big as a program that has loaded torch.
PARALLEL := --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

.PHONY: help demo cohort-demo accuracy benchmark corrections oblique directions ablation sets mainthread fuzz pictures
.PHONY: map test test-next coverage slicer-test lint clean
.NOTPARALLEL:

help:
	@echo "make demo        segment three organs in a chest CT (see demo/)"
	@echo "make cohort-demo  run 60 cases, real and synthetic, and report on them (see cohort-demo/)"
	@echo "make accuracy    measure the starter on that CT (writes docs/accuracy.md)"
	@echo "make benchmark   compare speed and memory with other programs (writes docs/performance.md)"
	@echo "make corrections measure what corrections change (writes docs/corrections.md)"
	@echo "make oblique     compare tilted slices with axial ones (writes docs/oblique.md)"
	@echo "make directions  follow objects along one axis and all three (writes docs/directions.md)"
	@echo "make ablation    compare memory banks (writes docs/memory-ablation.md)"
	@echo "make sets        segment shuffled slices as sets of images (writes docs/sets.md)"
	@echo "make fuzz        10,000 damaged files for the command line, 2,000 random users for the controller"
	@echo "make mainthread  measure how long the interface stands while the model works (prints a table)"
	@echo "make pictures    draw what Slicer's views show (writes docs/pictures)"
	@echo "make map         draw the folders and the imports between them (writes docs/pictures/map.svg)"
	@echo "make test        check style, types and behavior"
	@echo "make test-next   run the tests of the Slicer side again, on the next Slicer's MRML"
	@echo "make coverage    run the tests and print which lines they miss, with a floor"
	@echo "make slicer-test SLICER=/path/to/Slicer   self tests and tutorial in a real Slicer (see slicer-test/)"
	@echo "make lint        check style and types only"
	@echo "make clean       remove what the commands above wrote, but not $(VENV) and downloads"
	@echo "PYTHON=...       the Python (3.10 or newer) that $(VENV) is made with"

demo: $(VENV)/ready-demo
	$(BIN) benchmarks/demo.py

cohort-demo: $(VENV)/ready-dev
	$(BIN) benchmarks/cohort_demo.py

accuracy: $(VENV)/ready-dev
	$(BIN) benchmarks/accuracy.py

benchmark: $(VENV)/ready-benchmark
	$(BIN) benchmarks/speed.py $(if $(QUICK),--quick)

corrections: $(VENV)/ready-dev
	$(BIN) benchmarks/corrections.py

oblique: $(VENV)/ready-dev
	$(BIN) benchmarks/oblique.py

directions: $(VENV)/ready-dev
	$(BIN) benchmarks/directions.py

ablation: $(VENV)/ready-dev
	$(BIN) benchmarks/ablation.py
	$(BIN) benchmarks/letter.py

sets: $(VENV)/ready-dev
	$(BIN) benchmarks/sets.py

fuzz: $(VENV)/ready-dev
	$(BIN) benchmarks/fuzz.py
	$(BIN) benchmarks/fuzz_actions.py

mainthread: $(VENV)/ready-dev
	$(BIN) benchmarks/mainthread.py

pictures: $(VENV)/ready-dev $(VIEWS)/ready
	$(VIEWS)/bin/python benchmarks/pictures.py --worker $(BIN)
	QT_QPA_PLATFORM=offscreen $(BIN) benchmarks/picture_images.py

map: $(VENV)/ready-dev
	$(BIN) benchmarks/draw_map.py

test: lint
	$(BIN) -m pytest $(PARALLEL)

# Apart from make test, which has run the same tests on the MRML in $(VENV): two cores take 3.5 minutes more for these.
test-next: $(VENV)/ready-dev
	@sh .ci/headless 5.13.31053.0 $(PARALLEL)

# Apart from make test, since counting lines takes 25 % more time with Python 3.11.
coverage: $(VENV)/ready-dev
	@rm -rf build/coverage && mkdir -p build/coverage
	$(BIN) -m coverage run -m pytest $(PARALLEL)
	$(BIN) -m coverage combine --quiet
	$(BIN) -m coverage report

slicer-test: $(VENV)/ready-dev
	@test -n "$(SLICER)" || { echo "Say which Slicer: make slicer-test SLICER=/path/to/Slicer"; exit 2; }
	$(BIN) benchmarks/slicer_test.py --slicer "$(SLICER)" $(if $(CT),--ct "$(CT)")

lint: $(VENV)/ready-dev
	$(BIN) -m ruff check
	$(BIN) -m ruff format --check
	$(BIN) -m mypy
	$(BIN) -m codespell_lib
	@sh .ci/schemas $(BIN)

$(VENV)/ready-%: pyproject.toml .ci/setup
	@sh .ci/setup $*

# Its own environment, since trame-slicer needs an older slicer-core than the tests.
$(VIEWS)/ready:
	$(PYTHON) -m venv --clear $(VIEWS)
	$(VIEWS)/bin/python -m pip install --quiet 'trame-slicer[standalone]==2.0.0' 'matplotlib>=3.8'
	@touch $@

clean:
	rm -rf demo cohort-demo slicer-test dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find MedSAM2Slicer benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
