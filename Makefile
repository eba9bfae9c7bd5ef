# Everything starts here: `make help` says what there is. What is made lands in .venv and var, both outside of git.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PORT ?= 50051
HTTP_PORT ?=
TEXTS ?= 10000,100000,1000000
USERS ?= 10000,100000,1000000
WITHOUT ?=
SECONDS ?= 120
TURNS ?= 1e5,1e6,1e7
HABITBENCH ?= ../shared/habitbench
export HABITBENCH
export PYTHON

RUN_READY := .venv/.ready-run
TEST_READY := .venv/.ready-test
BENCH_READY := .venv/.ready-bench
BIN := .venv/bin
LOG := var/sample.jsonl.gz
BUNDLE := var/bundle
MANIFEST := $(BUNDLE)/manifest.json

SAMPLE_SOURCES := $(wildcard rewrite_service/sample/*.py)
BUILD_SOURCES := $(wildcard retriever/*.py retriever/weights/* ranker/*.py mining/*.py mining/engines/*.py) \
  $(filter-out mining/labels/report_%,$(wildcard mining/labels/*.py)) \
  $(wildcard $(addprefix rewrite_service/,build.py bundle.py assemble.py examples.py goals.py sureness.py known_rewrite.py \
    learning.py log_mining.py people_archive.py side_by_side.py))

# Every target that says what it is for.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' Makefile)

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-21s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(RUN_READY) ## Set up .venv with what serving needs

run: $(MANIFEST) ## Set up, build a bundle from the sample log, serve on 127.0.0.1:50051 (PORT=..., HTTP_PORT=...)
	@echo "serving $(BUNDLE) on 127.0.0.1:$(PORT); stop with Ctrl-C"
	exec $(BIN)/query-rewrite serve --bundle $(BUNDLE) --host 127.0.0.1 --port $(PORT) $(addprefix --http-port ,$(HTTP_PORT))

bundle: $(MANIFEST) ## Build the bundle that `make run` serves

# Three processes for two cores, since half of a test's time is waiting for servers, files and browsers.
TEST_PROCESSES ?= $(shell n=$$(( ($$(nproc) * 3 + 1) / 2 )); echo $$(( n < 4 ? n : 4 )))

test: $(TEST_READY) ## Set up, then ruff, mypy and all tests, in a few processes (TEST_PROCESSES=...)
	$(BIN)/ruff check .
	$(BIN)/mypy
	@mkdir -p var
	$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder \
	  --junitxml=var/tests.xml --cov --cov-report xml:var/coverage.xml
	$(BIN)/python deploy/tests_ran.py var/tests.xml

wheel: $(TEST_READY) ## Build the wheel, to dist/
	$(BIN)/python -m build --outdir dist .

wheel-test: $(TEST_READY) $(MANIFEST) ## Install the wheel and its libraries away from here, and serve from there (a minute or two)
	$(BIN)/python deploy/wheel_test.py $(BUNDLE)

chart-test: $(TEST_READY) ## Lint the chart, render it, check it against Kubernetes' schemas; check the proxy's config
	deploy/chart_test.sh

image-test: $(RUN_READY) $(MANIFEST) ## Build the container image, run it confined, call it, stop it (root; some minutes)
	deploy/image_test.sh --results benchmarks/results/image.json

compose-test: $(RUN_READY) $(MANIFEST) ## Run the fleet of deploy/compose.yaml, call it, take parts away (root; some minutes)
	deploy/compose_test.sh --results benchmarks/results/fleet.json

constraints: $(RUN_READY) ## Pin anew what the image installs, after a change of pins
	$(BIN)/python deploy/constraints.py

proto: $(TEST_READY) ## Make rewrite_service/pb anew from proto/
	$(BIN)/python -m rewrite_service.pb.generate

bench-habitbench: $(RUN_READY) ## Quality on HabitBench (HABITBENCH=folder), to benchmarks/results/habitbench.json
	benchmarks/habitbench/run.sh --results benchmarks/results/habitbench.json

bench-rolling: $(RUN_READY) ## The same settings on other days of HabitBench's log, to benchmarks/results/rolling.json
	$(BIN)/python -m benchmarks.quality.rolling

bench-newcomers: $(RUN_READY) ## People who were not in HabitBench's log, to benchmarks/results/newcomers.json
	$(BIN)/python -m benchmarks.quality.newcomers

bench-other-traits: $(RUN_READY) ## Logs that lack what HabitBench's has (20 minutes), to benchmarks/results/other-traits.json
	$(BIN)/python -m benchmarks.quality.other_traits

bench-generated: $(RUN_READY) ## Quality on logs that the package generates, to benchmarks/results/generated.json
	$(BIN)/python -m benchmarks.quality.generated

bench-recall: $(RUN_READY) ## Whether right candidates are found on HabitBench, to benchmarks/results/recall.json
	$(BIN)/query-rewrite build --log $(HABITBENCH)/log.jsonl.gz --out var/habitbench
	$(BIN)/python -m benchmarks.quality.recall var/habitbench

bench-training-labels: $(RUN_READY) ## How right the labels are that training uses, on HabitBench's dev days
	$(BIN)/python -m benchmarks.quality.training_labels

bench-label-weights: $(RUN_READY) ## What it is worth that labels weigh the ranker's training (ten minutes)
	$(BIN)/query-rewrite build --log $(HABITBENCH)/log.jsonl.gz --out var/habitbench
	$(BIN)/python -m benchmarks.quality.label_weights var/habitbench

bench-ablations: $(RUN_READY) ## What each part is worth on HabitBench (an hour), to benchmarks/results/ablations.json
	$(BIN)/python -m benchmarks.quality.ablations

bench-min-people: $(RUN_READY) ## What the guards of everybody's layer cost on HabitBench (half an hour)
	$(BIN)/python -m benchmarks.quality.min_people

bench-min-people-coverage: $(RUN_READY) ## The same without training a ranker: how often the right text is found
	$(BIN)/python -m benchmarks.quality.min_people --coverage

bench-labels: $(TEST_READY) ## Where turns failed and what they should have been, against the truth, to benchmarks/results/labels.json
	$(BIN)/python -m benchmarks.labels.failure_points
	$(BIN)/python -m benchmarks.labels.goals
	$(BIN)/python -m benchmarks.labels.transformer
	$(BIN)/python -m benchmarks.labels.large_log

bench-mining: $(TEST_READY) $(LOG) ## How right the labels of the miners are, what they find and add (an hour)
	$(BIN)/python -m benchmarks.mining.labels
	$(BIN)/python -m benchmarks.mining.chain_moves $(LOG)
	$(BIN)/python -m benchmarks.mining.quality
	$(MAKE) bench-mining-growth

bench-mining-growth: $(TEST_READY) $(LOG) ## How fast logs are mined as they grow, and whether engines agree, to benchmarks/results/mining.json
	$(BIN)/python -m benchmarks.mining.engines_differ $(LOG)
	$(BIN)/python -m benchmarks.mining.growth --sizes $(TURNS) --spark-sizes 1e5

bench-poison: $(MANIFEST) ## How long a harmful rewrite lives, and whether good ones survive noise (ten minutes)
	$(BIN)/python -m benchmarks.chaos.poison $(BUNDLE) $(LOG)

bench-listeners: $(RUN_READY) ## Whether it helps to know what people like this one like (ten minutes)
	$(BIN)/python -m benchmarks.quality.listeners

bench-encoders: $(TEST_READY) ## What training the encoder brings, by loss, batch, depth and view (half an hour)
	$(BIN)/python -m benchmarks.encoder.compare

bench-encoder-graphs: $(TEST_READY) ## What writing the encoder's graph ourselves is worth (two minutes)
	$(BIN)/python -m benchmarks.encoder.graphs

bench-cross-encoder: $(TEST_READY) ## Whether a cross-encoder would help the ranker (half an hour)
	$(BIN)/python -m benchmarks.encoder.cross

bench-capacity: $(MANIFEST) ## What one core bears, and what of it is gRPC, to benchmarks/results/capacity.json
	$(BIN)/python -m benchmarks.serving.capacity $(BUNDLE) $(LOG)

bench-console: $(TEST_READY) $(MANIFEST) ## What the console costs those who are served, and what it takes
	$(BIN)/python -m benchmarks.console.cost $(BUNDLE) $(LOG)

screenshots: $(TEST_READY) $(MANIFEST) ## Take the pictures of the console and of a report, to docs/images
	$(BIN)/python -m benchmarks.console.screenshots $(BUNDLE) $(LOG)
	$(BIN)/python -m benchmarks.labels.report_screenshot $(BUNDLE) $(LOG)

bench-echo: $(MANIFEST) ## A remembered decision beside a bare gRPC echo (h2load: Debian's nghttp2-client)
	$(BIN)/python -m benchmarks.serving.echo $(BUNDLE) $(LOG)

bench-doors: $(MANIFEST) ## What a call costs over HTTP beside one over gRPC
	$(BIN)/python -m benchmarks.serving.doors $(BUNDLE) $(LOG)

bench-in-turns: $(MANIFEST) ## CPU of an uncached request beside another checkout's (BEFORE=folder)
	$(BIN)/python -m benchmarks.serving.in_turns $(BUNDLE) $(LOG) --before $(BEFORE)

bench-native-parts: $(MANIFEST) ## An uncached request beside its native parts
	$(BIN)/python -m benchmarks.serving.native_parts $(BUNDLE) $(LOG)

bench-metrics: $(MANIFEST) ## What counting for Prometheus costs a request
	$(BIN)/python -m benchmarks.serving.metrics_cost $(BUNDLE) $(LOG)

bench-start: $(MANIFEST) ## What a server does until it serves
	$(BIN)/python -m benchmarks.serving.start $(BUNDLE)

bench-slow-parts: $(MANIFEST) ## Whether the deadline is kept with a slow store and a slow encoder
	$(BIN)/python -m benchmarks.serving.slow_parts $(BUNDLE) $(LOG)

bench-conversations: $(MANIFEST) ## Ask, record, ask again: users with 20 to 2,000 turns behind them
	$(BIN)/python -m benchmarks.serving.conversations $(BUNDLE) $(LOG)

bench-overload: $(MANIFEST) ## Three times what one core bears: what is shed, how late the rest is, how soon it is over
	$(BIN)/python -m benchmarks.chaos.overload $(BUNDLE) $(LOG)

bench-workers: $(MANIFEST) ## What a second process brings on two cores
	$(BIN)/python -m benchmarks.serving.workers $(BUNDLE) $(LOG)

bench-replacement: $(LOG) ## What a full cache should drop
	$(BIN)/python -m benchmarks.serving.replacement $(LOG)

bench-stores: $(TEST_READY) $(LOG) ## What the embedded store and Redis cost, side by side
	$(BIN)/python -m benchmarks.serving.stores $(LOG)

bench-growth: $(MANIFEST) ## Ten thousand to a million texts and users (builds them first; TEXTS=, USERS= for less)
	$(BIN)/python -m benchmarks.serving.growth $(BUNDLE) $(LOG) --texts $(TEXTS) --users $(USERS)

bench-against: $(MANIFEST) $(BENCH_READY) ## Our service against the obvious one
	$(BIN)/python -m benchmarks.serving.against $(BUNDLE) $(LOG)

bench-engines: $(MANIFEST) $(BENCH_READY) ## Our global index against public vector search engines
	$(BIN)/python -m benchmarks.serving.engines $(BUNDLE)

bench-index-kinds: $(MANIFEST) ## What the global index could be built of
	$(BIN)/python -m benchmarks.serving.index_kinds $(BUNDLE)

bench-speed: $(MANIFEST) $(BENCH_READY) ## Every figure of speed in one run (WITHOUT=growth,engines or TEXTS=, USERS= for less)
	$(BIN)/python -m benchmarks.serving.speed $(BUNDLE) $(LOG) --without "$(WITHOUT)" --texts $(TEXTS) --users $(USERS)

bench-serving: bench-speed bench-capacity bench-start bench-metrics bench-conversations bench-overload bench-replacement ## All tables of docs/performance.md

bench-chaos: $(TEST_READY) $(MANIFEST) ## All that is done to the service on purpose, to benchmarks/results/chaos.json (15 minutes)
	$(BIN)/python -m benchmarks.chaos.all $(BUNDLE) $(LOG)

fuzz: $(TEST_READY) ## Fuzz log reader, proto edge, normal form and bundle loader (SECONDS=...)
	$(BIN)/python -m benchmarks.fuzz.run --seconds $(SECONDS)

bench-quality: bench-habitbench bench-rolling bench-newcomers bench-other-traits bench-generated bench-recall bench-training-labels bench-ablations ## All tables of docs/quality.md

clean: ## Remove what was made, but for .venv
	rm -rf var build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean ## Remove .venv too
	rm -rf .venv *.egg-info

# The stamps say that set-up went through with the pins as they stand.
$(RUN_READY): pyproject.toml deploy/setup.sh
	@deploy/setup.sh

$(TEST_READY): pyproject.toml deploy/setup.sh
	@deploy/setup.sh test

$(BENCH_READY): $(TEST_READY)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable ".[bench]"
	@touch $@

# Set-up comes before both, yet being set up anew is no reason to make them anew.
$(LOG): $(SAMPLE_SOURCES) | $(RUN_READY)
	$(BIN)/query-rewrite sample-log --out $@

$(MANIFEST): $(LOG) $(BUILD_SOURCES) | $(RUN_READY)
	$(BIN)/query-rewrite build --log $(LOG) --out $(BUNDLE)
