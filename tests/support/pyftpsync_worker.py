"""Runs pyftpsync's synchronizers, one job per line of JSON on standard input, one line of JSON back for each.

A job: {"command": "upload" | "download" | "sync", "local": PATH, "remote": PATH or URL, "options": {...}}.
An answer: {"error": null or text, "cells": {"LOCAL,REMOTE": count of such pairs}, "output": what pyftpsync printed}.

With --mended, pyftpsync's known defects are mended first, so that whatever differs from coracle after that is a finding. Every
mend below bears the words of the defect it is about; tests/differences.rs shows each of them with pyftpsync as it is.
"""

import collections
import contextlib
import io
import json
import os
import sys
import traceback

from ftpsync import resources, synchronizers, util
from ftpsync.ftp_target import FTPTarget
from ftpsync.metadata import DirMetadata
from ftpsync.resources import EntryPair, _Resource
from ftpsync.synchronizers import BaseSynchronizer, BiDirSynchronizer, DownloadSynchronizer, UploadSynchronizer, match_path
from ftpsync.targets import FsTarget, make_target

SYNCHRONIZERS = {"upload": UploadSynchronizer, "download": DownloadSynchronizer, "sync": BiDirSynchronizer}

# The pairs of the job in hand, by the statuses of both sides.
cells = collections.Counter()


def wrap(owner, name):
    """Replaces a method by the decorated function, which gets the method first."""

    def decorate(function):
        original = getattr(owner, name)
        setattr(owner, name, lambda self, *args: function(original, self, *args))
        return function

    return decorate


def records(sync):
    return sync.local.cur_dir_meta.dir["peer_sync"].get(sync.remote.get_id(), {})


def watch():
    @wrap(EntryPair, "classify")
    def classify(original, pair, peer_dir_meta):
        operation = original(pair, peer_dir_meta)
        cells[f"{pair.local_classification},{pair.remote_classification}"] += 1
        return operation


def mend_names_gone_on_both_sides():
    """pairs come from the two listings only; a name gone on both sides is never forgotten"""

    @wrap(BaseSynchronizer, "_sync_dir")
    def _sync_dir(original, sync):
        sync.is_pairing = True
        return original(sync)

    def forget(sync, names):
        meta = sync.local.cur_dir_meta
        for name, row in list(records(sync).items()):
            if name.startswith(":") or name in names:
                continue
            entry = resources.DirectoryEntry if row["m"] is None else resources.FileEntry
            if match_path(entry(sync.local, "", name, 0, 0, None), sync.options):
                cells["deleted,deleted"] += 1
            meta.remove(name)

    def get_dir(original, target):
        entries = original(target)
        sync = target.synchronizer
        names = {entry.name for entry in entries}
        if getattr(sync, "copying", 0):
            # A directory that the user renamed brought its metadata along.
            if target is sync.local:
                forget(sync, names)
        elif getattr(sync, "is_pairing", False):
            if target is sync.local:
                sync.local_names = names
            else:
                sync.is_pairing = False
                forget(sync, names | sync.local_names)
        return entries

    wrap(FsTarget, "get_dir")(get_dir)
    wrap(FTPTarget, "get_dir")(get_dir)


def mend_filters_in_new_directories():
    """filters are not applied inside newly copied directories"""

    @wrap(BaseSynchronizer, "_copy_recursive")
    def _copy_recursive(original, sync, *args):
        sync.copying = getattr(sync, "copying", 0) + 1
        try:
            return original(sync, *args)
        finally:
            sync.copying -= 1

    def get_dir(original, target):
        entries = original(target)
        sync = target.synchronizer
        return [entry for entry in entries if not getattr(sync, "copying", 0) or sync._match(entry)]

    wrap(FsTarget, "get_dir")(get_dir)
    wrap(FTPTarget, "get_dir")(get_dir)


def mend_filters_in_deleted_directories():
    """a directory deleted on one side removes the peer's: here as far as it removes what the filter rejects"""

    def purge(sync, target, name):
        sync.local.push_meta()
        if target is not sync.local:
            target.push_meta()
        target.cwd(name)
        is_empty = True
        for entry in target.get_dir():
            if not sync._match(entry):
                is_empty = False
            elif entry.is_dir():
                is_empty &= purge(sync, target, entry.name)
            else:
                target.remove_file(entry.name)
                target.remove_sync_info(entry.name)
        target.flush_meta()
        target.cwd("..")
        if target is not sync.local:
            target.pop_meta()
        sync.local.pop_meta()
        if is_empty:
            target.rmdir(name)
            target.remove_sync_info(name)
        return is_empty

    @wrap(BaseSynchronizer, "_remove_dir")
    def _remove_dir(original, sync, entry):
        if sync.dry_run or sync.options.get("delete_unmatched"):
            original(sync, entry)
        else:
            purge(sync, entry.target, entry.name)


def mend_metadata_lost_by_deletions():
    """a deletion on FTP drops the directory's other metadata changes of that run"""

    @wrap(DirMetadata, "remove")
    def remove(original, meta, name):
        was_modified = meta.modified_sync
        original(meta, name)
        meta.modified_sync = meta.modified_sync or was_modified


def mend_resolution_of_deletions():
    """(modified, deleted) with --resolve new or old: NotImplementedError; upload --resolve local deletes without --delete"""

    def resolve(original, sync, pair):
        answer = original(sync, pair)
        if pair.local and pair.remote:
            return answer
        if answer in ("new", "old"):
            return "skip"
        deletes = (answer == "local" and not pair.local) or (answer == "remote" and not pair.remote)
        is_mirror = isinstance(sync, (UploadSynchronizer, DownloadSynchronizer))
        return "skip" if deletes and is_mirror and not sync.options.get("delete") else answer

    for owner in SYNCHRONIZERS.values():
        wrap(owner, "_interactive_resolve")(resolve)


def mend_records_of_another_type():
    """a record of a file and a directory of that name now: the directory is deleted with its content"""

    @wrap(EntryPair, "classify")
    def classify(original, pair, rows):
        row = rows.get(pair.name) if rows else None
        if row and (row["m"] is None) != pair.is_dir:
            rows = {name: row for name, row in rows.items() if name != pair.name}
        return original(pair, rows)


def mend_unrecorded_equals():
    """equal files found without metadata are not recorded: a later deletion comes back"""

    def record(sync, entry):
        mtime, size = (None, None) if entry.is_dir() else (entry.mtime, entry.size)
        row = records(sync).get(entry.name)
        if not row or row["s"] != size or (size is not None and util.eps_compare(row["m"], mtime, 2.01) != 0):
            sync.local.set_sync_info(entry.name, mtime, size)

    @wrap(BiDirSynchronizer, "on_equal")
    def on_equal(original, sync, pair):
        original(sync, pair)
        record(sync, pair.local)

    @wrap(BiDirSynchronizer, "on_need_compare")
    def on_need_compare(original, sync, pair):
        original(sync, pair)
        if pair.is_dir:
            record(sync, pair.local)


def mend_same_change_on_both_sides():
    """the same change on both sides is a conflict when there are records"""

    @wrap(BiDirSynchronizer, "on_conflict")
    def on_conflict(original, sync, pair):
        both = pair.local and pair.remote
        if both and pair.is_same_time() and pair.local.size == pair.remote.size:
            return sync.on_equal(pair)
        return original(sync, pair)


def forget_all(sync, pair):
    """Drops what is recorded of an entry, and of all below it."""
    if sync.dry_run:
        return
    sync.local.cur_dir_meta.remove(pair.name)
    sync.local.cur_dir_meta.modified_sync = True
    below = os.path.join(sync.local.root_dir, sync.local.cur_dir.lstrip("/"), pair.name)
    for top, _, names in os.walk(below):
        if DirMetadata.META_FILE_NAME in names:
            os.remove(os.path.join(top, DirMetadata.META_FILE_NAME))


def mend_deletions_that_are_not_carried_over():
    """upload without --delete keeps the records of what was deleted locally; a later sync deletes it on the server"""

    def skip(original, sync, pair):
        original(sync, pair)
        if not sync.options.get("delete") and records(sync).get(pair.name):
            forget_all(sync, pair)

    wrap(UploadSynchronizer, "on_delete_remote")(skip)
    wrap(DownloadSynchronizer, "on_delete_local")(skip)


def mend_what_the_filter_leaves_out():
    """an excluded directory that exists on both sides is synced all the same; and what was done to an entry while the filter
    rejected it is carried over later"""

    def on_mismatch(original, sync, pair):
        original(sync, pair)
        is_as_recorded = pair.local_classification == pair.remote_classification == "unmodified"
        if not pair.any_entry.was_deleted and not is_as_recorded and records(sync).get(pair.name):
            forget_all(sync, pair)
        pair.any_entry.was_deleted = True

    # Upload and download inherit nothing here, so that none of them is wrapped twice.
    for owner in SYNCHRONIZERS.values():
        wrap(owner, "on_mismatch")(on_mismatch)


def mend_first_meetings():
    """first meeting in sync: the newer one wins, silently"""

    @wrap(BiDirSynchronizer, "on_need_compare")
    def on_need_compare(original, sync, pair):
        is_meeting = pair.local_classification == pair.remote_classification == "existing"
        if type(sync) is BiDirSynchronizer and is_meeting and not pair.is_dir and not pair.is_same_time():
            pair.local_classification = pair.remote_classification = "modified"
            return sync.on_conflict(pair)
        return original(sync, pair)


def mend_surplus_directories():
    """upload --delete without records removes remote-only files but not directories"""

    @wrap(_Resource, "classify")
    def classify(original, entry, rows):
        original(entry, rows)
        if entry.is_dir() and not rows:
            entry.classification = "existing"
        return entry.classification


def run(job):
    cells.clear()
    error = None
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            local, remote = make_target(job["local"]), make_target(job["remote"])
            sync = SYNCHRONIZERS[job["command"]](local, remote, job["options"])
            sync.run()
        except Exception:
            error = traceback.format_exc()
    return {"error": error, "cells": cells, "output": output.getvalue()}


if __name__ == "__main__":
    util.set_pyftpsync_logger(None)
    watch()
    if "--mended" in sys.argv:
        for name, mend in list(globals().items()):
            if name.startswith("mend_"):
                mend()
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)
