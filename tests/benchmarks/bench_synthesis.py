"""Frames a second of StarGAN v2's generator against its multiply-adds and against what the processor does in a plain matrix product.
Run: python tests/benchmarks/bench_synthesis.py [batch]. One thread, the process's own CPU time; asserts nothing about it."""
import os
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
import sys
import torch
from timing import cpu_times
from mespot.core import one_thread
from mespot.nets.stargan2 import StarGANConfig, build, flops

CONFIGS = {"64, 16 channels": StarGANConfig(64, style_dim=32, latent_dim=8, dim_in=16, max_conv_dim=64, hidden_dim=64), "128, 16 channels": StarGANConfig(128, dim_in=16, max_conv_dim=128),
           "256, published": StarGANConfig(), "256, published, no skip": StarGANConfig(w_hpf=0.)}


@torch.inference_mode()
def main(batch=1):
    one_thread()
    a = torch.randn(1024, 1024)
    peak = 1024**3/cpu_times(lambda: a @ a, 9)[0]/1e9
    print(f"a matrix product of 1024: {peak:.1f} giga multiply-adds/s")
    for name, config in CONFIGS.items():
        generator, size = build(config)["generator"].eval(), config.img_size
        x, s, mask = torch.rand(batch, 3, size, size)*2 - 1, torch.randn(batch, config.style_dim), torch.ones(batch, 1, size, size)
        seconds, work = cpu_times(lambda: generator(x, s, mask), 3 if size == 256 else 15)[0]/batch, flops(config)["generator"]/1e9
        print(f"{name:24} {1/seconds:8.2f} frames/s   {work:7.2f} giga multiply-adds a frame   {work/seconds:6.1f}/s, {work/seconds/peak:.2f} of the product")


if __name__ == "__main__": main(*map(int, sys.argv[1:]))
