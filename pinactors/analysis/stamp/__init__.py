"""Text stamped into a pin's back: found and read, parsed by its grammar, several readings pooled.

Comes in: a prepared back. Goes out: `StampReading`. What a text means for authenticity is judged in
`evidence`.
"""
