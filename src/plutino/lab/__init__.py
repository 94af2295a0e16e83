"""Networks of hosts on one machine, for the demo and the tests: real kernels, real packets."""
