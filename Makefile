# Each target sets up what it needs, then runs. `make help` lists them.
.PHONY: help demo test lint bench lock clean

ARGS ?=

help:
	@printf '%s\n' \
	  'make demo   set up, then show a tunnel between two hosts on this machine' \
	  '            options: make demo ARGS="--hold --encapsulation udp"' \
	  'make test   set up, then run every test (arguments for pytest: ARGS="-k name")' \
	  'make lint   set up, then format, type and lint checks' \
	  'make bench  set up, then measure against wireguard-go in the same run' \
  '            or cost per packet by number of SAs: make bench ARGS="scale"' \
	  'make lock   write the lock files anew' \
	  'make clean  remove what was built in this folder'

demo:
	@setup/setup.sh run
	@.venv/bin/plutino demo $(ARGS)

test:
	@setup/setup.sh test
	@tests/run.sh $(ARGS)

lint:
	@setup/setup.sh test
	@tests/lint.sh

bench:
	@setup/setup.sh bench
	@.venv/bin/python -m benchmarks $(ARGS)

lock:
	@setup/lock.sh

clean:
	rm -rf .venv build dist src/plutino.egg-info src/plutino/_native*.so*
