"""Serves a directory by FTP with Twisted or aioftp: strange_servers.py NAME ROOT PORT USER PASSWORD."""

import sys

NAME, ROOT, PORT, USER, PASSWORD = sys.argv[1:]


def twisted():
    from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
    from twisted.cred.portal import IRealm, Portal
    from twisted.internet import reactor
    from twisted.protocols.ftp import FTPFactory, FTPShell, IFTPShell
    from twisted.python.filepath import FilePath
    from zope.interface import implementer

    @implementer(IRealm)
    class Realm:
        def requestAvatar(self, avatar, mind, *interfaces):
            return IFTPShell, FTPShell(FilePath(ROOT)), lambda: None

    users = InMemoryUsernamePasswordDatabaseDontUse()
    users.addUser(USER, PASSWORD)
    factory = FTPFactory(Portal(Realm(), [users]))
    reactor.listenTCP(int(PORT), factory, interface="127.0.0.1")
    reactor.run()


def aioftp():
    import asyncio
    import pathlib

    import aioftp

    async def serve():
        user = aioftp.User(USER, PASSWORD, base_path=pathlib.Path(ROOT), home_path="/")
        server = aioftp.Server([user])
        await server.start("127.0.0.1", int(PORT))
        await asyncio.Event().wait()

    asyncio.run(serve())


{"twisted": twisted, "aioftp": aioftp}[NAME]()
