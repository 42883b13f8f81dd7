"""One gateway as several server processes on one port.

A supervisor listens, starts the processes and starts dead ones again; each process is a whole
gateway that accepts from the same socket. What they share goes through Redis; metrics are summed
by the supervisor, whichever process is asked for them.
"""
