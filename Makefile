# make demo    set up and: build from shapes, tune the tiny model, evaluate, open the Space (SERVE=0: all but the last; QUICK=1: a first look)
# make test    set up and run every test; see also the slow targets below
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
# One shape a picture: in so few steps the model learns to describe and to point, not yet to answer yes or no.
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

.PHONY: demo dataset test slow samples experiment experiment-rounds bench check dev clean help

help:
	@sed -n '1,2p' Makefile

# Everything that pip brings, in versions that were tried together.
$(VENV)/packages: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, {sys.version.split()[0]} was found: call make with PYTHON=/path/to/python3.11.")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt '.[dev]'
	@rm -rf build/lib build/bdist.* comvint_hf.egg-info
	@touch $@

# The wheel is what users get, so it is what demo and tests run.
$(VENV)/wheel: $(VENV)/packages $(SOURCES) README.md LICENSE
	@rm -rf build/wheel build/lib
	$(BIN)/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w build/wheel .
	$(BIN)/pip install -q --disable-pip-version-check --no-deps --force-reinstall build/wheel/*.whl
	@rm -rf build/lib build/bdist.* comvint_hf.egg-info
	@touch $@

# What 1.5 million parameters can learn in minutes: is it there, which colour, shape, size; where is it; say what you see.
LEARNABLE = --only '*/bool/existence' --only '*/bool/colour' --only '*/bool/shape' --only '*/bool/size' \
	--only 'referring_qa/*/grounding' --only conversation --only detail_description \
	--take '*/bool/existence=24000' --take referring_qa=25000 --take conversation=3000 --take detail_description=3000
dataset: $(VENV)/wheel
	$(BIN)/python builders/svit.py --scenes shapes:$(SCENES) --llm annotations --out $(DEMO)/parts/svit-$(SCENES) \
	  --tasks conversation,referring_qa,detail_description
	$(BIN)/python builders/comvint.py --scenes shapes:$(SCENES) --llm annotations --out $(DEMO)/parts/comvint-$(SCENES) \
	  --rounds 0 --kinds cross_modal --formats bool --count 6
	$(BIN)/python builders/mix.py --dataset $(DEMO)/parts/comvint-$(SCENES) $(DEMO)/parts/svit-$(SCENES) --out $(DEMO)/dataset $(LEARNABLE) --overwrite

demo: dataset
	$(BIN)/python train/pretrain_tiny.py --dataset $(DEMO)/dataset --scenes shapes:$(TOWER) --out $(DEMO)/base
	$(BIN)/python train/sft.py --config train/demo.yaml --max_steps $(STEPS)
	$(BIN)/python train/evaluate.py --model $(DEMO)/model --dataset $(DEMO)/dataset --limit $(ASKED) --out $(DEMO)/results.json
ifneq ($(SERVE),0)
	$(BIN)/python space/app.py --model $(DEMO)/model
endif

test: $(VENV)/wheel
	COMVINT_WHEEL=1 $(BIN)/pytest tests -m "not slow" -n 2 --dist loadfile $(ARGS)

slow: $(VENV)/wheel
	COMVINT_WHEEL=1 $(BIN)/pytest tests -m slow $(ARGS)

# 50 rows a source, half of each recipe, with pictures, to read against tests/annotator/CHECKLIST.md.
SAMPLED = shapes=shapes:200 coco=coco:$(SHARED)/coco flickr30k=flickr30k:$(SHARED)/flickr30k_entities \
	visual_genome=visual_genome:$(SHARED)/visual_genome,coco:$(SHARED)/coco
samples: $(VENV)/wheel
	@test -d $(SHARED) || { echo "No annotations under $(SHARED): expected coco/, flickr30k_entities/ and visual_genome/; call make with SHARED=DIR."; exit 1; }
	@for source in $(SAMPLED); do for recipe in svit comvint; do \
	  $(BIN)/python builders/$$recipe.py --scenes "$${source#*=}" --out build/samples/$${source%%=*}-$$recipe --overwrite || exit 1; \
	done; done
	$(BIN)/comvint preview build/samples/* --rows 25 --out build/samples.html

# L2T against response-only, same steps, two seeds.
experiment: $(VENV)/wheel
	$(BIN)/python examples/experiments/l2t_vs_response.py --steps $(EXPERIMENT_STEPS)

# ComVint's open questions in small: rounds of complication 0 to 3, and answer formats, at equal tokens; goes on from the demo's model.
experiment-rounds: $(VENV)/wheel
	$(BIN)/python examples/experiments/complication_rounds.py $(ARGS)

bench: $(VENV)/wheel
	for script in tests/benchmarks/bench_*.py; do $(BIN)/python $$script || exit 1; done

# Types and style are not tests; this is for people who change the code.
check:
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

# Replaces the wheel by the checkout itself, for people who change the code.
dev: $(VENV)/packages
	$(BIN)/pip install -q --no-deps -e . && $(BIN)/pip install -q ruff
	@rm -f $(VENV)/wheel

clean:
	rm -rf build
