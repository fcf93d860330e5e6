"""What is reported of a pin beside its authenticity: characters, price, details, display; packets and their
HTML.

Comes in: prepared views, match, stamp reading. Goes out: packets. All text is escaped here.
"""
