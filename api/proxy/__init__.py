"""The streaming proxy: packet assembly and routing in front of one or many masters.

A phone's upload is written to disk (spooled) as it arrives and relayed to a master at the same time. The
master's packets are copied to the phone's own log (`pinactors.pipeline.log.PacketLog`), and every answer is a
reader of that log, by the same code as at the master: streams, events, long-polling and the desktop's single
object.

**Names.** A stream keeps the id that its first master gave it. Without a failure the phone receives the
master's bytes unchanged, and a proxy without any record of a stream (another proxy, or one that lost its
disk) finds the stream by asking the masters, in rendezvous order of the id. The masters do not record that a
session has moved to another master: a small journal on the proxy's disk does, together with the delivered
packets. The proxy creates a stream id itself only if no master answers in time.

**Failover.** A broken connection is resumed at the same master from the next packet on. If a master fails or
misbehaves, its session is started again from the spool on the next master in rendezvous order; packet types
already delivered are not repeated, and the other packets get the phone's session id and the next sequence
number. The first deadline applies to all attempts together.

**Masters that share a packet log** (`/health` tells whether they do) can serve every stream by its id and can
continue each other's sessions. The proxy then keeps no journal, and continues to read the same stream at
another master instead of starting its session again. It still keeps uploads until their sessions end, and
the order of masters, so that all phones of a session are sent to the master that works on it.

**Keys** are checked by the masters: a phone's key is forwarded, kept in memory while its session runs and
never stored; the proxy stores only its hash, to tell whose a session is. If a request has another key than
the session's, the proxy asks the master whether to accept it.
"""
