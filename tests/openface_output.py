"What OpenFace 2 writes of a small recording, for tests of those who read it; and a program that can stand in for FeatureExtraction."
import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from mespot.data.openface import OPENFACE_EYES
from mespot.data.registration import similarity, take_view

ASTRONAUT = data.astronaut()
EYES = np.array([[203., 101], [246.5, 103.3]])                        # seen by eye, in the picture
CENTRE = np.array([224.2, 126.])                                      # the origin of OpenFace's face model, about


def source(i): return np.roll(ASTRONAUT, 3*i, axis=1)                 # frame i of the recording


def points(i):
    "(68, 2): rings around the eyes, all other points between them."
    p = np.repeat(EYES.mean(0, keepdims=True), 68, 0)
    for k, eye in ((36, EYES[0]), (42, EYES[1])): p[k:k+6] = eye + 4*np.c_[np.cos(np.arange(6)*np.pi/3), np.sin(np.arange(6)*np.pi/3)]
    return p + (3*i, 0)


def mark(i): return 10*i + 5                                          # grey level of the corner of view i, to tell it by


def view(i, size=112, colour=True):
    v = np.stack([take_view(np.ascontiguousarray(c), similarity(EYES, OPENFACE_EYES)) for c in np.moveaxis(ASTRONAUT, -1, 0)], -1)
    v[:8, :8] = mark(i)
    v = v if colour else cv2.cvtColor(cv2.cvtColor(v, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return v if size == 112 else cv2.resize(v, (size, size), interpolation=cv2.INTER_NEAREST)


def write_output(folder, name, frames, lost=(), faces=(0,), spaces=True, face_id=True, model=True, landmarks=True, size=112, colour=True, kind="bmp"):
    """Write `name`.csv and `name`_aligned; `frames`: which frame each row shows, in OpenFace's order. `lost`: frames without a face. `faces`: ids of the faces; faces but the first are
    seen in the last frame only, and their pictures are white."""
    folder = Path(folder)
    (folder/f"{name}_aligned").mkdir(parents=True)
    head = ["frame", *["face_id"]*face_id, "timestamp", "confidence", "success", *[f"{c}_{k}" for c in "xy" for k in range(68)]*landmarks, *["p_tx", "p_ty"]*model, "AU01_r"]
    rows = []
    for number, i in enumerate(frames, 1):
        for face in faces if number == len(frames) else faces[:1]:
            good = i not in lost
            p = points(i).T.ravel() if good else np.zeros(136)
            rows.append([number, *[face]*face_id, .033*(number - 1), .98*good, int(good), *p.round(3)[:136*landmarks], *(CENTRE + (3*i, 0))*model, 0.5])
            picture = (view(i, size, colour) if face == faces[0] else np.full((size, size, 3), 255, np.uint8)) if good else np.zeros((size, size, 3), np.uint8)
            cv2.imwrite(str(folder/f"{name}_aligned"/f"frame_det_{face:02}_{number:06}.{kind}"), picture[..., ::-1])
    comma = ", " if spaces else ","
    rows = [r[:len(head)] if model else [v for k, v in enumerate(r) if k < len(head) - 1] + [0.5] for r in rows]
    (folder/f"{name}.csv").write_text("\n".join(comma.join(map(str, r)) for r in [head, *rows]) + "\n")
    return folder/f"{name}.csv"


PROGRAM = """#!{python}
import json, pathlib, shutil, sys
args, recorded = sys.argv[1:], pathlib.Path({recorded!r})
(recorded/"args.json").write_text(json.dumps(args))
out, name = pathlib.Path(args[args.index("-out_dir") + 1]), pathlib.Path(args[args.index("-of") + 1]).stem
shutil.copy(recorded/"recorded.csv", out/(name + ".csv"))
shutil.copytree(recorded/"recorded_aligned", out/(name + "_aligned"))
(out/(name + "_of_details.txt")).write_text("Input:" + args[1])
{extra}
"""


def install(folder, monkeypatch, frames, extra="", **how):
    """Put a stand-in for FeatureExtraction into `folder` and on the PATH; returns a function that tells what it was given when it ran last.

    It writes what `write_output` makes of `frames`, under the name it is given, and then runs the code `extra`."""
    write_output(folder, "recorded", frames, **how)
    program = Path(folder)/"FeatureExtraction"
    program.write_text(PROGRAM.format(python=sys.executable, recorded=str(folder), extra=extra))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return lambda: json.loads((Path(folder)/"args.json").read_text())
