"""Benchmarks with injected faults: faults of the server and its surroundings, hostile uploads, fuzzing."""
