"""A PostgreSQL server on loopback for the time of a test, which skips where none can be started."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD = "searcher", "not to be written down"
DEBIAN = Path("/usr/lib/postgresql")


@dataclass
class Server:
    """One cluster; `stop` and `start` as its administrator would."""

    programs: Path
    folder: Path
    port: int
    account: dict[str, Any]  # the server refuses to run as root

    @property
    def address(self) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def program(self, name: str, *arguments: str) -> None:
        command = [str(self.programs / name), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(
            command,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            timeout=60,
            **self.account,
        )

    def start(self) -> None:
        options = f"-p {self.port} -h 127.0.0.1 -k {self.folder} -F"
        log = str(self.folder / "log")
        self.program("pg_ctl", "-w", "-o", options, "-l", log, "start")

    def stop(self) -> None:
        self.program("pg_ctl", "-w", "-m", "immediate", "stop")


@contextmanager
def server() -> Iterator[Server]:
    """A new cluster, stopped and removed in the end; skips the test where there is no PostgreSQL."""
    places = [Path(found).parent] if (found := shutil.which("initdb")) else []
    places += sorted(path.parent for path in DEBIAN.glob("*/bin/initdb"))
    if not places:
        pytest.skip("needs the programs of a PostgreSQL server (initdb, pg_ctl)")
    account: dict[str, Any] = {}
    folder = Path(tempfile.mkdtemp(prefix="fitwell-postgres-", dir="/tmp"))
    try:
        if os.getuid() == 0:
            try:
                entry = pwd.getpwnam("postgres")
            except KeyError:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
            account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
            os.chown(folder, entry.pw_uid, entry.pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        one = Server(places[-1], folder, port, account)
        (folder / "password").write_text(PASSWORD)
        trust = ["--auth=scram-sha-256", f"--pwfile={folder / 'password'}", "--no-sync"]
        try:
            one.program("initdb", "-U", USER, "-E", "UTF8", *trust)
            one.start()
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"a PostgreSQL server cannot be started here: {error}")
        try:
            yield one
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                one.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
