# Everything starts from a fresh Debian or Ubuntu with Python >= 3.11; the first target run makes .venv.
#   make demo            a simulated line, taught and inspecting; FOR=20 ends it after 20 s
#   make test            the tests, several at a time; ARGS="-k ledger" passes words on to pytest instead
#   make lint            style, types, layers
#   make bench           what the station sustains; ARGS="--seconds 5"
#   make lock            renew uv.lock after a change to pyproject.toml
#   make clean           remove what the above made

FOR ?=
ARGS ?=
PYTHON_BIN := .venv/bin/python
# A file of tests at a time on each processor: most of a test of a whole station is waiting.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile

.PHONY: demo test lint bench lock clean environment test-environment lint-environment

demo: environment
	@$(PYTHON_BIN) tools/demo.py $(if $(FOR),--for $(FOR)) $(ARGS)

test: test-environment
	@$(PYTHON_BIN) -m pytest $(or $(ARGS),$(PARALLEL))

lint: lint-environment
	$(PYTHON_BIN) -m ruff check
	$(PYTHON_BIN) -m ruff format --check
	$(PYTHON_BIN) -m pyright --pythonpath $(PYTHON_BIN)
	$(PYTHON_BIN) -c "from importlinter.cli import lint_imports_command; lint_imports_command()"

bench: environment
	@$(PYTHON_BIN) -m edge bench $(ARGS)

lock:
	@tools/set_up.sh uv
	.uv/bin/uv lock

clean:
	rm -rf .venv .uv .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# All return at once where .venv is as uv.lock says. Only the tests need the libraries of cameras and lanes that few have.
environment:
	@tools/set_up.sh test

test-environment:
	@tools/set_up.sh test peers

lint-environment:
	@tools/set_up.sh test lint
