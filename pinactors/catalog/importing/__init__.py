"""The import of a folder into the catalogue: it reads the tables, checks the rows and prepares the pictures.

Input: `pins.csv`, `sales.csv`, `fx.csv` and pictures. Output: committed pins, and a problem for each row
that was not imported.
"""
