"""Frames a second of one core (CPU time): decoding, aligning, and a whole frame store. Run: python tests/benchmarks/bench_faces.py"""
import sys
import tempfile
import time
from pathlib import Path

import cv2

sys.path.insert(0, str(Path(__file__).parents[1]))
import moving_face
from mespot.core import one_thread
from mespot.data.faces import align_frames, choose_reference
from mespot.data.frames import frame_store
from mespot.data.video import read_video


def main():
    one_thread()
    for size, scale, n in (((640, 480), 2.2, 150), ((1280, 960), 5., 60), ((1920, 1080), 6., 60)):
        frames = moving_face.film(moving_face.poses(n, size, scale), size)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder)/"clip.mp4"
            out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, size)
            for f in frames: out.write(cv2.cvtColor(f, cv2.COLOR_GRAY2BGR))
            out.release()
            video = read_video(path)
            def timed(job):
                start = time.process_time()
                job()
                return time.process_time() - start
            decode, find, align = (timed(lambda: job(frames)) for job in (lambda _: list(video), choose_reference, lambda f: list(align_frames(f))))
            build, reuse = (timed(lambda: frame_store(path, folder=folder, progress=False)) for _ in range(2))
        print(f"{size[0]}x{size[1]}: decode {n/decode:.0f} frames/s, find the reference {find:.2f} s once, follow {n/(align - find):.0f} frames/s, "
              f"whole store of {n} frames {n/build:.0f} frames/s, opened again in {1000*reuse:.1f} ms")


if __name__ == "__main__": main()
