"""A real SLURM cluster on this machine, in a folder of its own: two nodes, four GPUs each.

The nodes are two slurmd on one host and the GPUs are empty files, so SLURM allocates, starts,
signals and requeues as on any cluster while every job runs here on the CPU. Nothing of the
system is changed: commands find the cluster through wrappers that stand first on PATH (the
executor plugin removes SLURM_CONF from a job's environment), and MASTER_ADDR leads the ranks of a
job to this host, where the names of the nodes need not resolve.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from processes import MARK, end_all, marked, steps
from records import FINISHED, Job, Recorder

DAEMONS = ("munged", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "salloc", "scancel", "scontrol", "sinfo", "squeue", "sacct")
OTHER_CLIENTS = ("sacctmgr", "sshare", "sattach", "sbcast", "sprio", "sstat", "strigger")
TEMPLATE = Path(__file__).with_name("slurm.conf.in")


class ClusterError(Exception):
    """The cluster couldn't be started or didn't do as it was told in time."""


def missing_commands() -> list[str]:
    """Names of the SLURM programs that aren't installed here."""
    return [name for name in (*DAEMONS, *CLIENTS) if _which(name) is None]


def _which(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    """Wait until `condition()` is true, or raise ClusterError naming `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise ClusterError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.2)


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Cluster:
    """A cluster that starts with `start` and is gone, with all its processes, after `stop`."""

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 2,
        gpus: int = 4,
        cpus: int = 16,
        min_job_age: int = 600,
        slurmd_timeout: int = 10,
    ) -> None:
        self.folder = folder
        self.nodes = [f"node{number + 1}" for number in range(nodes)]
        self.gpus = gpus
        self.cpus = cpus
        self.min_job_age = min_job_age
        self.slurmd_timeout = slurmd_timeout
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}
        self.watchdog: subprocess.Popen[bytes] | None = None
        self.recorder = Recorder(self._show_jobs)

    # Starting and stopping.

    @property
    def conf(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which commands talk to this cluster."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM")}
        return environment | {
            "SLURM_CONF": str(self.conf),
            "PATH": f"{self.folder}/bin:{os.environ.get('PATH', '')}",
            "MASTER_ADDR": "127.0.0.1",
            MARK: str(self.folder),
        }

    def start(self) -> Cluster:
        """Start all daemons and wait until every node is idle.

        Raises:
            ClusterError: a daemon ended or a node didn't come up; with the ends of the logs.
        """
        self._write_files()
        self._watch()
        try:
            self._start_munged()
            self.start_controller()
            for node in self.nodes:
                self.start_slurmd(node)
            wait_until(self._all_idle, 40, "all nodes idle")
        except ClusterError as error:
            message = f"{error}\n{self.logs()}"
            self.stop()
            raise ClusterError(message) from None
        self.recorder.start()
        return self

    def stop(self) -> None:
        """End every process of this cluster, jobs included."""
        self.recorder.ended.set()
        if self.recorder.is_alive():
            self.recorder.join(10)
        for daemon in self.daemons.values():
            daemon.kill()
        for daemon in self.daemons.values():
            daemon.wait()
        end_all(self.folder)
        if self.watchdog is not None:
            self.watchdog.communicate()

    def _watch(self) -> None:
        """Have another process clean up, should this one be killed."""
        self.watchdog = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("processes.py")), str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def _write_files(self) -> None:
        for name in ("state", "bin", "devices", "munged", "slurmctld", *self.nodes):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(self.gpus):
            (self.folder / "devices" / f"nvidia{number}").touch()
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(256))
        key.chmod(0o600)
        ports = _free_ports(1 + len(self.nodes))
        memory = psutil.virtual_memory().total // 2**20 * 9 // 10
        self.conf.write_text(
            TEMPLATE.read_text().format(
                host=socket.gethostname().split(".")[0],
                user=getpass.getuser(),
                folder=self.folder,
                controller_port=ports[0],
                # A list of ports, as they needn't follow one another.
                ports="[" + ",".join(str(port) for port in ports[1:]) + "]",
                nodes=len(self.nodes),
                cpus=self.cpus,
                memory=memory,
                gpus=self.gpus,
                min_job_age=self.min_job_age,
                slurmd_timeout=self.slurmd_timeout,
            )
        )
        devices = f"{self.folder}/devices/nvidia[0-{self.gpus - 1}]"
        (self.folder / "gres.conf").write_text(f"Name=gpu File={devices}\n")
        for name in (*CLIENTS, *OTHER_CLIENTS):
            self._wrap(name)

    def _wrap(self, name: str) -> None:
        real = _which(name)
        if real is None:
            return
        wrapper = self.folder / "bin" / name
        conf = shlex.quote(str(self.conf))
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={conf} exec {real} "$@"\n')
        wrapper.chmod(0o755)

    def _spawn(self, name: str, *command: str) -> None:
        program = _which(command[0])
        assert program is not None
        with (self.folder / f"{name}.out").open("ab") as output:
            self.daemons[name] = subprocess.Popen(
                # A test run that is killed takes its daemons with it.
                ["setpriv", "--pdeathsig=KILL", program, *command[1:]],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Steps inherit it, which tells whose they are.
                cwd=self.folder / name,
                start_new_session=True,
            )

    def _start_munged(self) -> None:
        place = self.folder
        self._spawn(
            "munged",
            "munged",
            "--foreground",
            "--force",
            "--num-threads=2",
            f"--key-file={place}/munge.key",
            f"--socket={place}/munge.socket",
            f"--pid-file={place}/munge.pid",
            f"--log-file={place}/munge.log",
            f"--seed-file={place}/munge.seed",
        )
        wait_until((place / "munge.socket").exists, 20, "munged's socket")

    def start_controller(self) -> None:
        """Start slurmctld, with the state of the last one if there was one."""
        self._spawn("slurmctld", "slurmctld", "-D", "-f", str(self.conf))
        wait_until(self._controller_answers, 40, "slurmctld answering")

    def stop_controller(self) -> None:
        """Stop slurmctld in good order, as for an upgrade; jobs run on."""
        self._end("slurmctld", signal.SIGTERM)

    def start_slurmd(self, node: str) -> None:
        """Start the slurmd of `node`."""
        self._spawn(node, "slurmd", "-D", "-N", node, "-f", str(self.conf))

    def lose_node(self, node: str) -> None:
        """End slurmd and everything that runs on `node` at once, as a power cut does."""
        self._end(node, signal.SIGKILL)
        for process in [*steps(self.folder / node), *self.processes(node=node)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    def _end(self, daemon: str, with_signal: signal.Signals) -> None:
        process = self.daemons.pop(daemon)
        process.send_signal(with_signal)
        process.wait(30)

    def _controller_answers(self) -> bool:
        self._check_alive()
        return self.run("scontrol", "ping", check=False).returncode == 0

    def _check_alive(self) -> None:
        dead = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
        if dead:
            raise ClusterError(f"ended at once: {', '.join(dead)}")

    def _all_idle(self) -> bool:
        self._check_alive()
        states = self.run("sinfo", "-h", "-N", "-p", "cpu", "-o", "%T", check=False)
        return states.stdout.split() == ["idle"] * len(self.nodes)

    def logs(self, lines: int = 15) -> str:
        """The last lines of every log of the daemons."""
        parts = []
        for log in sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")]):
            text = log.read_text(errors="replace").splitlines()[-lines:]
            parts.append("\n".join([f"--- {log.name}", *text]))
        return "\n".join(parts)

    # Talking to it.

    def run(
        self, *command: str, check: bool = True, cwd: Path | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in this cluster's environment and return it with its output."""
        program = shutil.which(command[0], path=self.environment["PATH"])
        done = subprocess.run(
            [program or command[0], *command[1:]],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=cwd,
            timeout=timeout,
        )
        if check and done.returncode:
            raise ClusterError(f"{shlex.join(command)}: {done.stderr or done.stdout}")
        return done

    def cancel_all(self) -> None:
        """End all jobs and wait until they are gone, as far as the cluster can."""
        self.run("scancel", f"--user={getpass.getuser()}", check=False)
        with contextlib.suppress(ClusterError):
            wait_until(lambda: not self.run("squeue", "-h", check=False).stdout, 40, "no jobs")

    def _show_jobs(self) -> str:
        return self.run("scontrol", "show", "job", "-o", "-d", check=False).stdout

    def sbatch(self, *options: str, script: str, cwd: Path | None = None) -> str:
        """Submit a shell script and return the job's id."""
        wrapped = self.run("sbatch", "--parsable", *options, f"--wrap={script}", cwd=cwd)
        return wrapped.stdout.strip()

    def jobs(self, rule: str | None = None) -> list[Job]:
        """Every job seen so far, by id; with `rule` only those of that Snakemake rule."""
        self.recorder.poll()
        found = sorted(self.recorder.jobs.values(), key=lambda job: int(job.fields["JobId"]))
        return [job for job in found if rule is None or job.rule == rule]

    def job(self, job_id: str) -> Job:
        """The record of one job."""
        self.recorder.poll()
        return self.recorder.jobs[job_id]

    def wait_for_state(self, job_id: str, *states: str, seconds: float = 60) -> Job:
        """Wait until a job is in one of `states` (by default: any final one)."""
        wanted = states or FINISHED
        wait_until(
            lambda: job_id in self.recorder.jobs and self.job(job_id).state in wanted,
            seconds,
            f"job {job_id} in {'/'.join(wanted)}",
        )
        return self.job(job_id)

    def node_state(self, node: str) -> str:
        """E.g. "idle" or "down*"."""
        return self.run("sinfo", "-h", "-n", node, "-p", "cpu", "-o", "%T").stdout.strip()

    def set_node_down(self, node: str, reason: str = "test") -> None:
        """Set a node down; its jobs are requeued or fail."""

        def down() -> bool:
            self.run("scontrol", "update", f"NodeName={node}", "State=DOWN", f"Reason={reason}")
            return self.node_state(node).startswith("down")

        # A registration that is still under way takes the node back up once.
        wait_until(down, 20, f"{node} down")

    def resume_node(self, node: str) -> None:
        """Bring a node back, starting its slurmd if it doesn't run."""
        if node not in self.daemons:
            self.start_slurmd(node)
        # Refused while the node has already come back by itself.
        self.run("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
        wait_until(lambda: self.node_state(node) in ("idle", "mixed"), 40, f"{node} back")

    # Processes.

    def processes(self, **slurm: str | int) -> list[psutil.Process]:
        """Processes of this cluster (daemons, steps, jobs), oldest first.

        Args:
            **slurm: what their environment must hold: `job`, `rank`, `node`.
        """
        names = {"job": "SLURM_JOB_ID", "rank": "SLURM_PROCID", "node": "SLURMD_NODENAME"}
        wanted = {names[key]: str(value) for key, value in slurm.items()}
        found = [each for each, env in marked(self.folder) if wanted.items() <= env.items()]
        return sorted(found, key=lambda process: (process.create_time(), process.pid))

    def rank(self, job_id: str, rank: int) -> psutil.Process:
        """The process that srun started as `rank` of a job.

        Raises:
            ClusterError: there is none.
        """
        for process in self.processes(job=job_id, rank=rank):
            with contextlib.suppress(psutil.Error):
                parent = process.parent()
                started_by_slurm = parent is not None and parent.name().startswith("slurmstepd")
                # The batch script is rank 0 of a step of its own, which has no number.
                if started_by_slurm and process.environ().get("SLURM_STEP_ID", "").isdigit():
                    return process
        raise ClusterError(f"job {job_id} has no rank {rank}")

    def wait_for_rank(self, job_id: str, rank: int, seconds: float = 60) -> psutil.Process:
        """Wait until srun has started `rank` of a job, and return its process."""

        def started() -> bool:
            with contextlib.suppress(ClusterError):
                return bool(self.rank(job_id, rank))
            return False

        wait_until(started, seconds, f"rank {rank} of job {job_id}")
        return self.rank(job_id, rank)

    def kill_rank(self, job_id: str, rank: int) -> None:
        """End one rank of a job with SIGKILL."""
        self.rank(job_id, rank).kill()
