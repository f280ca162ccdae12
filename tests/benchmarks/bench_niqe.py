"""NIQE's time beside basicsr 1.4.2's, and how far the two are apart, on photographs that come with scikit-image.
Run: python tests/benchmarks/bench_niqe.py [repeats], with basicsr installed (pip install --no-deps basicsr==1.4.2) or its folder on PYTHONPATH. Prints the process's own CPU time on one thread."""
import os
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
import sys
from pathlib import Path
from skimage import data
from timing import cpu_times
from mespot.core import one_thread
from mespot.measure.quality import niqe
sys.path.insert(0, str(Path(__file__).parents[1]))
import niqe_oracle


def main(repeats=5):
    one_thread()
    oracle = niqe_oracle.load()
    if oracle is None: print("basicsr is not installed: our own times only")
    pictures = dict(camera=data.camera(), astronaut=data.astronaut(), coffee=data.coffee(), chelsea=data.chelsea(), crop=data.camera()[100:401, 50:467])
    for name, image in pictures.items():
        ours = cpu_times(lambda: niqe(image), repeats)[repeats//2]
        line = f"{name:10} {'×'.join(map(str, image.shape)):10} {1e3*ours:6.1f} ms"
        if oracle:
            theirs, off = cpu_times(lambda: niqe_oracle.score(oracle, image), repeats)[repeats//2], niqe(image) - niqe_oracle.score(oracle, image)
            line += f"   basicsr {1e3*theirs:6.1f} ms   {theirs/ours:4.1f} times   difference {off:+.0e}"
        print(line)


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
