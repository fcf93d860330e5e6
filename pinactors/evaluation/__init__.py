"""Evaluates the engine on labelled photographs: figures with their uncertainty, a report, fitted
coefficients."""
