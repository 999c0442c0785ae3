"""Machines that are namespaces of this one: each has an SSH server, a home and an address.

They share one Ethernet bridge. The caller is alone already (`raylets.run_alone`), so that the
bridge, the mounts and every process end with it, however it ends.

Promises: a machine has its own processes, network, temporary folder, home and `/etc/hosts`. Where
this project is, it sees only what was copied to its home: what a cluster file forgets is missed.
Not covered: an OpenSSH of 9.8 or newer that is unpacked and not installed; it looks for its second
program in /usr.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.live.raylets import ALONE, ROOT

UNPACKED = Path(sys.prefix) / "ssh"
"""Where `make test` unpacks Debian's packages on a machine that lacks them."""
PROGRAMS = {
    "ip": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "rsync": "rsync",
}
"""What the machines need, and Debian's package that has it."""
USER = "ubuntu"
LAPTOP = "192.168.10.1"
"""The caller's address on the bridge."""

# Own temporary files; what the project needs of a shared /tmp is still there.
_OWN_TMP = """
own=$1; shift; mkdir -p $own; mount -t tmpfs none $own
for kept; do case $kept in /tmp/*)
  mkdir -p $own/${kept#/tmp/}; mount --rbind $kept $own/${kept#/tmp/};; esac; done
mount --move $own /tmp
"""
# The environment is there, with stamps of its own: `make install` finds that it has nothing to do.
_MACHINE = """
set -e; root=$1 venv=$2 home=$3 sshd=$4
mount --bind $home/etc/passwd /etc/passwd; mount --bind $home/etc/hosts /etc/hosts
own=$home/hansom/.venv; mkdir -p $own; touch $own/.created $own/.requirements $own/.installed
for one in $venv/*; do
  if test -d $one -a ! -L $one; then mkdir $own/${one##*/}; mount --rbind $one $own/${one##*/}
  else cp -P $one $own; fi; done
mount --rbind $home/hansom $root
exec $sshd -D -e -f $home/etc/sshd_config
"""


def missing() -> str:
    """Why there can be no such machines here, in words; empty where they can be."""
    lacking = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if lacking:
        packages = " ".join(sorted({PROGRAMS[name] for name in lacking}))
        return f"needs {', '.join(lacking)} (apt install {packages}, or make install-dev)"
    bridge = "ip link add br0 type bridge && ip link add one type veth peer name other"
    try:
        done = subprocess.run([*ALONE, "sh", "-c", bridge], capture_output=True)
    except OSError:
        return "needs unshare (apt install util-linux)"
    return "" if done.returncode == 0 else "needs network namespaces and a bridge (root)"


def search_path() -> str:
    """This environment's programs, the system's and those that were unpacked."""
    more = [UNPACKED / "usr/bin", UNPACKED / "usr/sbin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
    return ":".join([f"{sys.prefix}/bin", os.environ.get("PATH", ""), *map(str, more)])


def libraries() -> str:
    """Where the unpacked programs find theirs."""
    return ":".join(str(path) for path in UNPACKED.glob("usr/lib/*-linux-gnu"))


@dataclass(frozen=True, slots=True)
class Lan:
    """The bridge, the laptop's home in `folder`, and names that every machine resolves."""

    folder: Path
    names: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "laptop"

    def start(self) -> None:
        """Private /run and /tmp, the bridge, and an SSH key. Call it before anything else."""
        _run("mount", "-t", "tmpfs", "none", "/run")
        for path in ("/run/netns", "/run/sshd"):
            Path(path).mkdir()
        _run("sh", "-ec", _OWN_TMP, "sh", "/run/tmp", *self.kept())
        _run("ip", "link", "add", "lan", "type", "bridge")
        _run("ip", "addr", "add", f"{LAPTOP}/24", "dev", "lan")
        _run("ip", "link", "set", "lan", "up")
        (self.home / ".ssh").mkdir(parents=True)
        _key(self.key)
        # ssh asks the system for its home, and not $HOME.
        _passwd(self.home, self.folder / "passwd")
        _run("mount", "--bind", str(self.folder / "passwd"), "/etc/passwd")

    @property
    def key(self) -> Path:
        return self.home / ".ssh" / "id_ed25519"

    def kept(self) -> list[str]:
        """The folders that stay visible if they are below /tmp."""
        paths = (self.folder, ROOT, Path(sys.base_prefix), Path(sys.prefix))
        return [str(path.resolve()) for path in paths]

    def environment(self) -> dict[str, str]:
        """What programs on the laptop are started with."""
        own = {"HOME": str(self.home), "PATH": search_path(), "LD_LIBRARY_PATH": libraries()}
        return {name: value for name, value in os.environ.items() if name[:4] != "RAY_"} | own


class Machine:
    """One machine on the bridge, reached by SSH with the laptop's key."""

    def __init__(self, lan: Lan, ip: str) -> None:
        self.ip = ip
        self.name = f"m{ip.rsplit('.', 1)[1]}"
        self.home = lan.folder / self.name
        self._lan = lan
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Plug it in and start its SSH server; returns when that answers."""
        self._furnish()
        _run("ip", "netns", "add", self.name)
        peer = ("type", "veth", "peer", "name", "eth0", "netns", self.name)
        _run("ip", "link", "add", self.name, *peer)
        _run("ip", "link", "set", self.name, "master", "lan", "up")
        inside = ("ip", "-n", self.name)
        _run(*inside, "addr", "add", f"{self.ip}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _run(*inside, "link", "set", link, "up")
        sshd = shutil.which("sshd", path=search_path())
        script = _OWN_TMP + "set -- $machine\n" + _MACHINE
        words = f"{ROOT} {sys.prefix} {self.home} {sshd}"
        alone = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
        command = ["ip", "netns", "exec", self.name, *alone, "sh", "-ec", script, "sh"]
        self._process = subprocess.Popen(
            [*command, f"/run/tmp-{self.name}", *self._lan.kept()],
            env=self._lan.environment() | {"machine": words},
            stderr=(self.home / "sshd.log").open("wb"),
        )
        self._wait()

    def link(self, state: str) -> None:
        """Pull its cable out (`down`), or put it in again (`up`)."""
        _run("ip", "link", "set", self.name, state)

    def run(self, command: str) -> str:
        """What a command prints that is run by SSH, as one does it by hand."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
        words = [word for option in options for word in ("-o", option)]
        return _run("ssh", "-i", str(self._lan.key), *words, f"{USER}@{self.ip}", command)

    def left(self) -> list[str]:
        """What still runs on it after 10 s, or nothing as soon as nothing does."""
        end_s = time.monotonic() + 10
        while (found := self.processes()) and time.monotonic() < end_s:
            time.sleep(0.1)
        return found

    def processes(self) -> list[str]:
        """The command lines of all that runs on it, its SSH server apart."""
        assert self._process is not None
        found = []
        for one in psutil.Process(self._process.pid).children(recursive=True):
            try:
                found.append(" ".join(one.cmdline()))
            except psutil.Error:
                continue  # it has just ended
        return [line for line in found if line and "sshd" not in line]

    def get(self, url: str, **headers: str) -> Any:
        """The JSON at an address that only the machine itself reaches."""
        script = (
            "import sys, json, httpx; url, headers = json.loads(sys.argv[1]); "
            "print(httpx.get(url, headers=headers, timeout=10).raise_for_status().text)"
        )
        words = [sys.executable, "-c", script, json.dumps([url, headers])]
        return json.loads(_run("ip", "netns", "exec", self.name, *words))

    def ray_log(self, pattern: str) -> str:
        """The end of a log of Ray's, by its name in the session's folder; empty without one."""
        assert self._process is not None
        inside = psutil.Process(self._process.pid).children()
        found = [
            log
            for one in inside
            for log in Path(f"/proc/{one.pid}/root/tmp/ray").glob(f"session_2*/logs/{pattern}")
        ]
        return "\n".join(log.read_text()[-3000:] for log in found)

    def _furnish(self) -> None:
        etc = self.home / "etc"
        etc.mkdir(parents=True)
        _key(etc / "host_key")
        _passwd(self.home, etc / "passwd")
        names = {"localhost": "127.0.0.1", self.name: self.ip, **self._lan.names}
        (etc / "hosts").write_text("".join(f"{ip} {name}\n" for name, ip in names.items()))
        # Python is there, as on a machine that somebody has set up; the project is not.
        found = f"{Path(sys.base_prefix) / 'bin'}:{search_path()}"
        found = found.replace(f"{sys.prefix}/bin:", "")
        exports = f"export PATH='{found}' LD_LIBRARY_PATH='{libraries()}'\n"
        (self.home / ".bashrc").write_text(exports)
        (self.home / ".profile").write_text(". ~/.bashrc\n")
        lines = [
            f"HostKey {etc / 'host_key'}",
            f"AuthorizedKeysFile {self._lan.key}.pub",
            f"SetEnv PATH={found} LD_LIBRARY_PATH={libraries()}",
            *("StrictModes no", "PermitRootLogin yes", "PidFile none", "UseDNS no", "UsePAM no"),
            "PasswordAuthentication no",
        ]
        (etc / "sshd_config").write_text("\n".join([*lines, ""]))

    def _wait(self) -> None:
        end_s = time.monotonic() + 15
        while True:
            try:
                socket.create_connection((self.ip, 22), timeout=1).close()
                return
            except OSError as error:
                told = (self.home / "sshd.log").read_text()
                assert self._process is not None and self._process.poll() is None, told
                assert time.monotonic() < end_s, f"{error}\n{told}"
                time.sleep(0.05)


def traces(folder: Path) -> list[int]:
    """The processes of this machine that still see anything of `folder` mounted."""
    return [pid for pid in _pids() if str(folder) in _mounts(pid)]


def _pids() -> Iterable[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _mounts(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "mountinfo").read_text()
    except OSError:
        return ""  # it has ended


def _passwd(home: Path, file: Path) -> None:
    users = [f"{USER}:x:0:0::{home}:/bin/bash", "sshd:x:100:65534::/run/sshd:/bin/false"]
    file.write_text("\n".join([*users, "nobody:x:65534:65534::/:/bin/false", ""]))


def _key(path: Path) -> None:
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))


def _run(*words: str) -> str:
    environment = os.environ | {"PATH": search_path(), "LD_LIBRARY_PATH": libraries()}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stderr or done.stdout}"
    return done.stdout


def _wait_with_one(folder: Path) -> None:
    """One machine that nobody stops: test_ray_up.py kills this and looks for what is left."""
    lan = Lan(folder)
    lan.start()
    machine = Machine(lan, "192.168.10.10")
    machine.start()
    print(machine.run("echo there"), flush=True)
    signal.pause()


if __name__ == "__main__":
    _wait_with_one(Path(sys.argv[1]))
