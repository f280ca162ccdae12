"""Whole-video prediction, the naive way and the fast way, in one process: frames a second of CPU time on one thread.

The naive way takes four frames a prediction, normalises each, and runs the network as it was trained, on batches of the training's size, 16. The
bar: fast at least 2.5 times naive, and at least 400 frames/s. Printed, never enforced: machines are noisy. Part of the ratio is the fast way's small batch, which
spares the allocator; the table shows both ways at equal batch sizes, where sharing and folding alone are worth about 2."""
import time
import numpy as np, torch
from mespot.core import one_thread
from mespot.nets.spotter import Spotter, predict_naive, predict_video

def rate(predict, net, video, fps, **options):
    "Frames a second of CPU time."
    start = time.process_time()
    predict(net, video, fps, (.2, 1.), **options)
    return len(video)/(time.process_time() - start)

def main(n=400, rounds=5):
    one_thread(); torch.manual_seed(0)
    net = Spotter().eval()
    net.head.weight.data *= 30                                     # an untrained network is shy; make differences show
    video = np.random.default_rng(0).integers(0, 256, (n, 112, 112), dtype=np.uint8)
    for f in (predict_naive, predict_video): f(net, video[:60], 30, (.2, 1.))
    naive, fast = (np.median(r) for r in zip(*[(rate(predict_naive, net, video, 30), rate(predict_video, net, video, 30)) for _ in range(rounds)]))
    error = np.abs(predict_naive(net, video, 30, (.2, 1.)) - predict_video(net, video, 30, (.2, 1.))).max()
    print(f"naive {naive:5.0f} frames/s   fast {fast:5.0f} frames/s   ratio {fast/naive:.2f}   largest difference {error:.1e}   (30 fps, {n} frames, medians of {rounds})")
    print(f"fast at 200 fps {rate(predict_video, net, video, 200):.0f} frames/s")
    for b in (1, 4, 8, 16, 32): print(f"batch {b:2}: naive {rate(predict_naive, net, video, 30, batch=b):5.0f}   fast {rate(predict_video, net, video, 30, batch=b):5.0f}")

if __name__ == "__main__": main()
