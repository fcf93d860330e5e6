"""Sessions at the proxy: spools a phone's upload, relays it to a master and keeps the phone's log of the
packets.

Receives a phone's upload or the id of a stream. Returns a packet log, which always ends, also if masters
fail. `session` holds one session, `sessions` all of them; files (`spool`, `journal`) are accessed in threads
only.
"""
