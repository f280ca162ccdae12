"Frames a second that one core renders: python tests/benchmarks/bench_phantom.py. Prints; never fails."
import time
from mespot.core import one_thread
from mespot.data.phantom import phantom

one_thread()
ph = phantom("small")
for video in ph.videos.video[:2]: ph.frames(video, 0, 8)                  # draw the heads first
for video in ph.videos.video[:2]:
    start, wall = time.process_time(), time.perf_counter()
    n = len(ph.frames(video))
    print(f"grey 112 view, {video}: {n/(time.process_time() - start):,.0f} frames/s of processor time, {n/(time.perf_counter() - wall):,.0f} of wall time")
start = time.process_time(); ph.camera("p001_1").frames(0, 60)
print(f"camera view 640x480: {60/(time.process_time() - start):,.0f} frames/s of processor time")
