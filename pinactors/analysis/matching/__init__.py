"""Which catalogue pin a photograph shows: features, similarity of registered pictures, keys read from the
stamp.

Comes in: prepared views and what the catalogue holds of its pictures. Goes out: ranked candidates with
their geometry. No verdict on authenticity is made here.
"""
