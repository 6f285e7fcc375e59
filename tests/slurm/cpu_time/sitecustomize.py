"""On PYTHONPATH, it has each Python process write down, as it ends, what CPU time it took."""

import atexit
import json
import os
import resource
import sys


def _write() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    entry = {
        "job": os.environ.get("SLURM_ARRAY_JOB_ID", os.environ.get("SLURM_JOB_ID", "")),
        "task": os.environ.get("SLURM_ARRAY_TASK_ID", ""),
        "command": sys.orig_argv,
        "seconds": used.ru_utime + used.ru_stime,
    }
    name = f"{os.getpid()}-{os.urandom(4).hex()}.json"
    with open(os.environ["MELANOMA_TEST_CPU"] + "/" + name, "w") as stream:  # noqa: PTH123
        json.dump(entry, stream)


if "MELANOMA_TEST_CPU" in os.environ:
    # Registered first, it is called last.
    atexit.register(_write)
