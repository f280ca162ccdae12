"""What a training step costs: CPU milliseconds at batch 16 with the default network, on one thread, whole and by its parts, and the loader's share.

Run: python tests/benchmarks/bench_training.py [steps]. The whole step is a training minus a shorter one; the parts are timed alone, and what is left over is Lightning and
bookkeeping. Printed, never enforced: machines are noisy. A plain matrix product of known size stands beside it, so that runs on different machines can be compared."""
import os
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
import sys, time
import numpy as np, torch
from timing import cpu_ms
from mespot.core import one_thread
from mespot.nets.spotter import LOSSES, Spotter, weighted_loss
from mespot.signal.augment import augment, draw_augmentation, tone, turn
from mespot.signal.lcn import lcn_torch
from mespot.train.fit import fit_spotter
from mespot.train.samples import FrameSamples, LabelledVideo, batches

BATCH, FRAMES = 16, 200


def video(subject):
    "Noise with a few labels."
    frames, labels = np.random.default_rng(0).integers(0, 256, (FRAMES, 112, 112), dtype=np.uint8), np.zeros((FRAMES, 2))
    labels[50:60, 0] = labels[80:140, 1] = 1
    return LabelledVideo(frames, labels, 30, subject)


def training(steps):
    "(CPU seconds, history) of a training of so many steps with one batch of validation."
    start = time.process_time()
    history = fit_spotter([video("a")], [video("b")], epochs=1, frames_per_epoch=steps*BATCH, val_frames=BATCH)[1]
    return time.process_time() - start, history


def whole_step(steps, rounds=3):
    "(CPU milliseconds a step, share of its time that it waited for the loader): medians."
    training(1)
    pairs = [(training(steps + 1), training(1)) for _ in range(rounds)]
    return float(np.median([1e3*(long - short)/steps for (long, _), (short, _) in pairs])), float(np.median([history.waiting.iloc[-1] for (_, history), _ in pairs]))


def parts(steps):
    "CPU milliseconds a step of each part by itself: dict."
    loader = batches(FrameSamples([video("a")], frames_per_epoch=steps*BATCH), BATCH)
    x, y = next(iter(loader))
    generator = torch.Generator().manual_seed(0)
    d = draw_augmentation(BATCH, generator)
    turned = turn(x, d["degrees"], d["flip"])
    augmented = augment(x, generator)
    normalised = lcn_torch(augmented)
    model = Spotter().to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(model.parameters(), .003, fused=True)
    loss = lambda: weighted_loss(model(normalised), y, **LOSSES["thesis"])
    def both(): model.zero_grad(); loss().backward()
    both()
    cost = {"loader": cpu_ms(lambda: [None for _ in loader], 5)/steps, "augmentation": cpu_ms(lambda: augment(x, generator), steps)}
    cost["  of it turning"], cost["  of it light"] = cpu_ms(lambda: turn(x, d["degrees"], d["flip"]), steps), cpu_ms(lambda: tone(turned, d["contrast"], d["gamma"], d["gain"]), steps)
    cost["LCN"] = cpu_ms(lambda: lcn_torch(augmented), steps)
    cost["network forward and backward"] = cpu_ms(both, steps)
    cost["  of it forward"] = cpu_ms(loss, steps)
    cost["optimiser"] = cpu_ms(adam.step, steps)
    return cost


def main(steps=40, n=1024):
    one_thread()
    torch.empty(31 << 18)                                     # as in training: see mespot.train.fit
    whole, waiting = whole_step(steps)
    cost, a = parts(steps), torch.randn(n, n)
    product = cpu_ms(lambda: a @ a, 9)
    cost["Lightning and the rest"] = whole - sum(ms for part, ms in cost.items() if not part.startswith(" "))
    print(f"a training step of {BATCH} samples: {whole:.1f} ms of CPU time, {whole/product:.2f} times a {n}x{n} float32 matrix product ({product:.1f} ms, {2*n**3/product/1e6:.0f} GFLOP/s)")
    for part, ms in cost.items(): print(f"  {part:30} {ms:6.2f} ms {ms/whole:6.1%}")
    print(f"the loader alone takes {cost['loader']/whole:.1%} of a step; in training {waiting:.1%} of the wall time was spent waiting for it")


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
