"""Runs a command on a terminal of its own and talks with it as a person would. Started by tests/terminal.rs.

    terminal.py STEPS COMMAND [ARGUMENT...]

STEPS is a JSON list of ["expect", TEXT] (waits until the command has shown it, after what was shown before), ["send", TEXT]
(types it) and ["columns", NUMBER] (first: how wide the terminal is). Everything that was shown goes to standard output; the exit
code is the command's, 128 + N when signal N ended it, or 99 when an expected text did not come.
"""

import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time

PATIENCE_SECS = 30


def main():
    steps = json.loads(sys.argv[1])
    columns = 100
    if steps and steps[0][0] == "columns":
        columns = steps.pop(0)[1]
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.execv(sys.argv[2], sys.argv[2:])
    shown = b""
    seen = 0
    for what, text in steps:
        text = text.encode()
        if what == "send":
            os.write(terminal, text)
            continue
        until = time.monotonic() + PATIENCE_SECS
        while (at := shown.find(text, seen)) < 0:
            more = read(terminal, until)
            if not more:
                fail(child, shown, text)
            shown += more
        seen = at + len(text)
    until = time.monotonic() + PATIENCE_SECS
    while more := read(terminal, until):
        shown += more
    sys.stdout.buffer.write(shown)
    sys.stdout.buffer.flush()
    if time.monotonic() >= until:
        fail(child, shown, b"the end")
    _, status = os.waitpid(child, 0)
    sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def read(terminal, until):
    """What is shown next; nothing at the end or when the time is up."""
    left = until - time.monotonic()
    if left <= 0 or not select.select([terminal], [], [], left)[0]:
        return b""
    try:
        return os.read(terminal, 65536)
    except OSError:
        # Linux tells so that nobody has the terminal open any more.
        return b""


def fail(child, shown, text):
    os.kill(child, 9)
    sys.stderr.write(f"{text!r} did not come; shown was:\n{shown.decode(errors='replace')}\n")
    sys.exit(99)


main()
