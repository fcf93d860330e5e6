"""Evaluates the engine on labelled photographs: figures with their uncertainty, a report, fitted
coefficients.

Input: folders of photographs with labels (`dataset`), and the engine's answers to them (`answers`). Output:
figures as JSON, one HTML page, files of coefficients; `export` makes such a folder from feedback. The server
must not import this package. A fit is judged only by pins that were not in it.
"""
