"""Simulated cellular links: rates, delays and losses between a client and a server on this machine.

Input: a profile of a link (`profiles`), and the connections of a client. Output: the same bytes, passed on to
the server when the link would have delivered them (`link`). The demonstration, the benchmarks and the tests
use this package; the server must not import it.
"""
