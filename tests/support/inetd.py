"""Starts a server that speaks on its standard input and output, once for each connection: inetd.py HOST PORT DIR PROGRAM [ARGUMENTS]."""

import os
import signal
import socket
import sys

HOST, PORT, DIR, *PROGRAM = sys.argv[1:]

os.chdir(DIR)
# Nobody waits for the children.
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
family = socket.AF_INET6 if ":" in HOST else socket.AF_INET
with socket.create_server((HOST, int(PORT)), family=family, backlog=64) as listener:
    while True:
        client, _ = listener.accept()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for stream in (0, 1, 2):
                os.dup2(client.fileno(), stream)
            os.execv(PROGRAM[0], PROGRAM)
        client.close()
