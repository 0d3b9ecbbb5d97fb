# Two commands matter: make demo, make test.  They fetch what they need, and never ask.
# Needed beforehand: git, make, Python >= 3.9 with venv, the network.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
PYTEST := $(RUN) -m pytest
# Of the tests that need no kernel; half of their time they wait.
WORKERS ?= 3
# Downloads stay in this folder too.
export PIP_CACHE_DIR ?= $(CURDIR)/.cache/pip

.PHONY: help demo test kernel judges lint unit soak day fuzz test-pythons bench rpm rpmlint boot clean
.DEFAULT_GOAL := help

help:
	@echo 'make demo          the LVS-NAT tutorial, live: traffic, a server killed and revived'
	@echo 'make test          everything: style, types, and all tests, on a real IPVS kernel'
	@echo 'make unit          the tests that need no kernel, in seconds'
	@echo 'make soak          half an hour of random faults; make soak SEED=n does those of an earlier one'
	@echo 'make day           a whole day on a kernel whose clock jumps, which is made first, for some 10 minutes'
	@echo 'make fuzz          hostile input for everything that reads, for some minutes'
	@echo 'make lint          style and types'
	@echo 'make test-pythons  the unit tests on every Python 3.9 to 3.13 that is here'
	@echo 'make rpm           the packages, in build/rpm'
	@echo 'make rpmlint       what rpmlint says of them'
	@echo 'make boot          them installed, booted, crashed and removed, with systemd and with SysV init'
	@echo 'make bench         how fast and how cheap it is, against ipvsadm, keepalived, ldirectord'
	@echo 'make clean         away with all that was made and downloaded'

demo: $(READY)
	@$(VENV)/bin/lvs-nat demo

test: lint kernel judges
	$(PYTEST) --require-kernel

# Once by themselves, so that a download is seen and a machine that cannot be used says so at once.
kernel: $(READY)
	@$(RUN) -m lvs_nat.lab -t 100 -- true

judges: $(READY)
	@$(RUN) -m tests.judges

unit: $(READY)
	$(PYTEST) -n $(WORKERS) -m 'not kernel and not lab and not servers'

soak: kernel
	@$(RUN) -m lvs_nat.lab -t 7200 -- $(RUN) -m tests.lab.soak $(if $(SEED),--seed $(SEED))

# It is made for as long as it takes; the limit is for the day.
day: $(READY)
	@$(RUN) -m lvs_nat.lab --time-travel -t 7200 -- $(RUN) -m tests.lab.long_day $(if $(SEED),--seed $(SEED))

fuzz: $(READY)
	$(PYTEST) -m fuzz --hypothesis-profile=fuzz --hypothesis-show-statistics
	@$(RUN) -m pip --quiet --disable-pip-version-check install atheris || \
	    echo 'make: no atheris for this Python, so coverage guides nothing' >&2
	@! $(RUN) -c 'import atheris' 2>/dev/null || $(RUN) -m tests.fuzz

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# A virtual environment for each; mypy and ruff have looked at the code on one of them.
test-pythons:
	@found=; for version in 3.9 3.10 3.11 3.12 3.13; do \
	    for python in python$$version $$HOME/.pyenv/versions/$$version.*/bin/python; do \
	        $$python -c "import ensurepip, sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')" \
	            2>/dev/null || continue; \
	        echo "== Python $$version: $$python"; found="$$found $$version"; \
	        $(MAKE) --no-print-directory unit PYTHON=$$python VENV=.venv-$$version || exit 1; \
	        break; \
	    done; \
	done; \
	test -n "$$found" || { echo 'make: no Python 3.9 to 3.13 with venv is here' >&2; exit 1; }; \
	echo "== passed on Python$$found"

# It writes docs/benchmarks.md, too.
bench: $(READY)
	@$(RUN) -m bench.report

rpm: $(READY)
	@$(RUN) packaging/build.py

rpmlint: rpm
	@$(RUN) packaging/build.py --lint

boot: rpm kernel
	@$(RUN) packaging/build.py --next --nocheck
	@$(RUN) -m tests.boot
	$(PYTEST) -m boot --require-boot

clean:
	rm -rf .venv .venv-* .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 9))' || \
	    { echo 'make: $(PYTHON) is older than 3.9; say make PYTHON=/path/to/newer ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo 'make: $(PYTHON) has no venv; on Debian: apt install python3-venv' >&2; exit 1; }
	@$(RUN) -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(RUN) -m pip --quiet --disable-pip-version-check install --editable '.[dev]'
	@touch $@
