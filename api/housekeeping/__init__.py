"""What a server does beside its requests: it removes photographs without a reference, and photographs and
analyses older than the settings allow; and it runs Python's full garbage collections (`collection`).

Works on the stores, the records and the process's memory. Its only output is the log. Nothing that a session
or a record needs may be removed.
"""
