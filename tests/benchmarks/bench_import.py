"""How long a newcomer waits before anything happens: cold `mespot --help` and `import mespot`, in wall-clock seconds, each in a new process.

Run: python tests/benchmarks/bench_import.py [repeats]. Printed, never enforced. A Python that does nothing stands beside them, so that machines can be compared."""
import subprocess, sys, time
from pathlib import Path

COMMANDS = {"python -c pass": [sys.executable, "-c", "pass"], "import mespot": [sys.executable, "-c", "import mespot"], "mespot --help": [Path(sys.executable).parent/"mespot", "--help"],
            "import mespot.measure.intervals": [sys.executable, "-c", "import mespot.measure.intervals"], "import mespot.spot (torch)": [sys.executable, "-c", "import mespot.spot"]}


def main(repeats=7):
    for name, command in COMMANDS.items():
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - start)
        print(f"{name:32} {sorted(times)[len(times)//2]:6.2f} s (median of {repeats}; quickest {min(times):.2f} s)")


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
