.PHONY: demo test check setup setup-dev fast lint schema clean help

help:
	@echo "make demo    set up; attach a phone, ping through the tunnels, detach (out/attach/); the same abroad, between two operators (out/roaming/)"
	@echo "make test    set up and run every test"
	@echo "make check   ruff, mypy, import contracts and the fast tests"
	@echo "make clean   remove what the others made"

demo: setup
	.venv/bin/epclab run scenarios/attach.py --out out/attach
	.venv/bin/epclab run scenarios/roaming.py --out out/roaming

test: setup-dev
	$(MAKE) --no-print-directory lint
	.venv/bin/pytest

check: setup-dev lint fast

lint:
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

fast:
	.venv/bin/pytest -m "not real_time and not interop and not privileged"

setup:
	@.ci/setup

setup-dev:
	@.ci/setup dev

schema: setup-dev
	@for kind in mme hss sgw pgw sgwu pgwu pcrf ocs dra dns af enb; do .venv/bin/epclab config schema $$kind > docs/schema/$$kind.json; done

clean:
	rm -rf .venv build out *.egg-info .mypy_cache .ruff_cache .pytest_cache
