import json
import subprocess
import sys
from pathlib import Path
from typing import Final

BENCHMARK: Final = Path(__file__).parents[1] / "scripts" / "benchmark.py"


def test_the_benchmark_measures_every_row(tmp_path: Path) -> None:
    output = tmp_path / "rows.json"
    size = ["--seconds", "0.1", "--rounds", "1", "--connections", "2"]
    size += ["--body-mib", "4", "--definitions", "3"]
    subprocess.run([sys.executable, BENCHMARK, *size, "--json", output], check=True)
    rows = json.loads(output.read_text())["rows"]
    assert [row["row"] for row in rows] == [
        "bare 202",
        "durable submit",
        "full cycle",
        "in Kinetica's dialect",
        "with a password",
        "with a token",
        "beside 3 definitions",
        "4 MiB body in and out",
    ]
    assert all(row["per_second"] > 0 for row in rows[:-1])
