"""Pure functions on arrays, in the order in which a photograph walks through them.

`imaging` decodes and judges a photograph, `matching` finds its pin in the catalogue, `segmentation` tells
the pin's outline, `stamp` reads its back, `evidence` compares it with the catalogue picture, `report`
makes packets. Comes in: encoded photographs and what a catalogue holds. Goes out: plain values (`model`)
and packets. Nothing here may import trio, a database, HTTP names or a package above this one.
"""
