"""One rank of the doctor's test job: `python -m melanoma.doctor.probe FOLDER TOKEN`.

Each rank reads a token that the submit host wrote, meets the others over TCP as the ranks of a
training do, and prints what it found as a line of JSON.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SECONDS = 60


def main_address(environment: Mapping[str, str]) -> tuple[str, int]:
    """Host and port of rank 0, found as Lightning finds them but one port higher."""
    nodes = environment.get("SLURM_JOB_NODELIST") or environment.get("SLURM_NODELIST", "127.0.0.1")
    first = re.sub(r"\[(.*?)[,-].*\]|\[(.*?)\]", r"\1\2", nodes).split(",")[0]
    port = 15_001 + int(environment.get("SLURM_JOB_ID", "0")[-4:])
    return environment.get("MASTER_ADDR") or first, port


def meet(rank: int, ranks: int, address: tuple[str, int], seconds: float = SECONDS) -> str:
    """Meet all other ranks; give "" or what went wrong.

    Rank 0 waits until every other rank has connected, then tells them so.
    """
    try:
        if rank == 0:
            _gather(ranks, address[1], seconds)
        else:
            _join(address, seconds)
    except OSError as problem:
        return f"{address[0]}:{address[1]}: {problem}"
    return ""


def _gather(ranks: int, port: int, seconds: float) -> None:
    with socket.create_server(("", port), backlog=ranks) as server:
        server.settimeout(seconds)
        connections: list[socket.socket] = []
        try:
            while len(connections) < ranks - 1:
                connections.append(server.accept()[0])
            for connection in connections:
                connection.sendall(b"1")
        except TimeoutError:
            raise TimeoutError(f"{len(connections)} of {ranks - 1} ranks connected") from None
        finally:
            for connection in connections:
                connection.close()


def _join(address: tuple[str, int], seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            # Longer than rank 0 waits, so that it is the one that says who is missing.
            with socket.create_connection(address, timeout=seconds + 5) as connection:
                if connection.recv(1) != b"1":
                    raise ConnectionError("rank 0 gave up waiting for the others")
                return
        except ConnectionRefusedError:
            # Rank 0 may start later than this one.
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def cuda() -> dict[str, Any]:
    """What torch says of this process's GPUs."""
    import torch

    available = torch.cuda.is_available()
    return {
        "torch": torch.__version__,
        "built_for": torch.version.cuda,
        "gpus": torch.cuda.device_count() if available else 0,
        "name": torch.cuda.get_device_name(0) if available else "",
    }


def probe(folder: Path, token: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Everything that one rank finds."""
    rank, ranks = (int(environment.get(f"SLURM_{n}", d)) for n, d in (("PROCID", 0), ("NTASKS", 1)))
    try:
        shared = (folder / token).is_file()
    except OSError:
        shared = False
    met = meet(rank, ranks, main_address(environment)) if ranks > 1 else ""
    host = environment.get("SLURMD_NODENAME") or socket.gethostname()
    return {"rank": rank, "ranks": ranks, "host": host, "shared": shared, "met": met, **cuda()}


if __name__ == "__main__":
    found = probe(Path(sys.argv[1]), sys.argv[2], os.environ)
    sys.stdout.write(json.dumps(found) + "\n")
