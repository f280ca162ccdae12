"""Frames per second and core of local contrast normalisation, 112 x 112, sigma 4: the package's two forms, other ways to blur, and SciPy.
Run: python tests/benchmarks/bench_lcn.py [frames]. Prints the process's own CPU time on one thread; asserts nothing about it."""
import os
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
import sys
import numpy as np
import torch
from scipy import ndimage
from timing import cpu_times
from mespot.core import one_thread
from mespot.signal.lcn import blur_matrix, lcn, lcn_torch


def by_blur(frames, blur):
    "The same equation with another blur (H, W) -> (H, W)."
    out = np.empty(frames.shape, np.float32)
    for g, f in zip(out, frames):
        x = f.astype(np.float32)
        x -= x.min()
        v = x - blur(x)
        s = np.sqrt(blur(v*v))
        np.divide(v, np.maximum(s, s.mean()), out=g)
    return out


def main(n=64):
    one_thread()
    frames = np.random.default_rng(0).integers(0, 256, (n, 112, 112), np.uint8)
    tensor, A = torch.from_numpy(frames), blur_matrix(112).astype(np.float32)
    ways = {"SciPy gaussian_filter": lambda: by_blur(frames, lambda x: ndimage.gaussian_filter(x, 4, mode="mirror")),
            "NumPy band matrices": lambda: by_blur(frames, lambda x: A @ x @ A.T),
            "lcn (NumPy, OpenCV)": lambda: lcn(frames),
            "lcn_torch": lambda: lcn_torch(tensor)}
    seconds = {name: cpu_times(way, 7)[0] for name, way in ways.items()}
    results = [np.asarray(way()) for way in ways.values()]
    slowest = seconds["SciPy gaussian_filter"]
    for name, s in seconds.items(): print(f"{name:24} {n/s:8.0f} frames/s/core   {slowest/s:5.2f} x SciPy")
    print(f"NumPy against torch: {seconds['lcn_torch']/seconds['lcn (NumPy, OpenCV)']:.2f}; largest difference of any two {np.ptp(results, axis=0).max():.1e}")


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
