"""Serves one directory with pyftpdlib until killed. Started by servers.rs, which explains the options."""

import argparse
import logging
import os
import time
import unicodedata

# Python and pyftpdlib import these when they are first needed, which is too late inside a chroot.
import _strptime  # noqa: F401
import encodings.idna  # noqa: F401
import encodings.latin_1  # noqa: F401
import grp  # noqa: F401
import pwd  # noqa: F401

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

parser = argparse.ArgumentParser()
parser.add_argument("root")
parser.add_argument("address")
parser.add_argument("port", type=int)
parser.add_argument("user")
parser.add_argument("password")
parser.add_argument("--uid", type=int, help="serve as this user, with root as the whole file system")
parser.add_argument("--umask", type=lambda octal: int(octal, 8), default=0o022)
parser.add_argument("--idle-secs", type=int)
parser.add_argument("--sessions-per-ip", type=int)
parser.add_argument("--read-only", action="store_true")
parser.add_argument("--without-mfmt", action="store_true")
parser.add_argument("--tls-cert", help="speak TLS on request, on all connections, with this certificate")
parser.add_argument("--tls-key")
parser.add_argument("--names", choices=["fold", "lower", "decompose", "strip"], help="do this to every name, as other file systems do")
parser.add_argument("--tls-version", choices=["1.2", "1.3"], help="speak no other version")
options = parser.parse_args()

logging.basicConfig(level=logging.DEBUG)


if options.tls_cert:
    from OpenSSL import SSL
    from pyftpdlib.handlers import TLS_FTPHandler as Base
else:
    Base = FTPHandler


class Handler(Base):
    proto_cmds = dict(Base.proto_cmds)


if options.tls_cert:
    Handler.certfile = options.tls_cert
    Handler.keyfile = options.tls_key
    Handler.tls_control_required = True
    Handler.tls_data_required = True
    # Made now: the files may lie outside the chroot.
    Handler.ssl_context = Handler.get_ssl_context()
    if options.tls_version:
        version = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}[options.tls_version]
        Handler.ssl_context.set_min_proto_version(version)
        Handler.ssl_context.set_max_proto_version(version)

if options.without_mfmt:
    # FEAT is made from this table too.
    del Handler.proto_cmds["MFMT"]
if options.idle_secs is not None:
    Handler.timeout = options.idle_secs


def spelled(directory, name):
    """Under which name a directory has what it was asked for by this one."""
    if options.names == "lower":
        return name.lower()
    if options.names == "decompose":
        return unicodedata.normalize("NFD", name)
    if options.names == "strip":
        return name.rstrip(" .") or name
    if os.path.isdir(directory):
        for other in os.listdir(directory):
            if other.lower() == name.lower():
                return other
    return name


class Spelling(AbstractedFS):
    def ftp2fs(self, ftppath):
        path = super().ftp2fs(ftppath)
        below = os.path.relpath(path, self.root)
        path = self.root
        for name in [] if below == "." else below.split(os.sep):
            path = os.path.join(path, spelled(path, name))
        return path


if options.names:
    Handler.abstracted_fs = Spelling

server = FTPServer((options.address, options.port), Handler)
if options.sessions_per_ip is not None:
    server.max_cons_per_ip = options.sessions_per_ip

os.umask(options.umask)
time.tzset()
root = options.root
if options.uid is not None:
    os.chroot(root)
    os.chdir("/")
    os.setgroups([])
    os.setgid(options.uid)
    os.setuid(options.uid)
    root = "/"

Handler.authorizer = DummyAuthorizer()
Handler.authorizer.add_user(options.user, options.password, root, perm="elr" if options.read_only else "elradfmwMT")
server.serve_forever()
