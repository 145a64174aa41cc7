# What a person does here, by name. Every target only calls scripts; `make` alone lists them.
# File names with spaces, quotes or brackets are passed in the environment, so that no shell ever reads them.

SHELL := /bin/sh
PYTHON := .venv/bin/python
INSTALLED := .venv/.installed

export VASA_IMAGE := $(value image)
export VASA_AUDIO := $(value audio)
export VASA_OUTPUT := $(value output)
export VASA_ARGS := $(value ARGS)
export VASA_GPUS := $(value gpus)
export VASA_VIDEO := $(value video)
export VASA_OUT := $(value out)
export VASA_CONSENT := $(value consent)

.PHONY: help install demo infer app personalise test test-full lint gpu-test train-demo benchmark-demo table controls calibrate benchmark benchmark-all verify-joyvasa plan-training \
        overfit-face study-face

help:
	@echo 'make demo                            a synthetic portrait speaks: outputs/demo/demo.mp4'
	@echo 'make infer image=A.jpg audio=B.wav   your portrait speaks; output=C.mp4, ARGS="emotion=happy seed=3"'
	@echo 'make app                             the page at http://127.0.0.1:7860: speak, reenact, compare, live'
	@echo 'make personalise video=me.mp4 out=me consent=true   learns one consenting person: a checkpoint that'
	@echo '                                     speaks as them; ARGS="minutes=5"'
	@echo 'make test                            lint, types and every code path at tiny size'
	@echo 'make test-full                       also the long tests'
	@echo 'make gpu-test                        the tests that need a CUDA device'
	@echo 'make train-demo                      trains checkpoints/demo anew; carries on where it was stopped'
	@echo 'make benchmark-demo                  recomputes the table of numbers of checkpoints/demo;'
	@echo '                                     ARGS="media=FOLDER" adds the rows on real people'
	@echo 'make table                           measures checkpoints/demo beside real video and baselines: outputs/synthetic'
	@echo 'make controls                        measures whether checkpoints/demo does what it is asked: outputs/controls'
	@echo 'make calibrate                       which metric sees which fault, on synthetic truth: outputs/calibration;'
	@echo '                                     ARGS="i3d=FILE sync.weights=FILE" repeats it with real weights'
	@echo 'make benchmark                       what a frame costs, beside other systems: outputs/benchmark;'
	@echo '                                     ARGS="face=[default,paper]"'
	@echo 'make benchmark-all                   files, live talks, frames, start-up, measured here; ARGS="vs=HEAD~1"'
	@echo '                                     compares with a commit'
	@echo 'make verify-joyvasa                  published weights of yours: hashes, a checkpoint, a trial and its video'
	@echo 'make overfit-face                    8 people x 8 frames learned by heart: does training work at all?'
	@echo 'make study-face                      learning without labels against learning with them, over three seeds'
	@echo 'make plan-training gpus=8xA100       hours, memory and disk of training stage 1'
	@echo 'make lint                            ruff and mypy'
	@echo 'make install                         only sets up .venv, which every other target does by itself'
	@echo 'Options of a script: .venv/bin/python scripts/infer.py --help'

install: $(INSTALLED)

# uv where it is, else venv and pip. The stamp comes last, so that an interrupted install starts again.
$(INSTALLED): requirements.lock pyproject.toml
	@for candidate in "$(PY)" python3 python3.13 python3.12 python3.11; do \
	  if [ -n "$$candidate" ] && "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	     >/dev/null 2>&1; then found=$$candidate; break; fi; done; \
	if [ -z "$$found" ]; then \
	  echo 'error: no Python 3.11, 3.12 or 3.13 found; install one, or name it: make PY=/path/to/python3.12' >&2; exit 1; fi; \
	echo 'Installing about 6 GB of packages into .venv (PyTorch with CUDA on Linux; less on macOS), once.'; \
	if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python "$$found" .venv && \
	  uv pip install --python $(PYTHON) --require-hashes -r requirements.lock && \
	  uv pip install --quiet --python $(PYTHON) --no-deps -e .; \
	else \
	  if ! "$$found" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	    echo "error: $$found lacks the venv module; install it (Debian: python3-venv) or uv." >&2; exit 1; fi; \
	  "$$found" -m venv .venv && \
	  $(PYTHON) -m pip install --disable-pip-version-check --require-hashes -r requirements.lock && \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps -e .; \
	fi || { echo 'error: installing the packages failed; the lines above say why, and make starts again.' >&2; exit 1; }
	@touch $@

demo: $(INSTALLED)
	@$(PYTHON) scripts/infer.py

infer: $(INSTALLED)
	@if [ -z "$$VASA_IMAGE" ] || [ -z "$$VASA_AUDIO" ]; then \
	  echo 'error: name a picture and a sound: make infer image=me.jpg audio=speech.wav' >&2; exit 1; fi; \
	set -f; set -- "image=$$VASA_IMAGE" "audio=$$VASA_AUDIO"; \
	if [ -n "$$VASA_OUTPUT" ]; then set -- "$$@" "output=$$VASA_OUTPUT"; fi; \
	$(PYTHON) scripts/infer.py "$$@" $$VASA_ARGS

app: $(INSTALLED)
	@set -f; $(PYTHON) scripts/app.py $$VASA_ARGS

personalise: $(INSTALLED)
	@if [ -z "$$VASA_VIDEO" ] || [ -z "$$VASA_OUT" ] || [ "$$VASA_CONSENT" != true ]; then \
	  echo 'error: name a video and a new folder, and say that you have the consent of the person shown:' \
	    'make personalise video=me.mp4 out=me consent=true' >&2; exit 1; fi; \
	set -f; set -- $$VASA_ARGS; IFS=; \
	$(PYTHON) scripts/personalise.py video=$$VASA_VIDEO out=$$VASA_OUT consent=true "$$@"

lint: $(INSTALLED)
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy vasa

# A process for each thread of the CPU: auto would take two threads of one core for one. And where Python is told
# to keep no bytecode, each of some sixty processes would compile all its packages anew.
test: lint
	@PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n logical --maxprocesses 4 --dist loadfile \
	  -m 'not full'

test-full: lint
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest

gpu-test: $(INSTALLED)
	@$(PYTHON) -m pytest -m gpu

train-demo: $(INSTALLED)
	@nice -n 10 $(PYTHON) scripts/train_judges.py
	@nice -n 10 $(PYTHON) scripts/train_face.py experiment=demo_encoders
	@nice -n 10 $(PYTHON) scripts/train_face.py experiment=demo_pose
	@nice -n 10 $(PYTHON) scripts/train_face.py experiment=demo_decoder
	@nice -n 10 $(PYTHON) scripts/train_face.py experiment=demo_face
	@nice -n 10 $(PYTHON) scripts/train_face.py experiment=demo_colour
	@nice -n 10 $(PYTHON) scripts/train_face.py experiment=demo_pose_more
	@nice -n 10 $(PYTHON) scripts/train_face.py experiment=demo_final
	@nice -n 10 $(PYTHON) scripts/train_face.py experiment=demo_detail
	@nice -n 10 $(PYTHON) scripts/train_face.py experiment=demo_last
	@nice -n 10 $(PYTHON) scripts/train_face.py experiment=demo_controls
	@nice -n 10 $(PYTHON) scripts/encode_motion.py split=train
	@nice -n 10 $(PYTHON) scripts/encode_motion.py split=validation clips.num_clips=48
	@nice -n 10 $(PYTHON) scripts/train_motion.py
	@nice -n 10 $(PYTHON) scripts/train_motion.py experiment=motion_distill
	@nice -n 10 $(PYTHON) scripts/bundle.py student=checkpoints/motion/demo_fast
	@set -f; $(PYTHON) scripts/benchmark_demo.py $$VASA_ARGS
	@nice -n 10 $(PYTHON) scripts/bundle.py student=checkpoints/motion/demo_fast results=outputs/benchmark_demo/benchmark.json

benchmark-demo: $(INSTALLED)
	@set -f; $(PYTHON) scripts/benchmark_demo.py $$VASA_ARGS

table: $(INSTALLED)
	@$(PYTHON) scripts/make_jobs.py experiment=synthetic
	@$(PYTHON) scripts/infer.py list=outputs/synthetic/jobs.jsonl workers=2
	@$(PYTHON) scripts/eval.py experiment=synthetic

controls: $(INSTALLED)
	@$(PYTHON) scripts/make_jobs.py experiment=controls
	@$(PYTHON) scripts/infer.py list=outputs/controls/jobs.jsonl size=128 workers=2
	@$(PYTHON) scripts/eval.py experiment=controls

benchmark: $(INSTALLED)
	@set -f; $(PYTHON) scripts/benchmark.py $$VASA_ARGS

benchmark-all: $(INSTALLED)
	@set -f; $(PYTHON) scripts/benchmark.py all $$VASA_ARGS

verify-joyvasa: $(INSTALLED)
	@$(PYTHON) scripts/weights.py joyvasa action=bundle
	@set -f; $(PYTHON) scripts/weights.py joyvasa action=try $$VASA_ARGS

plan-training: $(INSTALLED)
	@set -f; $(PYTHON) scripts/plan_training.py $${VASA_GPUS:+"gpus=$$VASA_GPUS"} $$VASA_ARGS

overfit-face: $(INSTALLED)
	@$(PYTHON) scripts/train_face.py experiment=overfit

study-face: $(INSTALLED)
	@nice -n 10 $(PYTHON) scripts/study_face.py experiment=label_free

calibrate: $(INSTALLED)
	@set -f; $(PYTHON) scripts/calibrate.py $$VASA_ARGS
