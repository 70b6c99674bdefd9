# `make demo` and `make test` do all their own set-up: python3 (3.11+), pip and make are enough.
PY ?= python3
V  := .venv
OK := $(V)/.ok

.PHONY: setup demo test thorough coverage lab bench calibrate fuzz faults recordings ground compat check docs lock clean system-packages
.DEFAULT_GOAL := demo

# What is imported is compiled once: Pipecat takes 2.7 s without its bytecode, 0.7 s with it, in every
# process of the tests.
unexport PYTHONDONTWRITEBYTECODE

setup: $(OK)

$(OK): requirements.lock pyproject.toml
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is %d.%d: make PY=/path/to/python3.11" % sys.version_info[:2])'
	@[ ! -L $(V) ] || { echo "$(V) is a link and would be emptied: run make setup where it leads to"; exit 1; }
	@echo "Setting up $(V), once: about a minute and 1 GB"
	@$(PY) -m venv --clear $(V) || { echo "On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(V)/bin/python -m pip install -qq --disable-pip-version-check "uv>=0.9,<1" 2>/dev/null \
	  && VIRTUAL_ENV=$(V) $(V)/bin/uv pip install -q --require-hashes -r requirements.lock \
	  || $(V)/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(V)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(OK)
	$(V)/bin/workbench demo

test: $(OK) system-packages
	$(V)/bin/python -m pytest -q -n 3 --dist loadfile --no-loadscope-reorder -m "not thorough"

# What takes minutes, or another package from the index: before a release, and after a change to it
thorough: $(OK) system-packages
	$(V)/bin/python -m pytest -q -n 2 --dist loadfile -m thorough

# One room's: make coverage TESTS=tests/metrics
TESTS ?= tests
ROOMS := pipecat_bandwidth $(patsubst %/__init__.py,%,$(wildcard workbench/*/__init__.py))
coverage: $(OK) system-packages
	$(V)/bin/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --cov --cov-report= $(TESTS)
	@for room in $(ROOMS) workbench; do \
	  [ $$room = workbench ] && files="workbench/*.py" || files="$$room/**"; \
	  printf '%-24s %s %%\n' $$room "$$($(V)/bin/coverage report --format=total --include="$$files")"; done

# What only tests need from the system. As root on Debian it is installed; elsewhere its tests skip.
# Playwright brings a node of its own, which wants libatomic.
system-packages: $(OK)
	@if command -v chromium >/dev/null && command -v tshark >/dev/null && command -v redis-check-rdb >/dev/null && command -v sox >/dev/null && command -v ffmpeg >/dev/null && ldconfig -p | grep -q vo-amrwbenc && $(V)/bin/playwright --version >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing chromium, tshark, Redis, AMR, sox and ffmpeg for the tests"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium tshark redis-tools libatomic1 libopencore-amrnb0 libopencore-amrwb0 libvo-amrwbenc0 sox libsox-fmt-all ffmpeg >/dev/null; \
	else echo "chromium, tshark, Redis, AMR, sox and ffmpeg are not all here: the tests that need them are skipped"; fi

lab: $(OK)
	LOGURU_LEVEL=WARNING $(V)/bin/jupyter lab notebooks

bench: $(OK)
	$(V)/bin/python -m tests.benchmarks imports serializer server tap capacity calls memory tuning

# Needs the extras quality and pesq, and Debian's voices, which it installs as root; what it judges on are
# people, too: python -m tests.ground gather FOLDER. 20 minutes of CPU, once; all is kept in .bench/calibration.
calibrate: $(OK)
	$(V)/bin/python -m tests.benchmarks.calibration

# A little of it, as continuous integration runs it: make fuzz FUZZ="--share 0.02"
fuzz: $(OK)
	$(V)/bin/python -m tests.fuzz $(FUZZ)

# For example: make faults FAULTS="--hours 2 --seeds 3 --kinds echo"
faults: $(OK)
	$(V)/bin/python -m tests.benchmarks.faults $(FAULTS)

# Which leg is told of recordings made by sox and ffmpeg, right or wrong; a second and a half each
COUNT ?= 500
recordings: $(OK) system-packages
	COUNT=$(COUNT) OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 nice $(V)/bin/python -m tests.benchmarks recordings

# Records every scenario on each Pipecat, in real time: about an hour. tests/ground/runs has some of them.
ground: $(OK)
	$(V)/bin/python -m tests.ground install
	$(V)/bin/python -m tests.ground record
	$(V)/bin/python -m tests.ground judge --runs .bench/ground

compat: $(OK)
	$(V)/bin/python -m tests.benchmarks.compat

check: $(OK)
	$(V)/bin/ruff check .
	$(V)/bin/ruff format --check .
	$(V)/bin/mypy
	$(V)/bin/lint-imports

# The pages are in docs-html/index.html; a docstring that refers to what is not there is an error.
docs: $(OK)
	$(V)/bin/python -m tests.house.pages

lock:
	@d=$$(mktemp -d) && cp pyproject.toml hatch_build.py $$d && touch $$d/README.md && mkdir $$d/pipecat_bandwidth && cp pipecat_bandwidth/__init__.py $$d/pipecat_bandwidth/ \
	  && (cd $$d && uv lock -q && uv export -q --no-header --no-annotate --no-emit-project --extra workbench --extra dask --extra survey --all-groups -o requirements.lock) \
	  && cp $$d/requirements.lock requirements.lock && rm -rf $$d && wc -l requirements.lock

clean:
	rm -rf $(V) .bench demo-output docs-html .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .coverage
