"A real face with known head movement, expressions, blinks, changing light and noise: material for the tests of the aligner."
import cv2
import numpy as np
from skimage import data

FACE = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2GRAY)             # (512, 512)
EYES = np.array([[203., 101], [246.5, 103.3]])                        # seen by eye, in the picture
MIDDLE = np.array([224.8, 120.])


def _bump(x, y, centre, width, height): return np.exp(-((x - centre[0])/width)**2 - ((y - centre[1])/height)**2)


def _pose(shift, turn, scale, size):
    "Picture → camera (2, 3)."
    a = scale*np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return np.c_[a, np.array(size)/2 + shift - a @ MIDDLE]


def poses(n, size, scale=2.2, motion=1., fps=30, seed=0):
    "(n, 2, 3) picture → camera: smooth wandering, turning and nearing."
    rng, t = np.random.default_rng(seed), np.arange(n)/fps
    wave = lambda: motion*sum(a*np.sin(2*np.pi*f*t + rng.uniform(0, 6.3)) for f, a in ((.3, .6), (.7, .35), (1.6, .1)))
    x, y, turn, near = wave()*30, wave()*20, wave()*np.radians(8), wave()*.06
    return np.stack([_pose((x[i], y[i]), turn[i], scale*np.exp(near[i]), size) for i in range(n)])


def film(poses, size=(640, 480), fps=30, expression=1., light=1., noise=4., seed=0):
    "The camera's pictures (n, h, w) uint8: a smile, raised brows, a frown, an open mouth and blinks on a head before a still background."
    rng, (w, h) = np.random.default_rng(seed), size
    gx, gy = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    wall = 110 + 6*(lambda a: a - a.mean())(cv2.GaussianBlur(rng.uniform(0, 255, (h, w)), (0, 0), 6))
    (left, right), mouth = EYES, np.array([226., 146])
    frames = np.empty((len(poses), h, w), np.uint8)
    for i, pose in enumerate(poses):
        t, back = i/fps, cv2.invertAffineTransform(pose)
        x, y = (back[k, 0]*gx + back[k, 1]*gy + back[k, 2] for k in (0, 1))
        during = lambda onset, seconds: expression*np.sin(np.pi*np.clip((t - onset)/seconds, 0, 1))
        smile, brows, frown, jaw = during(.6, 1.2) + .4*during(2.2, .3), during(1.3, .5), .7*during(.2, .35), during(1.6, .7)
        dx, dy = frown*3*(_bump(x, y, left + (10, -12), 9, 8) - _bump(x, y, right + (-10, -12), 9, 8)), jaw*5*_bump(x, y, mouth + (0, 14), 22, 14)
        for side, eye in ((-1, left), (1, right)):
            dx, dy = dx + side*smile*5*_bump(x, y, mouth + (20*side, -2), 12, 10), dy - smile*5*_bump(x, y, mouth + (20*side, -2), 14, 12)
            dy = dy - smile*2*_bump(x, y, mouth + (28*side, -22), 14, 10) - brows*5*_bump(x, y, eye - (0, 14), 16, 12)
        face = cv2.remap(FACE, np.float32(x - dx), np.float32(y - dy), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
        if expression and any(start <= t < start + .15 for start in (.5, 1.75)):                      # lids are shut
            for eye in EYES: face += np.clip(1.6*_bump(x, y, eye, 12.7, 6.4) - .4, 0, 1)*(150 - face)
        head = cv2.GaussianBlur(np.float32(((x - MIDDLE[0])/52)**2 + ((y - MIDDLE[1] + 4)/72)**2 < 1), (0, 0), 1.2)
        gain = (.9 + light*(.15*np.sin(2*t) + .05*np.sin(44*t)))*(1 + light*.25*np.sin(t)*(gx/w - .5)*2)
        bright = 255*np.clip((face*head + wall*(1 - head))/255*gain, 0, 1)**np.exp(light*.25*np.sin(1.3*t + 1))
        frames[i] = np.clip(bright + rng.normal(0, noise, (h, w)), 0, 255)
    return frames
