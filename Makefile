# Every target sets up what it needs, on a fresh machine too: Python 3.11 or newer is all it takes.
PYTHON ?= python3
INSTALL := .venv/bin/python -m pip install --quiet --disable-pip-version-check
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))

.PHONY: demo test lint bench clean venv

demo: .venv/installed
	.venv/bin/gesturegen generate examples/speech.wav examples/speaker.png -o out/demo.mp4 --exists overwrite

test: .venv/dev
	.venv/bin/pytest && for plugin in $(PLUGINS); do (cd $$plugin && ../../.venv/bin/pytest) || exit; done

lint: .venv/dev
	.venv/bin/ruff check . && .venv/bin/ruff format --check .
	.venv/bin/mypy && .venv/bin/lint-imports
	for source in plugins/*/src; do (cd $$source/.. && MYPYPATH=../../src ../../.venv/bin/mypy) || exit; done

bench: .venv/dev
	.venv/bin/gesturegen bench
	.venv/bin/gesturegen bench --deviation --preset paper --set sampling.render_batch=4
	.venv/bin/gesturegen bench --deviation --set deviation=tps

clean:
	rm -rf .venv out build dist src/*.egg-info plugins/*/src/*.egg-info plugins/*/*.egg-info

venv: .venv/installed

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv && $(INSTALL) --editable . && touch $@

.venv/dev: .venv/installed $(PLUGINS:%=%/pyproject.toml)
	$(INSTALL) --editable '.[train,dev]' $(PLUGINS:%=--editable %) && touch $@
