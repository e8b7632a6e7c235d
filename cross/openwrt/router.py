"""A root like OpenWrt's, for the tests here: BusyBox, the stand-ins of `root/`, and our own files as the packages have them."""

import io
import os
import pathlib
import shutil
import signal
import subprocess
import tarfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()

DIRECTORIES = "bin dev etc/config etc/coracle etc/crontabs etc/init.d lib mnt proc qemu root sbin tmp/.uci usr/bin usr/libexec"
DIRECTORIES += " usr/share var/log var/run"


class Router:
    """Its processes end with this one. `qemu` and `cpu` run programs of another machine; `quick` takes the stand-in of logger, which
    has written when it ends, instead of a running syslogd."""

    def __init__(self, path, qemu="-", cpu="-", quick=False):
        self.path = path
        for directory in DIRECTORIES.split():
            (path / directory).mkdir(parents=True)
        busybox = next((str(path) for path in [TARGET / "cross/bin/busybox"] if path.exists()), shutil.which("busybox"))
        assert busybox, "BusyBox is missing: cross/setup brings it"
        shutil.copy(busybox, path / "bin/busybox")
        for applet in subprocess.check_output([busybox, "--list"], text=True).split():
            if applet not in ("busybox", "logger" if quick else None):
                (path / "bin" / applet).symlink_to("busybox")
        for source, place in (
            ("functions.sh", "lib/functions.sh"),
            ("rc.common", "etc/rc.common"),
            ("cron.init", "etc/init.d/cron"),
            ("uci", "sbin/uci"),
            *([("logger", "bin/logger")] if quick else []),
        ):
            shutil.copy(HERE / "root" / source, path / place)
            (path / place).chmod(0o755)
        (path / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (path / "etc/group").write_text("root:x:0:\n")
        (path / "etc/crontabs/root").write_text("")
        (path / "var/log/messages").write_text("")
        os.mknod(path / "dev/null", 0o666 | 0o020000, os.makedev(1, 3))
        (path / "dev/null").chmod(0o666)
        (path / "dev/stderr").symlink_to("/proc/self/fd/2")
        if qemu != "-":
            shutil.copy(TARGET / "cross/bin" / qemu, path / "qemu" / qemu)
            wrapper = path / "qemu/coracle"
            wrapper.write_text(f'#!/bin/sh\nexec /qemu/{qemu} -cpu {cpu} /usr/bin/coracle "$@"\n')
            wrapper.chmod(0o755)
        # One process that all others descend from: what it and they start ends with it. It listens for commands of ours.
        last = "exec sleep 100000" if quick else "exec syslogd -n -O /var/log/messages"
        self.init = subprocess.Popen(
            [*"unshare --mount --pid --fork --kill-child".split(), "chroot", path, "/bin/sh", "-c"]
            + ["mount -t proc proc /proc && echo ready && " + last],
            stdout=subprocess.PIPE,
        )
        assert self.init.stdout.readline() == b"ready\n"
        children = pathlib.Path(f"/proc/{self.init.pid}/task/{self.init.pid}/children").read_text().split()
        self.pid = children[0]
        if not quick:
            wait_for("syslogd", 10, (path / "dev/log").exists)
        self.run("/etc/init.d/cron", "enable")

    def __del__(self):
        self.end()

    def end(self):
        self.init.send_signal(signal.SIGKILL)
        self.init.wait()

    def start(self, *command, environment=(), stdin=subprocess.DEVNULL):
        return subprocess.Popen(
            ["nsenter", "--target", self.pid, "--mount", "--pid", "chroot", self.path, *command],
            env={"PATH": "/qemu:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **dict(environment)},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command, code=0, environment=()):
        """Returns the output; None as code takes any."""
        running = self.start(*command, environment=environment)
        output, _ = running.communicate(timeout=120)
        assert code in (None, running.returncode), f"{command}: {running.returncode}\n{output}\n{self.log()}"
        self.code = running.returncode
        return output

    def sh(self, script, **how):
        return self.run("/bin/sh", "-c", script, **how)

    def read(self, path):
        return (self.path / path).read_text()

    def write(self, path, text, mode=0o644):
        place = self.path / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def log(self):
        return self.read("var/log/messages")

    def await_log(self, part):
        """Waits for a line of the log: syslogd writes it some time after the program that sent it has ended."""
        wait_for(f"'{part}' in the log", 30, lambda: part in self.log())

    def install(self, package):
        """Does what opkg does with a new package: a configuration that is there already stays."""
        parts = untar(package)
        assert parts["./debian-binary"] == b"2.0\n"
        control = untar(parts["./control.tar.gz"])
        assert b"Package: coracle\n" in control["./control"] and b"\nArchitecture: " in control["./control"]
        self.conffiles = control["./conffiles"].decode().split()
        with tarfile.open(fileobj=io.BytesIO(parts["./data.tar.gz"])) as data:
            self.files = [member.name for member in data.getmembers() if member.isfile()]
            kept = [name for name in self.files if name[1:] in self.conffiles and (self.path / name).exists()]
            data.extractall(self.path, [member for member in data.getmembers() if member.name not in kept])
        for script in ("postinst", "prerm"):
            (self.path / f"tmp/{script}").write_bytes(control[f"./{script}"])
        self.run("/bin/sh", "/tmp/postinst", "configure", code=None)

    def remove(self):
        self.run("/bin/sh", "/tmp/prerm", "remove", code=None)
        for name in self.files:
            if name.removeprefix(".") not in self.conffiles:
                (self.path / name).unlink()


def untar(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive.getmembers() if member.isfile()}


def wait_for(what, secs, condition):
    deadline = time.monotonic() + secs
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {secs} s"
        time.sleep(0.05)
