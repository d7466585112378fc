# Everything runs in environments of its own: .venv for development, .cache/demo for the demo.

UV := scripts/uv
SYNC := $(UV) sync --quiet --frozen --all-extras
IN := .venv/bin
LAB := PYTHONPATH=tests $(IN)/python -m lab
# Three processes share the tests, each with a cluster of its own: much of what tests do is wait.
PYTHON := $(CURDIR)/$(IN)/python
CLUSTERS := --dist loadfile --no-loadscope-reorder --tx '3*popen//python=$(PYTHON) -m lab run $(PYTHON)'
# What runs beside something else is printed when it has ended; macOS's make cannot.
WHOLE := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.PHONY: demo check lint docs dist test-unit test test-nfs test-vllm cluster bench bench-kubernetes \
    bench-vllm reference native-models golden lock clean

.venv/.synced: pyproject.toml uv.lock
	@$(SYNC)
	@touch $@

# A real model over the real Hub protocol, verified, and answering from two replicas.
demo:
	@UV_PROJECT_ENVIRONMENT=.cache/demo/venv $(SYNC) --no-default-groups --group demo
	@.cache/demo/venv/bin/python examples/demo.py

# Lint, types, layers, the documentation site and unit tests, in less than a minute.
check: .venv/.synced
	@$(MAKE) -j2 $(WHOLE) --no-print-directory lint docs test-unit

lint: .venv/.synced
	$(IN)/ruff format --check .
	$(IN)/ruff check .
	$(IN)/mypy
	$(IN)/lint-imports
	$(IN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml

# The documentation site, in build/site. A dead link or a page outside the navigation fails. The
# variable turns off the theme's notice of its successor: docs/adr/0007-material-for-mkdocs.md.
docs: .venv/.synced
	NO_MKDOCS_2_WARNING=1 $(IN)/mkdocs build

test-unit: .venv/.synced
	$(IN)/pytest -q -n 2 tests/unit

# What CI runs. A real Kubernetes and real NFS clients need root on Debian or Ubuntu; elsewhere a
# line says what was left out. `lab build` makes all parts of the test clusters, once, and prints
# the seconds of each. It needs the network, and the tests after it run without one. Nothing is
# installed.
# The demo in `dist` has two replicas behind one port, for which there is a router on Linux alone.
test: check
	$(IN)/pytest -q -n 2 --dist loadfile tests/integration
	@[ "$$(uname -s)" != Linux ] || $(MAKE) --no-print-directory dist
	$(LAB) build
	PYTHONPATH=tests $(IN)/pytest -q --timeout=600 $(CLUSTERS) tests/cluster
	@$(MAKE) -j2 $(WHOLE) --no-print-directory test-nfs test-vllm

# One story on two emulated nodes, which keeps little more than one processor busy. So does the next.
test-nfs: .venv/.synced
	$(LAB) build
	$(LAB) run $(IN)/pytest -q --timeout=600 tests/nfs

# Real vLLM, on the CPU. Its environment and a model are made once. On machines other than Linux
# x86-64 a line says that they were left out.
test-vllm: .venv/.synced
	$(LAB) build vllm vllm-model
	$(IN)/pytest -q --timeout=900 tests/vllm

# A Kubernetes of one node, and a shell with kubectl in it; all of it is gone when the shell ends.
cluster: .venv/.synced
	$(LAB) build
	$(LAB) shell

# Against huggingface_hub and curl in the same run; writes docs/benchmarks.md.
bench: .venv/.synced
	$(IN)/python -m bench

# Beside the ways by hand, on the tests' cluster of one node; writes docs/benchmarks-kubernetes.md.
bench-kubernetes: .venv/.synced
	$(LAB) build
	$(IN)/python -m bench.wheels
	$(LAB) run $(IN)/python -m bench.kubernetes

# Cold starts of real vLLM; for the share that it emulates it needs root. Writes
# docs/benchmarks-vllm.md and its charts.
bench-vllm: .venv/.synced
	$(LAB) build vllm vllm-model
	$(IN)/python -m bench.vllm $(QUICK)

# The pages that are written from the code; a test fails when they are behind.
reference: .venv/.synced
	$(IN)/python scripts/reference.py

# The table of what vLLM implements itself; a test in tests/vllm fails when it is behind.
native-models: .venv/.synced
	$(LAB) build vllm
	mkdir -p build
	$$(PYTHONPATH=tests $(IN)/python -c 'from lab import vllm; print(vllm.python())') \
	    scripts/native_models.py > build/native_models.py
	mv build/native_models.py src/modelshelf/select/native_models.py

# What examples are rendered to; look at what git says of it.
golden: .venv/.synced
	$(IN)/python scripts/golden.py

# What a release consists of, in dist/. The sdist is installed into an environment of its own, and
# the demo from that sdist runs there.
dist: .venv/.synced
	rm -rf dist build/dist
	$(UV) build --quiet --no-build-isolation --python $(IN)/python
	mkdir -p build/dist
	tar -xzf dist/*.tar.gz -C build/dist --strip-components 1
	$(UV) venv --quiet --seed build/dist/.venv
	$(UV) pip install --quiet --python build/dist/.venv \
	    "modelshelf[local,mirror] @ file://$$(ls $(CURDIR)/dist/*.tar.gz)"
	cd build/dist && .venv/bin/python examples/demo.py

lock:
	$(UV) lock

clean:
	rm -rf .venv .cache build dist
