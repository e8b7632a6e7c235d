"""What pyftpsync's own `run` makes of task files, one case per line of JSON on standard input, one line of text back for each.

A case: {"here": the current directory, "args": [what follows `pyftpsync run`]}. The answer is `key=value` in a fixed order, as
tests/tasks.rs writes it for coracle, or `refused` and what pyftpsync says. Nothing is synced: the synchronizers are stood in for.
"""

import contextlib
import io
import json
import os
import sys
from urllib.parse import unquote, urlsplit

from ftpsync import pyftpsync as program
from ftpsync.synchronizers import process_options

PORTS = {"ftp": 21, "ftps": 21, "sftp": 22}


class Resolved(Exception):
    pass


def stand_in(local, remote, options):
    raise Resolved(options)


program.UploadSynchronizer = program.DownloadSynchronizer = program.BiDirSynchronizer = stand_in
program.make_target = lambda url, options: object.__new__(program.FsTarget)
program.FsTarget.__del__ = lambda self: None


def place(remote):
    if "://" not in remote:
        return os.path.normpath(os.path.join(os.getcwd(), remote))
    url = urlsplit(remote)
    port = url.port or PORTS[url.scheme]
    return f"{url.scheme}:{unquote(url.username or '')}:{url.hostname}:{port}:{os.path.normpath(unquote(url.path or '/'))}"


def line(options):
    process_options(options)
    on = [
        key
        for key in sorted(
            "create_folder delete delete_unmatched dry_run force ftp_active migrate no_color no_keyring no_netrc no_prompt "
            "no_verify_host_keys progress prompt report_problems".split()
        )
        if options.get(key)
    ]
    if "delete_unmatched" in on:
        on.remove("delete")
    return " ".join(
        [
            options["command"],
            f"local={os.path.normpath(options['local'])}",
            f"remote={place(options['remote'])}",
            f"match={','.join(options['match'])}",
            f"exclude={','.join(options['exclude'])}",
            f"resolve={options.get('resolve') or 'ask'}",
            f"case={options.get('case') or '-'}",
            f"verbose={options['verbose']}",
            f"on={','.join(on)}",
        ]
    )


def resolve(case):
    os.chdir(case["here"])
    sys.argv = ["pyftpsync", "run", *case["args"]]
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            program.run()
    except Resolved as resolved:
        return line(resolved.args[0])
    except SystemExit:
        return "refused " + " ".join(said.getvalue().split()[-40:])
    except Exception as error:
        return f"refused by a crash: {type(error).__name__}"
    return "nothing"


for text in sys.stdin:
    print(resolve(json.loads(text)), flush=True)
