"""What a worker elsewhere has: another user, another folder, the dependencies, and no rnnpipe."""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

_OURS = ("rnnpipe", "__editable__")  # what begins like that is left out
_NO_MLFLOW = 'raise ImportError("a worker imports MLflow, which is the launcher\'s alone")\n'


@dataclass(frozen=True)
class User:
    """Who the workers are.

    Args:
        id: of the user; None: the workers run as the user of the tests, as only root may change users.
        group: of the user.
    """

    id: int | None
    group: int | None

    @property
    def options(self):
        """What has subprocess start a program as this user."""
        return {} if self.id is None else {"user": self.id, "group": self.group, "extra_groups": []}

    def give(self, *paths):
        """Makes paths the user's own."""
        if self.id is not None:
            for path in paths:
                os.chown(path, self.id, self.group)

    def can_run(self, command, **environment):
        try:
            done = subprocess.run(
                command, cwd="/", capture_output=True, check=False, env=environment, **self.options
            )
        except PermissionError:
            return False
        return done.returncode == 0


def another_user():
    """An unprivileged user; only root can become one."""
    if os.geteuid() != 0:
        return User(None, None)
    nobody = pwd.getpwnam("nobody")
    return User(nobody.pw_uid, nobody.pw_gid)


@dataclass(frozen=True)
class WorkerEnvironment:
    """Where workers live.

    Args:
        user: who they are.
        folder: their home, and all that is theirs.
        variables: the whole environment of their processes.
    """

    user: User
    folder: Path
    variables: dict[str, str]

    @property
    def python(self):
        """Their interpreter."""
        return self.folder / "venv" / "bin" / "python"

    @property
    def packages(self):
        """Where what they install goes."""
        (packages,) = (self.folder / "venv" / "lib").glob("python*/site-packages")
        return packages

    def start(self, command, log, **variables):
        """Starts a program of theirs, in their folder."""
        with log.open("ab") as output:
            return subprocess.Popen(
                list(map(str, command)),
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env={**self.variables, **variables},
                start_new_session=True,
                **self.user.options,
            )


@contextlib.contextmanager
def worker_environment():
    """Makes one, beside pytest's folders, which other users may not search; and removes it."""
    folder = Path(tempfile.mkdtemp(prefix="rnnpipe-worker-"))
    try:
        yield _made(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _made(folder):
    user = another_user()
    folder.chmod(0o755)
    python, variables = _interpreter(user, folder)
    for name in ("home", "tmp"):
        (folder / name).mkdir()
    user.give(folder, folder / "home", folder / "tmp")
    variables |= {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PATH": f"{folder}/venv/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        # The environment that is first on the path is the one to install into.
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",
        "PIP_NO_INDEX": "1",
        # It takes seconds to see that all requirements are met; a test looks once.
        "PIP_NO_DEPS": "1",
        "PIP_NO_CACHE_DIR": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:1",
    }
    made = WorkerEnvironment(user, folder, variables)
    subprocess.run(
        [str(python), "-m", "venv", "--without-pip", str(folder / "venv")],
        check=True,
        cwd=folder,
        env=variables,
        **user.options,
    )
    _link_dependencies(made)
    assert not user.can_run([made.python, "-c", "import pipeline"], **variables)
    assert not user.can_run([made.python, "-c", "import mlflow"], **variables)
    assert user.can_run([made.python, "-c", "import apache_beam, pip, setuptools"], **variables)
    return made


def _interpreter(user, folder):
    """The interpreter that this environment stands on, or one of its files where the user can see them."""
    base = Path(sys.base_prefix)
    name = f"bin/python{sys.version_info.major}.{sys.version_info.minor}"
    if user.can_run([base / name, "-c", ""]):
        return base / name, {}
    linked = folder / "python"
    shutil.copytree(
        base,
        linked,
        symlinks=True,
        copy_function=_link,
        ignore=shutil.ignore_patterns("site-packages", "test", "__pycache__"),
    )
    return linked / name, {"LD_LIBRARY_PATH": str(linked / "lib")}


def _link_dependencies(environment):
    """Has the environment find what is installed here, but for rnnpipe and MLflow."""
    here = Path(sysconfig.get_paths()["purelib"])
    there = environment.folder / "dependencies"
    there.mkdir()
    seen = environment.user.can_run(["/usr/bin/test", "-x", str(here)])
    for entry in here.iterdir():
        if entry.name.startswith(_OURS) or entry.name == "mlflow" or entry.suffix == ".pth":
            continue
        if seen:
            (there / entry.name).symlink_to(entry)
        elif entry.is_dir():
            shutil.copytree(entry, there / entry.name, symlinks=True, copy_function=_link)
        else:
            _link(entry, there / entry.name)
    (there / "mlflow.py").write_text(_NO_MLFLOW)
    (environment.packages / "dependencies.pth").write_text(f"{there}\n")


def _link(source, target, *, follow_symlinks=True):
    """A second name for a file, or a copy where the disk is another one."""
    try:
        os.link(source, target, follow_symlinks=follow_symlinks)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=follow_symlinks)
    return target
