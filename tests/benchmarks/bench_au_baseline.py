"""What the action-unit baseline costs: CPU milliseconds for an AU table of 7,000 frames (35 s at 200 fps), whole and by its steps, on one thread.

Run: python tests/benchmarks/bench_au_baseline.py [frames]. Printed, never enforced. A sort of a million numbers stands beside it, so that machines can be compared."""
import os
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
import sys
import numpy as np
from timing import cpu_ms
from mespot.core import one_thread
from mespot.data.phantom import phantom
from mespot.samm_lv import AUBaseline, presence, smoothed, spot_movements, total_intensity
from mespot.signal.peaks import find_peaks, intervals_around


def main(frames=7000):
    one_thread()
    ph = phantom("tiny", fps=200., subjects=1, seconds=frames/200)
    table = ph.au_table("p001_1")
    noisy = table.assign(**{c: (table[c] + np.random.default_rng(0).normal(0, .2, len(table))).clip(0, 5) for c in table if c.endswith("_r")})
    x = total_intensity(noisy); y = smoothed(x, 200); peaks = find_peaks(y)
    numbers = np.random.default_rng(0).random(10**6)
    cost = {"whole": cpu_ms(lambda: spot_movements(noisy, 200.)), "  sum": cpu_ms(lambda: total_intensity(noisy)), "  smoothing": cpu_ms(lambda: smoothed(x, 200)),
            "  peaks": cpu_ms(lambda: find_peaks(y)), f"  intervals around {len(peaks)} peaks": cpu_ms(lambda: intervals_around(y, peaks, AUBaseline().share)),
            f"presence of {len(ph.annotations)} expressions": cpu_ms(lambda: presence(ph.annotations, {"p001_1": noisy})), "(a sort of a million numbers)": cpu_ms(lambda: np.sort(numbers))}
    print(f"{frames} frames with noise:")
    for part, ms in cost.items(): print(f"  {part:36} {ms:7.2f} ms")


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
