PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
QUICK ?=
SERVE ?= 1
DEMO = build/demo
SOURCES := $(shell find comvint_hf -type f -not -name '*.pyc' 2>/dev/null)
EXPERIMENT_STEPS ?= 4000
SHARED ?= ../shared/data

ifdef QUICK
# One shape an image: in so few steps the model learns to describe and to point, not yet to answer yes or no.
SCENES ?= 3000,level=single
TOWER ?= 8000
STEPS ?= 1600
ASKED ?= 800
else
SCENES ?= 20000
TOWER ?= 30000
STEPS ?= 11000
ASKED ?= 6000
endif

.PHONY: help demo dataset test check slow fuzz attack docs samples experiment experiment-rounds bench real dev clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# All dependencies, in the versions that were tested together.
$(VENV)/packages: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, {sys.version.split()[0]} was found: call make with PYTHON=/path/to/python3.11.")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt '.[dev]'
	@rm -rf build/lib build/bdist.* comvint_hf.egg-info
	@touch $@

# Users get the wheel, so the demo and the tests run it.
$(VENV)/wheel: $(VENV)/packages $(SOURCES) README.md LICENSE
	@rm -rf build/wheel build/lib
	$(BIN)/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w build/wheel .
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --force-reinstall build/wheel/*.whl
	@rm -rf build/lib build/bdist.* comvint_hf.egg-info
	@touch $@

# Tasks that 1.5 million parameters can learn in minutes: existence, colour, shape, size, grounding, description.
LEARNABLE = --only '*/bool/existence' --only '*/bool/colour' --only '*/bool/shape' --only '*/bool/size' \
	--only 'referring_qa/*/grounding' --only conversation --only detail_description \
	--take '*/bool/existence=24000' --take referring_qa=25000 --take conversation=3000 --take detail_description=3000
dataset: $(VENV)/wheel ## build the demo's dataset only
	$(BIN)/python builders/svit.py --scenes shapes:$(SCENES) --llm annotations --out $(DEMO)/parts/svit-$(SCENES) \
	  --tasks conversation,referring_qa,detail_description
	$(BIN)/python builders/comvint.py --scenes shapes:$(SCENES) --llm annotations --out $(DEMO)/parts/comvint-$(SCENES) \
	  --rounds 0 --kinds cross_modal --formats bool --count 6
	$(BIN)/python builders/mix.py --dataset $(DEMO)/parts/comvint-$(SCENES) $(DEMO)/parts/svit-$(SCENES) --out $(DEMO)/dataset $(LEARNABLE) --overwrite

demo: dataset ## set up, build a dataset, tune the tiny model, evaluate it, open the Space (SERVE=0: no Space, QUICK=1: minutes)
	$(BIN)/python train/pretrain_tiny.py --dataset $(DEMO)/dataset --scenes shapes:$(TOWER) --out $(DEMO)/base
	$(BIN)/python train/sft.py --config train/demo.yaml --max_steps $(STEPS)
	$(BIN)/python train/evaluate.py --model $(DEMO)/model --dataset $(DEMO)/dataset --limit $(ASKED) --out $(DEMO)/results.json
ifneq ($(SERVE),0)
	$(BIN)/python space/app.py --model $(DEMO)/model
endif

test: check $(VENV)/wheel ## set up, check style and types, run every test that is not slow (ARGS="-k NAME" for some)
	COMVINT_WHEEL=1 $(BIN)/pytest tests -m "not slow" -n 2 --dist loadfile $(ARGS)

check: $(VENV)/packages ## check style (ruff) and types (mypy)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/packages ## build the documentation into build/site; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir build/site

slow: $(VENV)/wheel ## run the slow tests (minutes each)
	COMVINT_WHEEL=1 $(BIN)/pytest tests -m slow $(ARGS)

fuzz: $(VENV)/wheel ## fuzz every reader of foreign input (10 minutes in total, or FUZZ_SECONDS=...)
	@$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt atheris || echo "atheris does not install on this Python: hypothesis runs alone."
	PYTHONPATH=tests $(BIN)/python tests/fuzz/run.py

attack: $(VENV)/wheel ## kills, hostile endpoints, hostile files, Hub faults and Space requests in one table (an hour)
	PYTHONPATH=tests $(BIN)/python tests/attacks/table.py

# 50 rows per source, half from each recipe, with images; read them against tests/annotator/CHECKLIST.md.
SAMPLED = shapes=shapes:200 coco=coco:$(SHARED)/coco flickr30k=flickr30k:$(SHARED)/flickr30k_entities \
	visual_genome=visual_genome:$(SHARED)/visual_genome,coco:$(SHARED)/coco
samples: $(VENV)/wheel ## write build/samples.html: rows of every source with images (needs SHARED=DIR)
	@test -d $(SHARED) || { echo "No annotations under $(SHARED): expected coco/, flickr30k_entities/ and visual_genome/; call make with SHARED=DIR."; exit 1; }
	@for source in $(SAMPLED); do for recipe in svit comvint; do \
	  $(BIN)/python builders/$$recipe.py --scenes "$${source#*=}" --out build/samples/$${source%%=*}-$$recipe --overwrite || exit 1; \
	done; done
	$(BIN)/comvint preview build/samples/* --rows 25 --out build/samples.html

experiment: $(VENV)/wheel ## compare L2T with response-only training (35 minutes, after make demo SERVE=0)
	$(BIN)/python examples/experiments/l2t_vs_response.py --steps $(EXPERIMENT_STEPS)

experiment-rounds: $(VENV)/wheel ## compare rounds of complication and answer formats (20 minutes, after make demo SERVE=0)
	$(BIN)/python examples/experiments/complication_rounds.py $(ARGS)

# Needs a GGUF file (REAL_GGUF=FILE), or ../shared/tools to fetch one, and llama.cpp's llama-server or the package xllamacpp.
REAL_SCENES ?= 10
REAL_SOURCE ?= coco:$(SHARED)/coco
real: $(VENV)/wheel ## build with real weights, tune, merge and ask a small LLaVA (15 minutes; REAL_GGUF=FILE, REAL_SERVE=COMMAND)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt gguf xllamacpp
	$(BIN)/python examples/experiments/real_weights.py --limit $(REAL_SCENES) --scenes $(REAL_SOURCE) \
	  $(if $(REAL_GGUF),--gguf "$(REAL_GGUF)") $(if $(REAL_SERVE),--serve '$(REAL_SERVE)') $(ARGS)

bench: $(VENV)/wheel ## run every benchmark of tests/benchmarks
	for script in tests/benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

dev: $(VENV)/packages ## install the checkout editable instead of its wheel
	$(BIN)/pip install -q --no-deps -e .
	@rm -f $(VENV)/wheel

clean: ## delete build/
	rm -rf build
