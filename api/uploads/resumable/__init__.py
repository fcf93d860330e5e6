"""Uploads that survive their connections: the IETF draft on `/mobile-upload`, tus 1.0 on `/uploads/`.

In come requests that each bring a piece of an upload, and questions how far it is. Out go sessions, opened as
soon as the first photograph is in, and the answers those two protocols want. What the header fields mean is
decided in `draft_headers` and `tus_headers`, which are pure; bytes are kept by `pinactors.storage`; the event
loop touches no disk.
"""
