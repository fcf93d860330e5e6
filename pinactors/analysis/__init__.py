"""Pure functions on arrays, one package for each step of the analysis, in order.

`imaging` decodes a photograph and measures its quality, `matching` finds its pin in the catalogue,
`segmentation` finds the pin's outline, `stamp` reads the back, `evidence` compares the pin with the catalogue
picture, `report` makes packets. Input: encoded photographs and the catalogue's contents. Output: plain values
(`model`) and packets. This package must not import trio, a database, HTTP names or a package above itself.
"""
