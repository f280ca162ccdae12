"""Every public function and method says what it takes and what it gives, in types that can be resolved."""
import ast, importlib, inspect, pkgutil, typing
from pathlib import Path

import pytest

import mespot

NOT_YET = ()    # packages and modules that are passed over, with all that is in them
MODULES = sorted(m.name for m in pkgutil.walk_packages(mespot.__path__, "mespot.") if not m.ispkg and not m.name.endswith("._modidx"))
MODULES = [m for m in MODULES if not any(m == skipped or m.startswith(f"{skipped}.") for skipped in NOT_YET)]


def unwrapped(x):
    "The function in a property, class or static method, cache or other decorator; None if there is none."
    x = x.fget if isinstance(x, property) else getattr(x, "__func__", x)
    x = inspect.unwrap(getattr(x, "func", x))
    return x if inspect.isfunction(x) else None


def public(module):
    "(name, function, whether its first parameter is self or cls) of what is defined in the module: its exported functions, and public methods and __init__ as written in its exported classes."
    for name in module.__all__:
        x = getattr(module, name)
        if getattr(x, "__module__", None) != module.__name__: continue
        if not inspect.isclass(x):
            if f := unwrapped(x): yield name, f, False
            continue
        for method, value in vars(x).items():
            f = unwrapped(value)
            written = f is not None and f.__module__ == module.__name__ and f.__code__.co_filename == module.__file__
            if written and (method == "__init__" or not method.startswith("_")): yield f"{name}.{method}", f, not isinstance(value, staticmethod)


def without_types(f, bound):
    "The names of the parameters of `f` that have no type, and 'return'; not the first of one that is `bound`; *args and **kwargs may be without."
    signature = inspect.signature(f)
    first = next(iter(signature.parameters), None) if bound else None
    bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name != first]
    return bare + ["return"]*(signature.return_annotation is signature.empty)


def for_checkers(module):
    "What the module imports only for type checkers, by name."
    tree, names = ast.parse(Path(module.__file__).read_text(encoding="utf-8")), {}
    for node in (n for block in tree.body if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING" for n in block.body):
        source = importlib.import_module("."*node.level + (node.module or ""), module.__package__)
        names |= {a.asname or a.name: getattr(source, a.name) for a in node.names}
    return names


def test_what_is_looked_at_includes_functions_methods_properties_and_decorated_ones():
    found = {f"{m}.{name}" for m in ("mespot.core", "mespot.data.recordings", "mespot.data.au_meter", "mespot.nets.spotter", "mespot.train.proposals")
             for name, *_ in public(importlib.import_module(m))}
    assert {"mespot.core.atomic_path", "mespot.data.recordings.Recordings.subjects", "mespot.data.recordings.Recordings.of", "mespot.data.au_meter.shipped_meter",
            "mespot.nets.spotter.Spotter.forward", "mespot.nets.spotter.Spotter.__init__", "mespot.train.proposals.Proposals.from_dict",
            "mespot.nets.spotter.predict_video"} <= found
    assert "mespot.data.recordings.Recordings.__init__" not in found and len(MODULES) > 50


def test_a_missing_type_is_seen():
    def f(self, a, b: int, *c, d=1, **e): pass
    assert without_types(f, True) == ["a", "d", "return"] and without_types(f, False) == ["self", "a", "d", "return"]


@pytest.mark.parametrize("name", MODULES)
def test_public_functions_have_types_that_resolve(name):
    module, wrong = importlib.import_module(name), []
    names = for_checkers(module)
    for what, f, bound in public(module):
        if bare := without_types(f, bound): wrong.append(f"{name}: {what} has no type for {', '.join(bare)}")
        try: typing.get_type_hints(f, localns=names, include_extras=True)
        except Exception as e: wrong.append(f"{name}: the types of {what} do not resolve ({type(e).__name__}: {e})")
    assert not wrong, "\n" + "\n".join(wrong)
