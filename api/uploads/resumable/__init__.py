"""Resumable uploads: the IETF draft on `/mobile-upload` and tus 1.0 on `/uploads/`.

Receives requests that each carry a part of an upload or ask for its offset. Opens a session
once the front photograph is in (tus: when the first upload is created), and answers as the two protocols
require. `draft_headers` and `tus_headers` interpret the header fields and are pure; `pinactors.storage` keeps
the bytes; the event loop touches no disk.
"""
