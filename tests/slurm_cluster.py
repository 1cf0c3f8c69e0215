"""A Slurm of one host: munged, slurmctld and slurmd, for as long as a test takes."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from jobs import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")

# One host, without cgroups and without binding tasks to CPUs. A busy machine has time to save.
_CONFIGURATION = """
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={control_port}
SlurmdPort={daemon_port}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={directory}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=60
SchedulerParameters=sched_interval=1
SlurmdParameters=config_overrides
NodeName=localhost CPUs=8 State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str | None:
    """Why there can be no Slurm here; None if there can."""
    absent = [name for name in PROGRAMS if _find(name) is None]
    if absent:
        return f"needs {', '.join(absent)}: apt-get install slurm-wlm munge"
    if os.geteuid() != 0:
        return "needs root: slurmd starts jobs as their users"
    return None


def _find(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Slurm:
    """Context manager of a cluster of one host; on exit its jobs and daemons end.

    Attributes:
      variables: of the environment of its commands and jobs, besides those of this process.
    """

    def __enter__(self) -> "Slurm":
        # Not in pytest's directory: the path of a socket has 107 characters at most.
        self._directory = Path(tempfile.mkdtemp(prefix="flax_imdb-slurm-"))
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.variables = {
            "SLURM_CONF": str(self._directory / "slurm.conf"),
            "JAX_PLATFORMS": "cpu",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # For `python`.
        }
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.run("scancel", "--user=root", check=False)
            self.run("scancel", "--user=root", "--full", "--signal=KILL", check=False)
            self.wait_for(lambda: not self.run("squeue", "--noheader"))
        finally:
            self._stop()

    def run(self, *command: object, check: bool = True) -> str:
        """The output of a command, which must succeed unless `check` is False."""
        with self.start(*command) as process:
            output, errors = process.communicate(timeout=300)
        assert not check or process.returncode == 0, f"{command}: {errors}{self.logs()}"
        return output.strip()

    def start(self, *command: object) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            list(map(str, command)),
            env={**os.environ, **self.variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, condition: Callable[[], bool], seconds: int = 300) -> None:
        """Wait until something is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.logs()
            for daemon in self._daemons:
                assert daemon.poll() is None, self.logs()
            time.sleep(0.1)

    def job(self, number: str) -> dict[str, str]:
        """What Slurm says of a job, such as its JobState, ExitCode and Restarts."""
        shown = self.run("scontrol", "show", "job", number, "--oneliner")
        return dict(word.split("=", 1) for word in shown.split() if "=" in word)

    def logs(self) -> str:
        """The ends of what the daemons have logged."""
        return "".join(
            f"\n== {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self._directory.glob("*.out"))
        )

    def _start(self) -> None:
        own = self._directory
        for name in ("state", "spool"):
            (own / name).mkdir()
        (own / "munge.key").write_bytes(os.urandom(1024))
        (own / "munge.key").chmod(0o600)
        ports = {"control_port": free_port(), "daemon_port": free_port()}
        (own / "slurm.conf").write_text(_CONFIGURATION.format(directory=own, **ports))
        self._daemon(
            *("munged", "--foreground", "--force", f"--key-file={own}/munge.key"),
            *(f"--socket={own}/munge.socket", f"--pid-file={own}/munged.pid"),
            *(f"--log-file={own}/munged.log", f"--seed-file={own}/munged.seed"),
        )
        self.wait_for((own / "munge.socket").exists)
        self._daemon("slurmctld", "-D", "-c")
        self._daemon("slurmd", "-D", "-c", "-N", "localhost")
        self.wait_for(lambda: self.run("sinfo", "-h", "-o", "%T", check=False) == "idle")

    def _daemon(self, name: str, *arguments: str) -> None:
        program = _find(name)
        assert program is not None
        with (self._directory / f"{name}.out").open("wb") as log:
            self._daemons.append(
                subprocess.Popen(
                    [program, *arguments],
                    env={**os.environ, **self.variables},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C is for the tests.
                )
            )

    def _stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(timeout=30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self._directory, ignore_errors=True)
