"Worker processes that end with the process that started them, however that ended."
import os, signal, subprocess, sys, time
from pathlib import Path
import pytest

SCRIPT = """
import multiprocessing as mp, sys, time
from mespot.core import end_with_parent

def work(pipe, how):
    end_with_parent()
    pipe.send(0)
    while how == "busy": pass
    while how == "asleep": time.sleep(60)

if __name__ == "__main__":
    end_with_parent()                                  # nothing happens to the first process of all
    context, started = mp.get_context("spawn"), []
    for how in ("busy", "asleep", "done"):
        here, there = context.Pipe()
        started.append((context.Process(target=work, args=(there, how)), here))
        started[-1][0].start()
    for process, pipe in started: pipe.recv()
    started[2][0].join()
    print(*(process.pid for process, _ in started[:2]), started[2][0].exitcode, flush=True)
    time.sleep(60)
"""

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kills processes")


def alive(pid):
    "Whether a process runs; one that is over but not yet fetched does not."
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try: return stat.read_text().rpartition(")")[2].split()[0] not in "ZX"
        except (FileNotFoundError, ProcessLookupError): return False
    try: os.kill(pid, 0)
    except ProcessLookupError: return False
    return True


@pytest.fixture
def family(tmp_path):
    "A process and the ids of its two workers, one busy and one asleep."
    (tmp_path/"family.py").write_text(SCRIPT)
    process = subprocess.Popen([sys.executable, tmp_path/"family.py"], stdout=subprocess.PIPE, text=True)
    *workers, code = map(int, process.stdout.readline().split())
    assert code == 0                                     # who is done ends by himself, and well
    yield process, workers
    for pid in (process.pid, *workers):
        if alive(pid): os.kill(pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_parent_that_was_killed(family, death):
    process, workers = family
    assert all(map(alive, workers))
    process.send_signal(death)
    end = time.monotonic() + 5
    while any(map(alive, workers)) and time.monotonic() < end: time.sleep(.02)
    assert process.wait(5) == -death and not any(map(alive, workers))


def test_an_interrupt_is_for_the_parent(family):
    process, workers = family
    for pid in workers: os.kill(pid, signal.SIGINT)
    time.sleep(.3)
    assert all(map(alive, workers)) and process.poll() is None
