"What the benchmarks measure with: the process's own CPU time, of which a busy machine takes nothing."
import time


def cpu_times(call, repeats, warm=1):
    "CPU seconds of each of `repeats` calls, after `warm` to warm up: a sorted list."
    for _ in range(warm): call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return sorted(times)

def cpu_ms(call, repeats=15): return 1e3*cpu_times(call, repeats, warm=2)[repeats//2]
