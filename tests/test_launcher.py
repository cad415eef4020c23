"""The launcher survives whatever a program does, tells what it was, and leaves nothing behind.

Nothing here asserts on time: bad children are ended by their own deadlines, and "gone" is waited for.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.errors import BuildError, LauncherError
from tools.launcher import (
    Kind,
    LauncherClient,
    LaunchReply,
    LaunchRequest,
    Rlimits,
    Started,
    build_launcher,
    client,
    launcher_command,
    local_launcher,
    protocol,
)
from tools.runners import host

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.toolchain

SH = "/bin/sh"
MIB = 1 << 20
SOON_SECONDS = 20
"""How long to wait for what must happen at once; never reached on a healthy machine."""


@pytest.fixture(scope="session")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The launcher, compiled once."""
    return build_launcher(host.zig(), tmp_path_factory.mktemp("launcher"))


@pytest.fixture(params=[True, False], ids=["isolated", "plain"])
def launcher(binary: Path, request: pytest.FixtureRequest) -> Iterator[LauncherClient]:
    """A launcher with what the machine offers, and one that does without cgroups and namespaces."""
    with local_launcher(binary, cgroups=request.param, own_pids=request.param) as connected:
        yield connected


def running(launcher: LauncherClient, server: Started) -> bool:
    """Whether a started program lives, in the eyes of its launcher."""
    try:
        return launcher.usage(server).threads > 0
    except LauncherError:
        return False


def shell(script: str, **more: object) -> LaunchRequest:
    """Make a request that runs a shell script."""
    return LaunchRequest((SH, "-c", script), env={"PATH": "/usr/bin:/bin"}, **more)  # type: ignore[arg-type]  # a pipe, or fields of any type


def python(script: str, **more: object) -> LaunchRequest:
    """Make a request that runs a Python script."""
    return LaunchRequest((sys.executable, "-I", "-c", script), **more)  # type: ignore[arg-type]  # a pipe, or fields of any type


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait until something is true, or for much too long."""
    deadline = time.monotonic() + SOON_SECONDS
    while not (seen := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return seen


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def marked(marker: str) -> list[int]:
    """Processes that carry the marker in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if marker.encode() in words and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def groups_of(pid: int) -> list[Path]:
    """Cgroups that a launcher made."""
    return list(Path("/sys/fs/cgroup").rglob(f"deadheat-{pid}*"))


# --- what a run reports


def test_output_exit_code_and_usage(launcher: LauncherClient) -> None:
    """A run reports the exit code, both outputs byte for byte, and what it cost."""
    reply = launcher.run(shell("printf 'a\\000b\\377'; echo err >&2; exit 7"))
    assert (reply.kind, reply.code) == (Kind.EXITED, 7)
    assert (reply.stdout, reply.stderr) == (b"a\0b\xff", b"err\n")
    assert reply.wall_ns > 0
    assert reply.max_rss_bytes > 0
    assert reply.minor_faults > 0
    assert reply.leftover == reply.unkilled == reply.dropped_bytes == 0
    assert not reply.ok


def test_nothing_is_inherited(launcher: LauncherClient) -> None:
    """The environment is exactly the given one, stdin is empty, no descriptor leaks, no signal is blocked."""
    reply = launcher.run(LaunchRequest(("/usr/bin/env",), env={"ONLY": "thïs", "PAD": "x" * 4095}))
    assert reply.stdout.decode() == f"ONLY=thïs\nPAD={'x' * 4095}\n"
    assert launcher.run(LaunchRequest(("/bin/cat",))).stdout == b""
    assert (
        launcher.run(python("import os; print(sorted(os.listdir('/proc/self/fd')))")).stdout
        == b"['0', '1', '2', '3']\n"
    )
    status = launcher.run(LaunchRequest(("/bin/cat", "/proc/self/status"))).stdout.decode()
    masks = dict(line.split(":\t", 1) for line in status.splitlines())
    assert int(masks["SigBlk"], 16) == int(masks["SigIgn"], 16) == 0


def test_ignored_signals_of_the_harness_do_not_reach_a_lane(binary: Path) -> None:
    """A harness under nohup ignores SIGHUP; the lane does not."""
    words = [SH, "-c", f"trap '' HUP TERM PIPE; exec {binary}"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        with LauncherClient(child.stdin, child.stdout) as connected:
            status = connected.run(LaunchRequest(("/bin/cat", "/proc/self/status"))).stdout
    assert b"SigIgn:\t0000000000000000" in status


def test_working_directory_stdin_and_program(launcher: LauncherClient, tmp_path: Path) -> None:
    """cwd, a file as stdin, and a program that differs from argv[0]."""
    (tmp_path / "in.txt").write_bytes(b"from a file")
    assert launcher.run(LaunchRequest(("/bin/pwd",), cwd=str(tmp_path))).stdout.decode().strip() == str(tmp_path)
    assert launcher.run(LaunchRequest(("/bin/cat",), stdin=str(tmp_path / "in.txt"))).stdout == b"from a file"
    assert launcher.run(LaunchRequest(("other-name", "-c", "echo $0"), program=SH)).stdout == b"other-name\n"


def test_cpu_list(launcher: LauncherClient) -> None:
    """The lane may run only where it was told to."""
    cpu = max(os.sched_getaffinity(0))
    reply = launcher.run(python("import os; print(*os.sched_getaffinity(0))", cpus=str(cpu)))
    assert reply.stdout.split() == [str(cpu).encode()]


def test_rlimits(launcher: LauncherClient) -> None:
    """Limits reach the lane; core dumps are off unless asked for."""
    limits = Rlimits(nofile=77, file_bytes=4096, address_space_bytes=900 * MIB, data_bytes=800 * MIB)
    names = ("NOFILE", "CORE", "FSIZE", "AS", "DATA")
    script = f"import resource as r; print(*[r.getrlimit(getattr(r, 'RLIMIT_' + n))[0] for n in {names}])"
    reply = launcher.run(python(script, rlimits=limits))
    assert reply.stdout.split() == [str(n).encode() for n in (77, 0, 4096, 900 * MIB, 800 * MIB)]


def test_lane_is_alone_in_its_session(launcher: LauncherClient) -> None:
    """A signal to the lane's process group cannot hit the launcher."""
    assert launcher.run(python("import os; print(os.getsid(0) == os.getpid() == os.getpgid(0))")).stdout == b"True\n"
    assert launcher.run(shell("kill -TERM 0; sleep 60")).kind is Kind.SIGNALLED
    assert launcher.run(shell("exit 0")).ok


def test_memory_is_the_lanes_own(launcher: LauncherClient) -> None:
    """Neither the harness's memory nor a big output kept by the launcher shows in a later lane's peak."""
    ballast = bytearray(64 * MIB)
    loud = launcher.run(python("print('x' * (40 << 20))", stdout_cap_bytes=64 * MIB))
    assert len(loud.stdout) == 40 * MIB + 1
    small = launcher.run(LaunchRequest(("/bin/true",)))
    assert small.max_rss_bytes < 16 * MIB
    del ballast


def test_pressure_is_read(launcher: LauncherClient) -> None:
    """Steal and PSI are differences, so never negative; PSI is None where the kernel does not say."""
    reply = launcher.run(shell("sleep 0.05"))
    assert reply.steal_ticks >= 0
    assert reply.steal_share is None or 0 <= reply.steal_share <= 1
    assert (reply.psi_some_us is None) == (not Path("/proc/pressure/cpu").exists())


# --- bad children


def test_crash(launcher: LauncherClient) -> None:
    """A lane that dies by a signal is reported with it."""
    reply = launcher.run(shell("kill -SEGV $$"))
    assert (reply.kind, reply.code) == (Kind.SIGNALLED, signal.SIGSEGV)


def test_hang(launcher: LauncherClient) -> None:
    """A lane that ignores every signal is killed at its deadline, and what it said is kept."""
    reply = launcher.run(shell("trap '' TERM INT HUP; echo started; while :; do sleep 60; done", timeout_ms=300))
    assert reply.kind is Kind.TIMEOUT
    assert reply.stdout == b"started\n"
    assert reply.leftover == 1


@pytest.mark.parametrize("name", ["/nowhere/lane", "/etc/passwd", "/etc"])
def test_what_cannot_be_executed(launcher: LauncherClient, name: str) -> None:
    """A missing file, one without permission and a folder are named as failed exec, and the next run works."""
    reply = launcher.run(LaunchRequest((name,)))
    assert (reply.kind, reply.step) == (Kind.SPAWN_FAILED, "exec")
    assert os.strerror(reply.code) in {"No such file or directory", "Permission denied"}
    assert launcher.run(shell("exit 0")).ok


def test_what_cannot_be_prepared(launcher: LauncherClient) -> None:
    """A missing folder, a missing stdin and a CPU that is not there are named by their step."""
    asked = {"cwd": "/nowhere", "stdin": "/nowhere", "cpus": "1000"}
    replies = {step: launcher.run(shell("exit 0", **{step: value})) for step, value in asked.items()}
    assert {step: (reply.kind, reply.step) for step, reply in replies.items()} == {
        step: (Kind.SPAWN_FAILED, step) for step in asked
    }


@pytest.mark.parametrize("stream", ["1", "2"])
def test_flood(launcher: LauncherClient, stream: str) -> None:
    """Output beyond the cap ends the lane; the part within the cap is kept."""
    reply = launcher.run(shell(f"exec yes >&{stream}", stdout_cap_bytes=10_000, stderr_cap_bytes=10_000))
    assert reply.kind is Kind.FLOOD
    assert len(reply.stdout + reply.stderr) == 10_000


def test_a_flood_may_be_dropped_instead(launcher: LauncherClient) -> None:
    """A service's long log is cut, counted, and does not end it."""
    reply = launcher.run(shell("head -c 300000 /dev/zero", stdout_cap_bytes=1000, drop_overflow=True))
    assert reply.ok
    assert (len(reply.stdout), reply.dropped_bytes) == (1000, 299_000)


def test_output_of_exactly_the_cap_is_no_flood(launcher: LauncherClient) -> None:
    """The cap is the last byte allowed."""
    assert launcher.run(shell("head -c 1000 /dev/zero", stdout_cap_bytes=1000)).ok
    assert launcher.run(shell("head -c 1001 /dev/zero", stdout_cap_bytes=1000)).kind is Kind.FLOOD


def test_flood_after_the_end(launcher: LauncherClient) -> None:
    """What stands in the pipe when the lane ends is read, and counts."""
    assert len(launcher.run(shell("head -c 60000 /dev/zero")).stdout) == 60_000
    assert launcher.run(shell("head -c 60000 /dev/zero", stdout_cap_bytes=50_000)).kind is Kind.FLOOD


def test_closed_outputs(launcher: LauncherClient) -> None:
    """A lane that closes its outputs and works on is waited for."""
    reply = launcher.run(shell("exec >&- 2>&-; sleep 0.1; exit 5"))
    assert (reply.kind, reply.code) == (Kind.EXITED, 5)


TREE = """
import os, sys, time
for depth in range(3):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            sys.argv = ['x']
            time.sleep(600)
        os._exit(0)
    os.wait()
print('ready', flush=True)
"""


def test_descendants_that_hide_are_found(launcher: LauncherClient, tmp_path: Path) -> None:
    """Daemons (forked twice, own session) left by a lane that ended are killed and counted."""
    reply = launcher.run(python(f"MARK = '{tmp_path}'\n{TREE}"))
    assert (reply.kind, reply.code, reply.stdout) == (Kind.EXITED, 0, b"ready\n")
    assert reply.leftover == 3
    assert not reply.ok
    assert marked(str(tmp_path)) == []


def test_descendants_that_hold_the_pipe_do_not_hold_the_run(launcher: LauncherClient) -> None:
    """The run ends with the main process, though a child still has its stdout open."""
    reply = launcher.run(shell("echo first; sleep 600 & exit 0"))
    assert (reply.kind, reply.stdout, reply.leftover) == (Kind.EXITED, b"first\n", 1)


STORM = """
import os, time
MARK = {mark!r}
print('storm', flush=True)
for _ in range(6):
    try:
        os.fork()
    except OSError:
        pass
os.setsid() if os.getpid() != os.getsid(0) else None
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    try:
        if os.fork() == 0 and os.fork():
            os._exit(0)
    except OSError:
        time.sleep(0.01)
"""


def test_fork_storm(binary: Path, tmp_path: Path) -> None:
    """Processes that fork and exit faster than one can list them all die, and the launcher goes on."""
    with local_launcher(binary, cgroup_pids=200) as connected:
        if connected.hello.pids == "rlimit" and os.geteuid() == 0:
            pytest.skip("root is exempt from RLIMIT_NPROC: a storm would not be bounded")
        reply = connected.run(python(STORM.format(mark=str(tmp_path)), timeout_ms=1500))
        assert reply.kind is Kind.TIMEOUT
        assert reply.leftover > 10
        assert reply.unkilled == 0
        assert marked(str(tmp_path)) == []
        assert connected.run(shell("exit 0")).ok


@pytest.fixture(params=[True, False], ids=["own-pids", "shared"])
def nobody(binary: Path, request: pytest.FixtureRequest) -> Iterator[LauncherClient]:
    """A launcher without any privilege."""
    if os.geteuid() != 0 or not shutil.which("perl"):
        pytest.skip("needs root to become nobody, and perl")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        copy = shutil.copy(binary, folder)
        words = launcher_command(
            copy, no_network=True, own_pids=request.param, cgroup_memory_bytes=100 * MIB, cgroup_pids=150
        )
        with (
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, user=65534, group=65534) as child,
            LauncherClient(child.stdin, child.stdout) as connected,  # type: ignore[arg-type]  # a pipe, or fields of any type
        ):
            yield connected


def test_fork_storm_without_privileges(nobody: LauncherClient, tmp_path: Path) -> None:
    """Without cgroups a storm is bounded by an rlimit, and stopping before killing ends it."""
    assert (nobody.hello.tree, nobody.hello.memory, nobody.hello.pids) == ("proc-scan", "rlimit", "rlimit")
    script = f"'{tmp_path}'; sleep 600 if fork; while (1) {{ fork; fork && exit }}"
    reply = nobody.run(LaunchRequest(("/usr/bin/perl", "-e", script), timeout_ms=1500))
    assert reply.kind is Kind.TIMEOUT
    assert reply.leftover > 10
    assert reply.unkilled == 0
    assert marked(str(tmp_path)) == []
    assert nobody.run(shell("exit 0")).ok


def test_no_network_without_privileges(nobody: LauncherClient) -> None:
    """A user namespace gives anybody a network namespace, where the kernel allows it; ids stay what they were."""
    assert nobody.hello.network.startswith(("isolated", "failed-"))
    assert nobody.run(LaunchRequest(("/usr/bin/id", "-u"))).stdout == b"65534\n"


def test_low_ports_without_privileges(nobody: LauncherClient) -> None:
    """In a network of its own anybody may have the port of DNS, whatever stands at it outside."""
    if not nobody.hello.network.startswith("isolated"):
        pytest.skip(f"this kernel gives no namespaces: {nobody.hello.network}")
    if not os.access("/proc/sys/net/ipv4/ip_unprivileged_port_start", os.W_OK):
        pytest.skip("/proc is read-only here, so the launcher cannot open these ports")
    script = 'print IO::Socket::INET->new(LocalAddr => "127.53.0.1:53", Listen => 1) ? "yes" : "no: $!"'
    assert nobody.run(LaunchRequest(("/usr/bin/perl", "-MIO::Socket::INET", "-e", script))).stdout == b"yes"


HOG = "b = bytearray(400 << 20); print(len(b))"


def test_memory_hog(binary: Path) -> None:
    """Beyond the memory limit a lane is OOM-killed (cgroup) or refused memory (rlimit), and the launcher lives."""
    with local_launcher(binary, cgroup_memory_bytes=100 * MIB) as connected:
        reply = connected.run(python(HOG, timeout_ms=60_000))
        if connected.hello.memory.startswith("cgroup"):
            assert (reply.kind, reply.code) == (Kind.OOM, signal.SIGKILL)
            assert reply.oom_kills >= 1
        else:
            assert b"MemoryError" in reply.stderr
        assert connected.run(shell("exit 0")).ok


def test_memory_hog_without_cgroups(binary: Path) -> None:
    """Where no cgroup is to be had the limit is an rlimit, and the hello says so."""
    with local_launcher(binary, cgroup_memory_bytes=100 * MIB, cgroup_pids=50, cgroups=False) as connected:
        assert (connected.hello.memory, connected.hello.pids, connected.hello.tree) == ("rlimit", "rlimit", "proc-scan")
        assert b"MemoryError" in connected.run(python(HOG)).stderr


def test_no_network(binary: Path) -> None:
    """With --no-network only a loopback of its own is left, and it works; otherwise the hello says what failed."""
    script = "import socket; s = socket.create_server(('127.0.0.1', 0)); print(socket.if_nameindex())"
    with local_launcher(binary, no_network=True) as connected:
        if connected.hello.network.startswith("failed"):
            pytest.skip(f"this kernel gives no namespaces: {connected.hello.network}")
        reply = connected.run(python(script))
        assert reply.stdout == b"[(1, 'lo')]\n", reply.stderr


# --- the harness dies


def start_raw(binary: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a launcher whose pipes the test holds itself."""
    return subprocess.Popen([binary, "--cgroup-pids", "100", *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def send(child: subprocess.Popen[bytes], verb: str, request: LaunchRequest) -> None:
    """Send a request and do not wait for the reply."""
    assert child.stdin
    child.stdin.write(protocol.encode_frame(verb, protocol.request_fields(request)))
    child.stdin.flush()


@dataclass(frozen=True)
class Busy:
    """A launcher with a server and, beside it, a run with daemons, all under way."""

    outside: subprocess.Popen[bytes]
    pid: int


@pytest.fixture(params=[[], ["--own-pids"]], ids=["shared", "own-pids"])
def busy(binary: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Busy]:
    """Launch everything and hand it over; nothing is cleaned here but the pipes."""
    with start_raw(binary, *request.param) as child:
        assert child.stdout
        hello = protocol.parse_hello(child.stdout.readline())
        if request.param and not hello.processes.startswith("isolated"):
            pytest.skip(f"this kernel gives no namespaces: {hello.processes}")
        send(child, "start", python(f"MARK = '{tmp_path}'\n{TREE}\ntime.sleep(600)", ready="ready"))
        assert child.stdout.readline().startswith(b"started ")
        send(child, "run", python(f"MARK = '{tmp_path}'\n{TREE}\ntime.sleep(600)"))
        assert eventually(lambda: len(marked(str(tmp_path))) == 8)
        yield Busy(child, hello.pid)


def hang_up(child: subprocess.Popen[bytes]) -> None:
    """Close the pipe, as the kernel does for a harness that died."""
    assert child.stdin
    child.stdin.close()


@pytest.mark.parametrize("ending", ["hang-up", "SIGTERM", "SIGINT", "SIGHUP"])
def test_end_of_the_harness_ends_everything(busy: Busy, tmp_path: Path, ending: str) -> None:
    """When the harness dies, or the launcher is told to end, no process and no cgroup is left."""
    child = busy.outside
    hang_up(child) if ending == "hang-up" else child.send_signal(signal.Signals[ending])
    assert child.wait(SOON_SECONDS) == 0
    assert marked(str(tmp_path)) == []
    assert groups_of(busy.pid) == []


def test_kill_9_of_the_harness(binary: Path, tmp_path: Path) -> None:
    """A harness killed with SIGKILL, in the middle of a run, takes everything along."""
    script = (
        "from pathlib import Path; from tools.launcher import *; import sys\n"
        "with local_launcher(Path(sys.argv[1])) as c: c.run(LaunchRequest(('/bin/sleep', '600', '--', sys.argv[2])))"
    )
    sleeper = python(f"MARK = '{tmp_path}'\nimport time; time.sleep(600)")
    script = script.replace("('/bin/sleep', '600', '--', sys.argv[2])", repr(sleeper.argv))
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen([sys.executable, "-c", script, binary], cwd=root) as harness:
        assert eventually(lambda: len(marked(str(tmp_path))) >= 2)
        harness.kill()
    assert eventually(lambda: marked(str(tmp_path)) == [])


def test_kill_9_of_the_launcher(busy: Busy, binary: Path, tmp_path: Path) -> None:
    """A launcher killed with SIGKILL takes the main processes along; the next one clears its cgroup and the rest."""
    busy.outside.kill()
    assert eventually(lambda: not alive(busy.pid))
    if not groups_of(busy.pid):
        assert eventually(lambda: len(marked(str(tmp_path))) <= 6)
        for pid in marked(str(tmp_path)):
            os.kill(pid, signal.SIGKILL)
    with local_launcher(binary, cgroup_pids=100):
        assert eventually(lambda: groups_of(busy.pid) == [])
    assert eventually(lambda: marked(str(tmp_path)) == [])


def test_own_pids_end_with_the_launcher(binary: Path, tmp_path: Path) -> None:
    """In a process namespace of its own even a launcher killed with SIGKILL, outside or inside, leaves no daemon."""
    for inside in (True, False):
        with local_launcher(binary) as connected:
            if not connected.hello.processes.startswith("isolated"):
                pytest.skip(f"this kernel gives no namespaces: {connected.hello.processes}")
            assert isinstance(
                connected.start(python(f"MARK = '{tmp_path}'\n{TREE}\ntime.sleep(600)", ready="ready")), Started
            )
            assert len(marked(str(tmp_path))) == 4
            status = Path(f"/proc/{connected.hello.pid}/status").read_text()
            outside = int(status.partition("PPid:")[2].split()[0])
            os.kill(connected.hello.pid if inside else outside, signal.SIGKILL)
            assert eventually(lambda: marked(str(tmp_path)) == [])


MASSACRE = """
import os, signal, time
others = [name for name in os.listdir('/proc') if name.isdigit()]
assert os.getppid() == 1 and len(others) < 10, 'this is not a namespace of our own'
if os.fork() == 0:
    time.sleep(600)
os.kill(-1, signal.SIGKILL)
"""


def test_a_lane_can_kill_only_its_own_kind(binary: Path) -> None:
    """With own pids, kill(-1, SIGKILL) reaches neither the launcher nor the machine."""
    with local_launcher(binary) as connected:
        if not connected.hello.processes.startswith("isolated"):
            pytest.skip(f"this kernel gives no namespaces: {connected.hello.processes}")
        reply = connected.run(python(MASSACRE))
        assert (reply.kind, reply.code, reply.stderr) == (Kind.EXITED, 0, b"")
        assert connected.run(shell("exit 0")).ok


# --- long-lived programs

SERVER = "trap 'echo drained; exit 0' TERM; echo starting; echo listening on :1; while :; do sleep 0.05; done"


def test_server_life(launcher: LauncherClient) -> None:
    """Start until ready, look at its usage, run another program beside it, ask it to end, and read how it did."""
    server = launcher.start(shell(SERVER, ready="listening on", ready_timeout_ms=60_000))
    assert isinstance(server, Started)
    assert server.ready_line == b"listening on :1"
    assert launcher.usage(server).rss_bytes > 0
    assert launcher.usage(server).fds >= 3
    assert launcher.run(shell("sleep 600 & exit 3")).leftover == 1
    assert running(launcher, server)
    launcher.signal(server, signal.SIGTERM)
    reply = launcher.wait(server, 60_000)
    assert (reply.kind, reply.code) == (Kind.EXITED, 0)
    assert reply.stdout == b"starting\nlistening on :1\ndrained\n"


def test_two_servers_are_kept_apart(launcher: LauncherClient) -> None:
    """The end of one server, with its daemons, leaves the other alone."""
    first, second = [launcher.start(shell(f"(setsid sleep 600 &); {SERVER}", ready="listening")) for _ in range(2)]
    assert isinstance(first, Started)
    assert isinstance(second, Started)
    launcher.signal(first, signal.SIGTERM)
    assert launcher.wait(first, 60_000).leftover >= 1
    assert running(launcher, second)
    with pytest.raises(LauncherError, match="unknown"):
        launcher.usage(first)
    launcher.signal(second, signal.SIGKILL)
    reply = launcher.wait(second, 60_000)
    assert (reply.kind, reply.code) == (Kind.SIGNALLED, signal.SIGKILL)


def test_server_that_never_gets_ready(launcher: LauncherClient) -> None:
    """Too late is a timeout, with what it said."""
    reply = launcher.start(shell("echo hello >&2; sleep 600", ready="listening", ready_timeout_ms=300))
    assert isinstance(reply, LaunchReply)
    assert (reply.kind, reply.stderr) == (Kind.TIMEOUT, b"hello\n")


def test_server_that_ends_before_it_is_ready(launcher: LauncherClient) -> None:
    """A port that is taken, or a missing file, is the program's own end."""
    reply = launcher.start(shell("echo 'address in use' >&2; exit 1", ready="listening"))
    assert isinstance(reply, LaunchReply)
    assert (reply.kind, reply.code, reply.stderr) == (Kind.EXITED, 1, b"address in use\n")
    missing = launcher.start(LaunchRequest(("/nowhere",)))
    assert isinstance(missing, LaunchReply)
    assert missing.kind is Kind.SPAWN_FAILED


def test_server_that_will_not_drain(launcher: LauncherClient) -> None:
    """After the timeout of `wait` the whole tree is killed."""
    server = launcher.start(shell("trap '' TERM; echo listening; while :; do sleep 1; done", ready="listening"))
    assert isinstance(server, Started)
    launcher.signal(server, signal.SIGTERM)
    assert launcher.wait(server, 200).kind is Kind.TIMEOUT
    assert not running(launcher, server)


def test_server_that_died_meanwhile(launcher: LauncherClient) -> None:
    """How it died is kept until somebody asks; a signal to it is an error, not a hit on another process."""
    server = launcher.start(shell("echo listening; exit 9", ready="listening"))
    if isinstance(server, Started):
        assert eventually(lambda: not running(launcher, server))
        reply = launcher.wait(server, 60_000)
    else:
        reply = server
    assert (reply.kind, reply.code) == (Kind.EXITED, 9)


# --- the protocol


def speak(binary: Path, request: bytes) -> bytes:
    """Send raw bytes to a launcher, hang up, and return all it said after its hello."""
    done = subprocess.run([binary], input=request, capture_output=True, timeout=SOON_SECONDS, check=True)
    return done.stdout.partition(b"\n")[2]


@pytest.mark.parametrize(
    "fields",
    [
        [("arg", b"/bin/true"), ("timeout_ms", b"-1")],
        [("arg", b"/bin/true"), ("timeout_ms", b"9" * 30)],
        [("arg", b"/bin/true"), ("cpus", b"0-")],
        [("arg", b"/bin/true"), ("cpus", b"3-1")],
        [("arg", b"/bin/true"), ("cpus", b"0-999999")],
        [("arg", b"/bin/\0true")],
        [("unheard-of", b"1")],
        [],
    ],
)
def test_requests_that_make_no_sense(binary: Path, fields: list[protocol.Field]) -> None:
    """A bad field is refused in words, nothing is started, and the conversation goes on."""
    with local_launcher(binary) as connected:
        verb, reply = connected._ask("run", fields)
        assert verb == "error"
        assert reply["message"]
        assert connected.run(shell("exit 0")).ok


@given(st.binary(max_size=200))
def test_garbage_does_no_harm(binary: Path, garbage: bytes) -> None:
    """Any bytes at all end in an error or a clean end."""
    body = b"run %d\n%s" % (len(garbage), garbage)
    assert speak(binary, body).startswith(b"error ")


def test_unknown_verbs_and_ids(binary: Path) -> None:
    """Orders for a program that is not there are refused."""
    for verb in ("signal", "wait", "usage", "sing"):
        assert b"unknown verb or id" in speak(binary, protocol.encode_frame(verb, [("id", b"5")]))


@given(st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), st.binary()))
def test_fields_survive_the_wire(fields: dict[str, bytes]) -> None:
    """Any bytes, newlines and lengths included, come out as they went in."""
    frame = protocol.encode_frame("result", list(fields.items()))
    head, _, body = frame.partition(b"\n")
    assert protocol.parse_head(head + b"\n") == ("result", len(body))
    assert protocol.parse_fields(body) == fields


@pytest.mark.parametrize(
    "hello", [b"", b"OpenSSH 9\n", b"DEADHEAT-LAUNCHER 2 pid=1\n", b"DEADHEAT-LAUNCHER 1\n", b"\xff"]
)
def test_strangers_are_refused(hello: bytes) -> None:
    """Only the launcher of this version is spoken to."""
    with pytest.raises(LauncherError, match="launcher"):
        LauncherClient(io.BytesIO(), io.BytesIO(hello))


GREETING = b"DEADHEAT-LAUNCHER 1 pid=1 network=host processes=shared tree=proc-scan memory=none pids=none wait=pidfd\n"


@pytest.mark.parametrize(
    "reply", [b"", b"result 10\nabc", b"result x\n", b"result 3\nabc", b"result 7\ncode 1\n", b"what 0\n"]
)
def test_broken_replies_are_errors(reply: bytes) -> None:
    """A launcher that dies or babbles ends the conversation with one clear error."""
    connected = LauncherClient(io.BytesIO(), io.BytesIO(GREETING + reply))
    with pytest.raises(LauncherError):
        connected.run(LaunchRequest(("/bin/true",)))


def test_after_an_interruption_the_connection_is_closed() -> None:
    """Ctrl-C between request and reply must not let the next request read the old reply."""

    class Interrupted(io.BytesIO):
        def flush(self) -> None:
            raise KeyboardInterrupt

    connected = LauncherClient(Interrupted(), io.BytesIO(GREETING))
    with pytest.raises(KeyboardInterrupt):
        connected.run(LaunchRequest(("/bin/true",)))
    with pytest.raises(LauncherError, match="closed"):
        connected.run(LaunchRequest(("/bin/true",)))


def test_a_dead_launcher_is_an_error(binary: Path) -> None:
    """The harness hears that the launcher is gone, not a broken pipe."""
    with local_launcher(binary) as connected:
        os.kill(connected.hello.pid, signal.SIGKILL)
        assert eventually(lambda: not alive(connected.hello.pid))
        with pytest.raises(LauncherError):
            connected.run(LaunchRequest(("/bin/true",)))
    with local_launcher(binary):
        assert groups_of(connected.hello.pid) == []


def test_bad_options(binary: Path) -> None:
    """Unknown or incomplete options end in one line."""
    for words in (
        ["--what"],
        ["--cgroup-memory"],
        ["--cgroup-pids", "-3"],
        ["--spawn-loop", "0", "0", "/bin/true"],
        ["--spawn-loop", "1", "-5", "/bin/true"],
    ):
        done = subprocess.run([binary, *words], capture_output=True, stdin=subprocess.DEVNULL, check=False)
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.startswith(b"launcher: error: ")
        assert done.stderr.count(b"\n") == 1


def test_spawn_loop(binary: Path) -> None:
    """The yardstick prints one positive time a launch."""
    done = subprocess.run([binary, "--spawn-loop", "5", "100", "/bin/true"], capture_output=True, check=True)
    assert len([int(line) for line in done.stdout.split() if int(line) > 0]) == 5


# --- building


def test_command_line() -> None:
    """Options for a container are the same as for the host."""
    assert launcher_command("/l") == ["/l"]
    words = launcher_command("/l", no_network=True, own_pids=True, cgroup_memory_bytes=5, cgroup_pids=6, cgroups=False)
    assert words == ["/l", "--no-network", "--own-pids", "--no-cgroup", "--cgroup-memory", "5", "--cgroup-pids", "6"]


def test_build_is_cached(binary: Path) -> None:
    """The same source and compiler build once; the program is static and for itself."""
    before = binary.stat().st_mtime_ns
    assert build_launcher(host.zig(), binary.parent) == binary
    assert binary.stat().st_mtime_ns == before
    assert list(binary.parent.iterdir()) == [binary]


def test_build_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing compiler, an unknown machine and a broken source are build errors that leave no file."""
    with pytest.raises(BuildError, match="cannot start"):
        build_launcher(tmp_path / "zig", tmp_path / "out")
    with pytest.raises(BuildError, match="z80"):
        build_launcher(tmp_path / "zig", tmp_path / "out", arch="z80")
    broken = tmp_path / "broken.c"
    broken.write_text("int main(void) { return }")
    monkeypatch.setattr(client, "SOURCE", broken)
    with pytest.raises(BuildError, match="does not build"):
        build_launcher(host.zig(), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
