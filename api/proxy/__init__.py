"""The streaming proxy: packet assembly and routing in front of one or many masters.

A phone's upload is spooled to disk as it comes and relayed to a master at once; the master's packets
become the phone's own log (`pinactors.pipeline.log.PacketLog`), and every answer is a reader on that log,
by the same code as at the master: streams, events, long-polling, and the desktop's one object.

**Names.** A stream keeps the id its first master gave it: an undisturbed phone gets the master's very
bytes, and a proxy that has never heard of a stream (another one, or one that lost its disk) finds it by
asking the masters, in rendezvous order of the id. What the masters cannot know, that a session has moved
to another master, stands in a small journal on the proxy's disk, beside the packets that were delivered.
Only where no master answered in time does the proxy make an id of its own.

**Failover.** A broken connection is resumed at the same master from the next packet on. A dead or bad
master's session is started again on the next one in rendezvous order, from the spool; packets whose type
was delivered are not repeated, the others get the phone's session id and the next sequence number. One
deadline, the first one, bounds it all.

**Masters that share a packet log** (`/health` says so) know every stream by its name, and go on with each
other's sessions: the proxy then keeps no journal, and reads the same stream on at another master instead of
starting its session again. It is left with what is on its way: uploads until their sessions end, and the
order of masters, so that a session's phones meet where its work is done.

**Keys** are the masters' business: a phone's key is forwarded, kept in memory as long as its session runs
and written nowhere; what is kept is its hash, which says whose a session is. Whoever comes with another
key is asked about at the master.
"""
