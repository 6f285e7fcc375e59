"""What is written down of a run: commit, versions, times of rules."""

import json
import subprocess

from melanoma.provenance import collect, git_commit, rule_times

HEAD = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


def test_times_of_rules(tmp_path):
    for name, seconds, cpu, memory in (
        ("split.tsv", "36.0", "18.0", "200.5"),
        ("train/fusion/fold0.tsv", "3600.0", "7200.0", "900.0"),
        ("train/fusion/fold1.tsv", "1800.0", "NA", "1000.0"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + "\t".join([seconds, "x", memory, *"-" * 6, cpu]) + "\n")
    assert rule_times(tmp_path) == {
        "split": {"jobs": 1, "hours": 0.01, "cpu_hours": 0.005, "max_memory_mb": 200.5},
        "train": {"jobs": 2, "hours": 1.5, "cpu_hours": 2.0, "max_memory_mb": 1000.0},
    }
    assert rule_times(tmp_path / "nothing") == {}


def test_commits_say_whether_files_differ(tmp_path):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True)

    assert git_commit(tmp_path) == "unknown"
    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "a")
    clean = git_commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == f"{clean}+changes"


def test_all_of_it_is_json(tmp_path):
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "recipe.json").write_text('{"sha256": "1"}')
    restarts = tmp_path / "fold0" / "restarts.csv"
    restarts.parent.mkdir()
    restarts.write_text("time,host,cause,epoch\n2024,a,lost,3\n")
    found = collect(
        config={"a": 1},
        checkout=tmp_path,
        tables=[tmp_path / "a.csv"],
        recipes=[tmp_path / "recipe.json"],
        restarts={"fusion/fold0": restarts},
        benchmarks=tmp_path,
    )
    json.dumps(found, allow_nan=False)
    assert found["starts"] == {"fusion/fold0": ["2024,a,lost,3"]}
    assert found["training"]["fusion/fold0"]["starts"] == 2
    assert found["versions"]["numpy"]
