"""Sessions at the proxy: an upload spooled on its way to a master, and the phone's log of what comes back.

Comes in: a phone's upload, or the name of a stream. Goes out: a log that ends, whatever happens to masters.
`session` is one of them, `sessions` are all; files are touched in threads only (`spool`, `journal`).
"""
