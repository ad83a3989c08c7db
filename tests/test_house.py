"""The rule of the house: which file may import which; who knows Numba, LLVM, scikit-learn; how long lists may be.

Read from the sources alone: nothing of fastnet is imported here. Every finding names a file and the rule it breaks.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = {
    "the kernels' records": ["kernels", "kernels.codes", "kernels.constants", "kernels.plan"],
    "how kernels are built": ["kernels.build.*"],
    "LLVM IR": ["kernels.ir.*"],
    "the kernels' mathematics": [
        "kernels.blocks", "kernels.elementary", "kernels.activations",
        "kernels.losses", "kernels.dropout", "kernels.updates", "kernels.factored",
        "kernels.gather", "kernels.encode", "kernels.products", "kernels.wide_input",
    ],
    "passes": ["kernels.passes"],
    "entry points": ["kernels.train", "kernels.predict", "kernels.link", "kernels.ahead"],
    "errors, checks, reports": ["errors", "words", "checks", "report"],
    "what a user names": [
        "scaling", "activations", "initializers", "losses", "schedules", "optimizers", "layers", "metrics", "plot",
        "history", "callbacks", "streams.*",
    ],
    "files": ["files", "files.durable", "files.tensors", "files.settings", "files.network"],
    "engine": ["engine.*"],
    "exchange": ["exchange.*"],
    "model": ["parameters", "files.model", "model"],
    "many models": ["many.*"],
    "scikit-learn": ["sklearn.*"],
    "tables": ["tables.*"],
    "the package": ["", "__main__", "versions", "mpi.*"],
}  # fmt: skip
"""From the bottom; modules of `fastnet`, in which "x.*" stands for the package x and all in it."""

RECORDS = {"kernels.codes", "kernels.constants", "kernels.plan", "kernels.build.forks"}
"""What is outside the kernels may import these at its top; other kernels, which load numba, inside functions alone."""
KERNELS_NEVER = {"errors, checks, reports", "what a user names"}
"""The floors outside the kernels that may import nothing of them but the records."""

ONLY_IN = {
    "numba": ("kernels",),
    "numba.core": ("kernels.build", "kernels.ir"),
    "llvmlite": ("kernels.build", "kernels.ir"),
    "cgutils": ("kernels.build", "kernels.ir"),
    "sklearn": ("sklearn", "tables"),
    "scipy": ("sklearn",),
    "skl2onnx": ("sklearn",),
    "onnx": ("exchange",),
    "torch": ("exchange",),
    "pyarrow": ("streams",),
    "mpi4py": ("engine.mpi", "mpi"),
}
MOST_PARAMETERS = 12
FIXED_BY_THE_API = {
    "many.train.train_many",
    "model.Model.fit",
    "sklearn.estimators.MLPClassifier.__init__",
    "sklearn.estimators.MLPRegressor.__init__",
    "tables.classifier.TableClassifier.__init__",
    "tables.regressor.TableRegressor.__init__",
}
MOST_FILES = 20

Sources = dict[str, ast.Module]


class Import(NamedTuple):
    """What is imported, "fastnet.kernels.codes" say; and where: at "top", in a "function" or for types ("typing")."""

    module: str
    where: str


def sources(folder: Path) -> Sources:
    """Return the trees of all modules of the package in a folder, by their names within it."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(), str(path))
    return found


FASTNET = sources(ROOT / "fastnet")


def imports(tree: ast.AST, where: str = "top") -> Iterator[Import]:
    """Yield every import of a module, with all names: `from a import b` is "a.b"."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, where) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (Import(f"{module}.{alias.name}", where) for alias in node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from imports(node, "function")
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from (found for part in node.body for found in imports(ast.Module([part], []), "typing"))
            yield from (found for part in node.orelse for found in imports(ast.Module([part], []), where))
        else:
            yield from imports(node, where)


def inner_imports(modules: Sources, name: str) -> Iterator[Import]:
    """Yield the imports of a module that are of the package itself, as names of `modules`."""
    for module, where in imports(modules[name]):
        if module.split(".")[0] == "fastnet":
            parts = module.split(".")[1:]
            while parts and ".".join(parts) not in modules:
                parts.pop()  # the name of a function or class
            yield Import(".".join(parts), where)


def floor_of(name: str) -> int | None:
    """Return the number of the floor that a module is on, if it is on one."""
    for number, names in enumerate(FLOORS.values()):
        packages = [entry[:-2] for entry in names if entry.endswith(".*")]
        if name in names or any(f"{name}.".startswith(f"{package}.") for package in packages):
            return number
    return None


def file_of(name: str) -> str:
    """Return how messages call a module."""
    is_package = not name or any(other.startswith(f"{name}.") for other in FASTNET)
    return "/".join(["fastnet", *filter(None, name.split(".")), *["__init__"] * is_package]) + ".py"


# --------------------------------------------------------------------------------------------------------------- rules


def upward_imports(modules: Sources) -> Iterator[str]:
    """Yield each import of a higher floor, and of kernels where they may not be imported; modules without a floor."""
    names = list(FLOORS)
    for name in modules:
        floor = floor_of(name)
        if floor is None:
            yield f"{file_of(name)} is on no floor: give it one in FLOORS"
            continue
        if any(module.startswith(".") for module, _ in imports(modules[name])):
            yield f"{file_of(name)} has a relative import: write fastnet. and so on, which is checked"
        for imported, where in inner_imports(modules, name):
            other = floor_of(imported)
            if other is not None and other > floor:
                yield (
                    f"{file_of(name)} ({names[floor]}) imports {file_of(imported)} ({names[other]}): imports go down"
                )
            if name.startswith("kernels") or not imported.startswith("kernels") or imported in RECORDS:
                continue
            if names[floor] in KERNELS_NEVER:
                yield f"{file_of(name)} ({names[floor]}) imports {file_of(imported)}: codes and plan are all it may"
            elif where == "top":
                yield f"{file_of(name)} imports {file_of(imported)} at its top: it loads numba, so inside a function"


def circles(modules: Sources) -> Iterator[str]:
    """Yield each circle that a walk along all imports meets, type-only ones and those in functions included."""
    below = {name: sorted({module for module, _ in inner_imports(modules, name)} - {name}) for name in modules}
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> Iterator[str]:
        if name in path:
            yield "a circle of imports: " + " -> ".join(map(file_of, [*path[path.index(name) :], name]))
        elif name not in done:
            for other in below[name]:
                yield from walk(other, [*path, name])
            done.add(name)

    for name in modules:
        yield from walk(name, [])


def strangers(modules: Sources) -> Iterator[str]:
    """Yield each mention of a library in a file that is not to know it."""
    for name, tree in modules.items():
        mentions = {found.module for found in imports(tree)}
        mentions |= {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Name, ast.Attribute))}
        for library, packages in ONLY_IN.items():
            start = r"(^|\.)" if library == "cgutils" else "^"  # which comes from numba.core
            pattern = re.compile(rf"{start}{re.escape(library)}(\.|$)")
            is_at_home = any(f"{name}.".startswith(f"{package}.") for package in packages)
            if not is_at_home and (found := sorted(mention for mention in mentions if pattern.search(mention))):
                places = " and ".join(f"fastnet/{package.replace('.', '/')}/" for package in packages)
                yield f"{file_of(name)} uses {', '.join(found)}: {library} is for {places} alone"
        if name in RECORDS and any(mention.split(".")[0] == "numba" for mention in mentions):
            yield f"{file_of(name)} uses numba: the records are read without it"


def parameter_counts(tree: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield each function, by its full name, and how many parameters it has, self included."""
    for node in ast.iter_child_nodes(tree):
        name = f"{prefix}.{node.name}" if hasattr(node, "name") and not isinstance(node, ast.alias) else prefix
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            listed = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            rest = [node.args.vararg, node.args.kwarg]
            yield name, len(listed) + sum(argument is not None for argument in rest)
        yield from parameter_counts(node, name)


def long_lists(modules: Sources) -> Iterator[str]:
    """Yield each function with too many parameters; intrinsics, which become LLVM IR, may have them."""
    for module, tree in modules.items():
        if not f"{module}.".startswith("kernels.ir."):
            for function, n in parameter_counts(tree, module):
                if n > MOST_PARAMETERS and function not in FIXED_BY_THE_API:
                    yield f"{file_of(module)}: {function} has {n} parameters; {MOST_PARAMETERS} are the most"


RULES = [upward_imports, circles, strangers, long_lists]


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps_its_rule(rule):
    found = sorted(set(rule(FASTNET)))
    assert not found, "\n".join(["", *found])


def test_what_the_rule_names_is_there():
    names = [name for floor in FLOORS.values() for name in floor]
    gone = [name for name in names if name.removesuffix(".*") not in FASTNET]
    assert not gone, f"FLOORS names {gone}, which are no modules of fastnet"
    for function in FIXED_BY_THE_API:
        counts = {name: n for module, tree in FASTNET.items() for name, n in parameter_counts(tree, module)}
        assert counts.get(function, 0) > MOST_PARAMETERS, f"FIXED_BY_THE_API names {function}, which needs no exception"


def test_there_are_few_files_side_by_side():
    files = sorted(path.name for path in (ROOT / "fastnet").glob("*.py"))
    assert len(files) <= MOST_FILES, f"fastnet/ has {len(files)} files, more than {MOST_FILES}: {files}"


def test_every_folder_is_a_package_that_is_kept():
    """What .gitignore names is neither committed nor in the wheel."""
    folders = {path.parent for path in (ROOT / "fastnet").rglob("*.py")}
    ignored = (ROOT / ".gitignore").read_text().split() if (ROOT / ".gitignore").exists() else []
    for folder in folders:
        name = folder.relative_to(ROOT)
        assert (folder / "__init__.py").exists(), f"{name} has no __init__.py"
        assert f"{folder.name}/" not in ignored, f".gitignore hides {name}: write /{folder.name}/ there"


# ------------------------------------------------------------------------------------------------------- named paths


def named_paths(text: str) -> set[str]:
    """Return the files and folders of the project that a text names: `tests/bounds.py`, `kernels/ir/`, `plan.py`."""
    tops = "scripts|examples|tests|benchmarks|fastnet|kernels|engine|sklearn|build|ir"
    found = set(re.findall(rf"(?<![\w/.~-])(?:(?:{tops})/[\w/]*(?:\.\w+)?|\w+\.py\b)", text))
    return found - {"fastnet/kernels/__pycache__"}  # is made


PAGES = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "fastnet/kernels/__init__.py", *PAGES])
def test_every_path_that_is_named_exists(name):
    text = (ROOT / name).read_text()
    if name.endswith(".py"):
        text = ast.get_docstring(ast.parse(text)) or ""
    folders = [ROOT, ROOT / "fastnet", ROOT / "fastnet" / "kernels"]
    gone = sorted(path for path in named_paths(text) if not any((folder / path).exists() for folder in folders))
    assert not gone, f"{name} names {gone}, which do not exist"


def test_named_paths_are_found():
    text = "`tests/bounds.py`, `plan.py` in `fastnet/kernels/`; `kernels/ir/tiles.py`, [`scripts/test`], ~/ir/x, a/b.py"
    text += ", `python examples/flower.py`"
    assert named_paths(text) == {
        "tests/bounds.py",
        "plan.py",
        "fastnet/kernels/",
        "kernels/ir/tiles.py",
        "scripts/test",
        "examples/flower.py",
    }


# ----------------------------------------------------------------------------------------------------- it can say no


@pytest.mark.parametrize(
    ("rule", "name", "code", "message"),
    [
        (upward_imports, "kernels.codes", "import fastnet.model", "kernels/codes.py .* imports .*model.py .*go down"),
        (upward_imports, "losses", "if TYPE_CHECKING:\n import fastnet.engine.run", "losses.py .*engine/run.py"),
        (upward_imports, "checks", "def f():\n from fastnet import Model", "checks.py .* imports fastnet/__init__.py"),
        (upward_imports, "losses", "def f():\n from fastnet.kernels import train", "codes and plan are all"),
        (upward_imports, "engine.run", "from fastnet.kernels.ir import barrier", "at its top"),
        (upward_imports, "losses", "from . import codes", "losses.py has a relative import"),
        (upward_imports, "elsewhere", "", "elsewhere.py is on no floor"),
        (circles, "kernels.codes", "def f():\n import fastnet.kernels.plan", "circle.*codes.py -> .*plan.py"),
        (strangers, "model", "from numba import njit", "model.py uses numba.njit: numba is for fastnet/kernels/ alone"),
        (strangers, "kernels.passes", "from numba.core import types", "passes.py uses numba.core.types: numba.core is"),
        (strangers, "kernels.passes", "import numba\nnumba.core.types.void", "uses numba.core, numba.core.types"),
        (strangers, "kernels.gather", "from numba.core import cgutils", "uses numba.core.cgutils: cgutils is for"),
        (strangers, "kernels.train", "def f():\n import llvmlite.ir", "train.py uses llvmlite.ir: llvmlite is for"),
        (strangers, "engine.sparse", "import scipy", "scipy is for fastnet/sklearn/ alone"),
        (strangers, "kernels.plan", "import numba", "the records are read without it"),
        (long_lists, "layers", "class A:\n def f(self, a, b, c, d, e, f, g, h, i, *j, k, **l): 0", "A.f has 13"),
    ],
)  # fmt: skip
def test_the_rule_finds_what_breaks_it(rule, name, code, message):
    modules = {"": "", "kernels": "", "kernels.ir": "", "kernels.ir.barrier": "", "kernels.train": "", "model": ""}
    modules |= {"kernels.codes": "", "kernels.plan": "from fastnet.kernels import codes", "engine.run": ""}
    trees = {module: ast.parse(text) for module, text in modules.items()}
    assert not list(rule(trees))
    found = list(rule(trees | {name: ast.parse(code)}))
    assert any(re.search(message, each) for each in found), found
