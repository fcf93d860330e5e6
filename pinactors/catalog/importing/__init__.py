"""From a folder to the catalogue: tables and their notations, rows checked and named, pictures prepared.

Comes in: `pins.csv`, `sales.csv`, `fx.csv` and pictures. Goes out: committed pins, and a problem for each row
that was not taken.
"""
