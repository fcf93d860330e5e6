"""Simulated cellular links: rates, delays and losses between a client and a server on this machine.

The demonstration, the benchmarks and the tests use this package; the server does not import it.
"""
