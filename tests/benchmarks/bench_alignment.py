"""Decode + align + store of a 640x360 clip, frames/s by aligner, in one process and in two at once, and the memory it takes. Run: python tests/benchmarks/bench_alignment.py"""
import multiprocessing as mp
import resource
import shutil
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))
import moving_face
from mespot.core import MespotError, one_thread
from mespot.data.frames import frame_store
from mespot.data.open_clips import open_clips
from mespot.data.video import read_video


def clips(folder):
    "A real clip (if it can be had) and a filmed one, 640x360."
    try: yield "real, 472 frames", open_clips()["WolfgangLanger_Pexels.mp4"]
    except MespotError as e: print(e)
    path, size = Path(folder)/"filmed.mp4", (640, 360)
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, size)
    for f in moving_face.film(moving_face.poses(150, size, 1.6), size): out.write(cv2.cvtColor(f, cv2.COLOR_GRAY2BGR))
    out.release()
    yield "filmed, 150 frames", path


def store(path, folder, aligner, settings):
    "(frames, wall seconds, CPU seconds, peak memory in MB) of one frame store."
    one_thread()
    warnings.simplefilter("ignore")
    start, cpu = time.perf_counter(), time.process_time()
    n = frame_store(path, folder=folder, progress=False, aligner=aligner, **settings).n_frames
    return n, time.perf_counter() - start, time.process_time() - cpu, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/1024


def at_once(path, folder, aligner, settings, k):
    "Frames/s of `k` processes that each store a copy of the clip, from when all are ready."
    copies = [shutil.copy(path, Path(folder)/f"{k}-{aligner}-{i}{Path(path).suffix}") for i in range(k)]
    with ProcessPoolExecutor(k, mp_context=mp.get_context("spawn")) as pool:
        list(pool.map(ready, range(k)))
        start = time.perf_counter()
        told = [f.result() for f in [pool.submit(store, c, folder, aligner, settings) for c in copies]]
        wall = time.perf_counter() - start
    n = sum(t[0] for t in told)
    return n/wall, n/sum(t[2] for t in told), max(t[3] for t in told)


def ready(_):
    "Keep a process busy until the others have started, too."
    time.sleep(1)


def main():
    with tempfile.TemporaryDirectory() as folder:
        for what, path in clips(folder):
            start = time.process_time()
            n = sum(1 for _ in read_video(path))
            print(f"{what}: decoding alone {n/(time.process_time() - start):.0f} frames/s of one core")
            for aligner, settings in (("opencv", {}), ("dlib68", {}), ("dlib68", dict(boxes=1))):
                (one, core, memory), (two, *_) = (at_once(path, tempfile.mkdtemp(dir=folder), aligner, settings, k) for k in (1, 2))
                print(f"  {aligner} {settings or ''}: {one:.0f} frames/s in one process, {two:.0f} in two ({two/one:.2f} times; {two/60:.1f} times the 60 that are asked for); "
                      f"{core:.0f} frames/s of CPU time, peak memory {memory:.0f} MB a process")


if __name__ == "__main__": main()
