"basicsr 1.4.2's NIQE, where that package is installed (`pip install --no-deps basicsr==1.4.2` is enough: its __init__ files, which want torchvision, are passed by)."
import importlib, sys, warnings
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def load():
    "Its metrics.niqe module, or None."
    spec = find_spec("basicsr")
    if spec is None: return None
    folder = Path(spec.origin).parent
    for name in ("basicsr", "basicsr.utils", "basicsr.metrics"):
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
    sys.modules["basicsr.utils"].bgr2ycbcr = importlib.import_module("basicsr.utils.color_util").bgr2ycbcr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                     # scipy.ndimage.filters, by its old name
        return importlib.import_module("basicsr.metrics.niqe")


def score(module, image):
    "Its NIQE of `image`, (H, W) or RGB (H, W, 3); it takes BGR."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                     # means of nothing in constant patches
        return module.calculate_niqe(image[..., ::-1], 0) if image.ndim == 3 else module.calculate_niqe(image, 0, input_order="HW")
