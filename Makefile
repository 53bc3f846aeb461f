# make demo, make test, make bench, make bench-peers, make fuzz, make sanitize, make sbom, make docs, make format,
# make lint, make tidy, make clean: each does its own set-up.
#
# Needs Python 3.10-3.13 with venv, a C++17 compiler, make, and a package index that pip can reach.
# Everything is installed into .venv, built in build/make; a second call does only what changed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILD := build/make
# Compilations at a time. One takes up to 1 GB of memory.
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# Where the pictures and the SavedModel of `make demo` go, and what else to pass.
DEMO_ARGS ?= --output demo-output

# What `make bench` measures; the file is written as it goes, and the same command goes on.
BENCH_ARGS ?= --threads 1,2 --json build/bench/figures.json

# How long `make fuzz` looks for inputs that no test thought of; the seed of its search, 0 for a new one.
FUZZ_SECONDS ?= 60
FUZZ_SEED ?= 0

# What `make sanitize` watches for: ASAN (addresses, leaks and undefined behaviour) or TSAN (data races).
SANITIZER ?= ASAN

# The op library only fits the TensorFlow it was built against, so it is built against the one here.
TENSORFLOW ?= tensorflow>=2.21,<2.22
# GPU kernels: AUTO builds them where a compiler of CUDA is installed, and installs one; ON insists;
# OFF saves 217 MB and half of the time to compile. Unless told, AUTO where they can be used (a driver, or nvcc) or
# are tested; once built, they stay.
WANTS_CUDA = $(or $(filter test test-% $(VENV)/.test,$(MAKECMDGOALS)),$(wildcard $(VENV)/.package.AUTO),$(shell command -v nvidia-smi nvcc))
ifeq ($(origin CUDA),undefined)
CUDA := $(if $(WANTS_CUDA),AUTO,OFF)
endif
PACKAGE := $(VENV)/.package.$(CUDA)

NATIVE := CMakeLists.txt pyproject.toml $(shell find cc cmake -type f 2>/dev/null)
SOURCES := $(NATIVE) README.md LICENSE \
  $(shell find python -type f \( -name '*.py' -o -name '*.pyi' -o -name py.typed -o -name '*.css' \) ! -name _build_info.py)
CXX_FILES := $(shell find cc tests/cc tests/fuzz examples -name '*.h' -o -name '*.cc' -o -name '*.c' -o -name '*.cu' -o -name '*.cuh' 2>/dev/null)
# Units that include no TensorFlow: seconds each, where a TensorFlow header costs a minute.
TIDY_FILES := $(wildcard cc/core/*.cc)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export CMAKE_GENERATOR := Ninja
export CMAKE_BUILD_PARALLEL_LEVEL := $(JOBS)
ifneq ($(shell command -v ccache 2>/dev/null),)
export CMAKE_C_COMPILER_LAUNCHER := ccache
export CMAKE_CXX_COMPILER_LAUNCHER := ccache
endif
# pip's cmake and ninja before the system's.
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo bench bench-peers test test-cc test-python fuzz sanitize sbom docs format lint tidy clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/conv-transpose-nd demo $(DEMO_ARGS)

bench: $(PACKAGE)
	$(BIN)/conv-transpose-nd bench $(BENCH_ARGS)

# The libraries that it is compared with: about 4 GB, in build/peers. Those that lack are left out.
bench-peers: $(PACKAGE)
	-$(BIN)/python -m benchmarks.setup

test: test-cc test-python

test-python: $(VENV)/.test
	TF_CPP_MIN_LOG_LEVEL=2 $(BIN)/python -m pytest tests

# The tests are built where the package was, so that they share its objects.
test-cc: $(VENV)/.test
	@sh .ci/googletest || exit 0; set -ex; \
	  $(BIN)/cmake -S . -B $(BUILD) -DCONV_TRANSPOSE_ND_BUILD_TESTS=ON; \
	  $(BIN)/cmake --build $(BUILD); \
	  $(BIN)/ctest --test-dir $(BUILD) --output-on-failure --no-tests=error

# Starts from the corpus in the tree; finds, and what fails, stay in build/fuzz.
fuzz: $(VENV)/.build-requires
	@sh .ci/libfuzzer || exit 0; set -ex; \
	  $(BIN)/cmake -S . -B build/fuzz -DCMAKE_CXX_COMPILER=clang++ -DCONV_TRANSPOSE_ND_BUILD_FUZZERS=ON \
	    -DCONV_TRANSPOSE_ND_BUILD_OP=OFF -DCONV_TRANSPOSE_ND_BUILD_PYTHON=OFF \
	    -DCONV_TRANSPOSE_ND_CUDA=OFF -DCMAKE_BUILD_TYPE=None \
	    -DCMAKE_CXX_FLAGS=-O1; \
	  $(BIN)/cmake --build build/fuzz --target geometry_fuzz conv_transpose_fuzz; \
	  for run in "geometry 300 1" "conv_transpose 120 3"; do \
	    set -- $$run; mkdir -p build/fuzz/corpus/$$1; \
	    build/fuzz/tests/fuzz/$${1}_fuzz build/fuzz/corpus/$$1 tests/fuzz/corpus/$$1 -max_len=$$2 -seed=$(FUZZ_SEED) \
	      -max_total_time=$$(($(FUZZ_SECONDS) * $$3 / 4)) -artifact_prefix=build/fuzz/ \
	      -print_final_stats=1 -verbosity=0; \
	  done

# The C++ tests, and the Python tests of the NumPy module, instrumented.
sanitize: $(VENV)/.test
	@sh .ci/googletest && PYTHON=$(BIN)/python sh .ci/sanitize $(SANITIZER)

# What a release is made of, with the hashes of its libraries.
sbom: $(PACKAGE)
	@mkdir -p dist
	$(BIN)/python .ci/sbom > dist/sbom.json

# The pages, from docs/, the docstrings and the committed results: open build/site/index.html. Any warning fails;
# not with --quiet, which hides warnings from --strict as well.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: $(VENV)/.lint
	$(BIN)/clang-format -i $(CXX_FILES)
	$(BIN)/ruff check --fix python tests benchmarks examples scripts cmake
	$(BIN)/ruff format python tests benchmarks examples scripts cmake

lint: $(VENV)/.lint
	$(BIN)/clang-format --dry-run -Werror $(CXX_FILES)
	$(BIN)/ruff check python tests benchmarks examples scripts cmake
	$(BIN)/ruff format --check python tests benchmarks examples scripts cmake
	$(BIN)/mypy
	$(BIN)/clang-tidy --quiet $(TIDY_FILES) -- -std=c++17 -I.

tidy: $(VENV)/.lint
	$(BIN)/clang-tidy --quiet $(TIDY_FILES) -- -std=c++17 -I.

clean:
	rm -rf build dist demo-output $(VENV)/.package.* $(VENV)/.demo $(VENV)/.test $(VENV)/.lint $(VENV)/.docs

# --- Set-up, each step once -------------------------------------------------------------------

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "$(PYTHON) must be Python 3.10 to 3.13; choose another: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "$(PYTHON) has no venv: install it (Debian: python3-venv)"; exit 1; }

$(VENV)/.build-requires: .ci/requirements-build.txt | $(BIN)/python
	@echo "Installing TensorFlow and compilers into $(VENV): a minute or two."
	$(BIN)/python -m pip install --quiet "$(TENSORFLOW)" "numpy>=1.26" -r .ci/requirements-build.txt
	@touch $@

$(VENV)/.cuda-requires: .ci/requirements-cuda.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -r .ci/requirements-cuda.txt
	@touch $@

# The package as a user gets it, not an editable one: what is tested is what is installed. Options in full: pip 23.0,
# which Debian 12 has, knows no -C.
$(PACKAGE): $(VENV)/.build-requires $(if $(filter OFF,$(CUDA)),,$(VENV)/.cuda-requires) $(SOURCES)
	@echo "Compiling in $(BUILD): some minutes the first time, without output."
	$(BIN)/python -m pip install --quiet --no-build-isolation --config-settings build-dir=$(BUILD) \
	  --config-settings cmake.define.CONV_TRANSPOSE_ND_BUILD_TESTS=OFF \
	  --config-settings cmake.define.CONV_TRANSPOSE_ND_CUDA=$(CUDA) .
	@rm -f $(VENV)/.package.* && touch $@

# An extra adds packages to the installed distribution; pip leaves the distribution itself alone.
$(VENV)/.demo: pyproject.toml | $(PACKAGE)
	$(BIN)/python -m pip install --quiet "conv-transpose-nd[demo]"
	@touch $@

$(VENV)/.test: pyproject.toml | $(PACKAGE)
	$(BIN)/python -m pip install --quiet "conv-transpose-nd[cli,demo,test]"
	@touch $@

# After TensorFlow and NumPy, whose annotations mypy reads.
$(VENV)/.lint: .ci/requirements-lint.txt $(VENV)/.build-requires
	$(BIN)/python -m pip install --quiet -r .ci/requirements-lint.txt
	@touch $@

# NumPy comes with the build requirements; the pages are made of sources, not of what is built.
$(VENV)/.docs: .ci/requirements-docs.txt $(VENV)/.build-requires
	$(BIN)/python -m pip install --quiet -r .ci/requirements-docs.txt
	@touch $@
