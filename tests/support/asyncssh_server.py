"""Serves SFTP for one user with a password, by asyncssh, until it is killed.

asyncssh_server.py HOST_KEY ADDRESS PORT USER PASSWORD UID

Started by root, it becomes UID.
"""

import asyncio
import os
import sys

import asyncssh

host_key, address, port, user, password, uid = sys.argv[1:]


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, given):
        return username == user and given == password


async def main():
    await asyncssh.listen(
        address,
        int(port),
        server_factory=Server,
        server_host_keys=[asyncssh.read_private_key(host_key)],
        sftp_factory=asyncssh.SFTPServer,
    )
    if os.geteuid() == 0:
        os.setgid(int(uid))
        os.setuid(int(uid))
    await asyncio.Event().wait()


asyncio.run(main())
