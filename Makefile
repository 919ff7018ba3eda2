# A table of contents: what each target does stands in the script it calls.
# PG_CONFIG names the server to build for (default: /usr/bin/pg_config).
.PHONY: help deps demo test install installcheck bench bench-long lint clean

help:
	@echo 'make install       build the extension and install it into the server of PG_CONFIG (root or sudo; some minutes)'
	@echo 'make demo          install, then the main job, live, on a private server with pgbench as the application'
	@echo 'make test          install, then every test, each on a private server'
	@echo 'make installcheck  the regression tests against a running server (PGHOST, PGPORT, ...)'
	@echo 'make bench         install, then ratios beside a hand-written queue (about a quarter of an hour)'
	@echo 'make bench-long    install, then ten minutes at 2,000 jobs a second, with a snapshot held open all the time'
	@echo 'make lint          formatting and clippy'
	@echo 'make clean         remove what was built'

deps:
	@tests/setup/deps.sh

demo: install
	@tests/demo/run.sh

test:
	@tests/setup/test.sh

install: deps
	@tests/setup/install.sh

installcheck:
	@tests/regress/run.sh running

bench: install
	@tests/bench/run.sh

bench-long: install
	@tests/bench/long.sh

lint: deps
	@tests/setup/lint.sh

clean:
	cargo clean
