"""A Slurm of one host: munged, slurmctld and slurmd, for as long as a test takes."""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from jobs import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")

# One host, whose tasks are told from each other by nothing but their variables, as with any Slurm
# without cgroups. Jobs are killed 60 s after they are asked to end.
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
    """Context manager of a cluster of one host; on exit its jobs and daemons end."""

    def __enter__(self) -> "Slurm":
        # Not pytest's directory: the path of a socket is 107 characters long at most.
        self.directory = Path(tempfile.mkdtemp(prefix="flax_imdb-slurm-"))
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.variables = {"SLURM_CONF": str(self.directory / "slurm.conf")}
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop()

    def _start(self) -> None:
        directory = self.directory
        for name in ("state", "spool"):
            (directory / name).mkdir()
        (directory / "munge.key").write_bytes(os.urandom(1024))
        (directory / "munge.key").chmod(0o600)
        ports = {"control_port": free_port(), "daemon_port": free_port()}
        text = _CONFIGURATION.format(directory=directory, **ports)
        (directory / "slurm.conf").write_text(text)
        self._daemon(
            *("munged", "--foreground", "--force", f"--key-file={directory}/munge.key"),
            *(f"--socket={directory}/munge.socket", f"--pid-file={directory}/munged.pid"),
            *(f"--log-file={directory}/munged.log", f"--seed-file={directory}/munged.seed"),
        )
        self._wait_for((directory / "munge.socket").exists)
        self._daemon("slurmctld", "-D", "-c")
        self._daemon("slurmd", "-D", "-c", "-N", "localhost")
        self._wait_for(lambda: self.run("sinfo", "-h", "-o", "%T", check=False).strip() == "idle")

    def _daemon(self, name: str, *arguments: str) -> None:
        log = (self.directory / f"{name}.out").open("wb")
        program = _find(name)
        assert program is not None
        # In sessions of their own: Ctrl-C is for the tests, which stop them.
        self.daemons.append(
            subprocess.Popen(
                [program, *arguments],
                env={**os.environ, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )

    def _wait_for(self, condition) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.logs()
            for daemon in self.daemons:
                assert daemon.poll() is None, self.logs()
            time.sleep(0.1)

    def logs(self) -> str:
        return "\n".join(
            f"== {path.name}\n{path.read_text(errors='replace')[-3000:]}"
            for path in sorted(self.directory.glob("*.*"))
            if path.suffix in (".log", ".out")
        )

    def run(self, *command: object, check: bool = True, **variables: str) -> str:
        done = subprocess.run(
            list(map(str, command)),
            env={**os.environ, **self.variables, **variables},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stderr}{self.logs()}"
        return done.stdout

    def _stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in reversed(self.daemons):
            try:
                daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
