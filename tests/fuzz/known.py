"""Differences between memory and out of memory that are meant, and why.

`docs/compatibility.py` prints the reasons. It loads this file by its path, as others may: it imports nothing of ours.
What was found is a dictionary: `op` is the call, `hist` the code up to it, `kind` what differs (`values`, or who
raised), `diffs` how. There may be `matrices` and `read`, the matrices before the call and at first, and `in_order`:
nothing differs where entries were put in order first. Data of a module `fuzzlib` are made again from their number.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

__all__ = ["KNOWN", "Known", "described", "known", "matrices"]

Find = dict[str, Any]
_NUMBER = r"(?:np\.float\d+\()?(-?[\d.]+(?:e[+-]?\d+)?|-?inf|nan)\)?"
_NUMBERS = re.compile(rf"[ (]{_NUMBER} vs {_NUMBER}$")


class Known(NamedTuple):
    """A difference that is meant: what it is about, whether a find is nothing but that, and why, in a sentence."""

    name: str
    condition: Callable[[Find], bool]
    reason: str


# -- what matrices there are, in words


def matrices(adata: Any) -> dict[str, Any]:
    """Return X, layers and X of raw by their places in a file."""
    found = {"X": adata.X, **{f"layers/{k}": x for k, x in adata.layers.items() if k}}  # None is X, with anndata 0.13
    if adata.raw is not None:
        found["raw/X"] = adata.raw.X
    return {name: x for name, x in found.items() if x is not None}


def _described(x: Any) -> str:
    """Name the form and type of a matrix, and what of its values makes results depend on the order of steps."""
    few = {1: ["one row"], 2: ["few rows"], 3: ["few rows"]}
    words = [x.format if sparse.issparse(x) else "dense", str(x.dtype), *few.get(x.shape[0], [])]
    if sparse.issparse(x):
        major = np.repeat(np.arange(len(x.indptr) - 1), np.diff(x.indptr))
        if len(np.unique(np.stack([major, x.indices]), axis=1).T) < len(x.indices):
            words.append("repeated")
        if np.any((np.diff(x.indices) < 0) & (np.diff(major) == 0)):
            words.append("unsorted")
        words += [f"stored zeros among {x.shape[1]}"] if (x.data == 0).any() else []
    values = x.data if sparse.issparse(x) else x
    words += [word for word, is_so in (("nan", np.isnan), ("inf", np.isinf)) if is_so(values).any()]
    for word, number in _even_columns(x).items():
        words += [f"{word} in {number} of {x.shape[1]}"] if number else []
    return " ".join(words)


def _even_columns(x: Any) -> dict[str, int]:
    """Count the columns that are constant, and those that are so but for rounding."""
    values = np.asarray(x.toarray() if sparse.issparse(x) else x, dtype=float)
    if not values.size:
        return {}
    with np.errstate(all="ignore"):
        spread = np.ptp(values, axis=0)
        small = spread < 1e-5 * np.abs(values).max(initial=0, where=np.isfinite(values))
    return {"constant": int(np.sum(spread == 0)), "rounding": int(np.sum(small & (spread > 0)))}


def described(adata: Any) -> dict[str, str]:
    """Say in words what matrices there are, as in ``{"X": "csr float32 repeated"}``."""
    return {name: _described(x) for name, x in matrices(adata).items()}


# -- kinds of differences


def _calls(find: Find, pattern: str) -> bool:
    return re.search(pattern, find["op"]) is not None


def _all(find: Find, pattern: str) -> bool:
    return all(re.match(pattern, text) for text in find["diffs"])


def _any(find: Find, pattern: str) -> bool:
    return any(re.search(pattern, text) for text in find["diffs"])


def _used(find: Find) -> list[str]:
    """Return what is said of the matrices that a call uses: the layer that it names, or X; and raw."""
    named = [f"layers/{name}" for name in re.findall(r"layer(?:s\[|=)'(\w+)'", find["op"])]
    if not named or "adata.X" in find["op"]:
        named.append("X")
        taken = re.findall(r"adata\.X = adata\.layers\['(\w+)'\]", " ".join(find["hist"]))
        named += [] if "matrices" in find else [f"layers/{name}" for name in taken]
    if re.search(r"use_raw=True|\.raw\b|rank_genes_groups|score_genes|dendrogram", find["op"]):
        named.append("raw/X")
    return [words for name, words in _of_data(find).items() if name in named]


def _of_data(find: Find) -> dict[str, str]:
    """Return what is said of the matrices before the call; where nothing is, of those that were read."""
    if "matrices" not in find and "fuzzlib" in sys.modules:
        return described(sys.modules["fuzzlib"].make(find["seed"]))
    return dict(find.get("matrices", {}))


def _is_off_by(find: Find, each: float, least: float = 0) -> bool:
    """Tell whether only numbers differ, relative to each no more than this, or by less than the least."""
    found = [_NUMBERS.search(text) for text in find["diffs"]]
    pairs = [(float(match[1]), float(match[2])) for match in found if match]
    close = all(abs(a - b) <= max(least, each * max(abs(a), abs(b))) < math.inf for a, b in pairs)
    return find["kind"] == "values" and len(pairs) == len(found) and close


def _reads_nothing(find: Find) -> bool:
    refused = find["kind"] == "mem-raises" and _any(find, r"^ValueError: Input contains (NaN|infinity)")
    return refused and _calls(find, r"\.pp\.(log1p|recipe_)")


def _is_undetermined(find: Find) -> bool:
    """Tell so of loadings, and of a sign that rounding decides, as two cells are equally far from the centre."""
    pairs = [match.groups() for text in find["diffs"] if (match := _NUMBERS.search(text))]
    turned = len(pairs) == len(find["diffs"]) and all(math.isclose(float(a), -float(b), rel_tol=1e-6) for a, b in pairs)
    loadings = _all(find, r"\w+\.varm\[|out\[varm|out\[1\]: ")
    return find["kind"] == "values" and _calls(find, r"pca\(") and (loadings or turned)


def _divides_by_rounding(find: Find) -> bool:
    """Tell so by the share of what differs: that of the columns which are constant, but for rounding."""
    if find["kind"] != "values" or not _calls(find, r"\.pp\.(scale|combat)\("):
        return False
    where = r"(?:(?:adata|out)\.(?:X|layers\[\w+\])|(?:adata|out)\.var\[std.*\]|out): (\d+)/(\d+) "
    found = [re.match(where, text) for text in find["diffs"]]
    even = "constant|rounding" if _calls(find, "combat") else "rounding"
    columns = [re.findall(rf"(?:{even}) in (\d+) of (\d+)", text) for text in _used(find)]
    if even != "rounding" and (any(columns) or "matrices" not in find):
        return all(match is not None for match in found)  # of the priors, which are over all genes
    shares = [sum(int(n) / int(m) for n, m in each) for each in columns]
    small = r"\w+\.var\[std.*\]: (\d+)/(\d+) .*(?:nan|e-\d+)\)? vs .*(?:nan|e-\d+)\)?$"
    shares += [int(match[1]) / int(match[2]) for text in find["diffs"] if (match := re.match(small, text))]
    share = max([0 if "matrices" in find else 0.25 if _calls(find, "mask_obs=") else 0.1, *shares])
    return all(match is not None and int(match[1]) <= share * int(match[2]) for match in found)


def _is_zero_but_for_rounding(find: Find) -> bool:
    """Tell so by the numbers, or where small ones are counted or divided by, of matrices that have such."""
    leaves = r"regress_out|combat|pearson_residuals|pp\.scale|recipe_|adata\[\[-?\d+\]\]"
    has_some = re.search("rounding|one row", " ".join(_used(find))) is not None or (
        "matrices" not in find and any(re.search(leaves, code) for code in find["hist"][:-1])
    )
    counts = r"filter_(cells|genes)|qc_metrics|rank_genes|experimental\.pp|adata\.X [<>]|(np|pp)\.(log\w*|sqrt|sign)\("
    divides = r"highly_variable_genes|normalize_|score_genes|pp\.pca|\.metrics\.|aggregate\(|scrublet\("
    at_bound = any("target_sum=" in code for code in find["hist"][:-1])  # of totals, one value is a bound
    if at_bound and _calls(find, r"\.pp\.(filter_cells|normalize_per_cell)") and _all(find, "(adata|out): shape"):
        return find["kind"] == "values"
    singular = _calls(find, r"regress_out\(adata, \[") and "few rows" in " ".join(_used(find))
    return _is_off_by(find, 0, 1e-6) or (
        find["kind"] == "values"
        and ((has_some and _calls(find, f"{counts}|{divides}")) or singular)
        and _all(find, r"\S+: (\d+/\d+ differ|item \d+: )|(adata|out): shape|adata\.(obs|var): index")
    )


def _is_half(find: Find) -> bool:
    """Tell so of numbers that are near, or of statistics that divide by their differences; one cell has none."""
    used, steps = " ".join(_used(find)), r"highly_variable_genes|filter_genes_dispersion|rank_genes|score_genes"
    one = "one row" in used or any(re.search(r"= adata\[\[?-?\d+\]?[,\]]", code) for code in find["hist"])
    if one and "float16" in used and _any(find, r"^IndexError: index -1 is out of bounds|var\[std"):
        return _calls(find, r"highly_variable_genes|pp\.scale")
    of = re.search("float16|bool", used) is not None and find["kind"] == "values"
    other = "dtype" if _calls(find, "subset=True") else "dtype|shape"
    residuals = _calls(find, "pearson_residuals") and _any(find, r"dtype float16 vs float64$")
    return of and (residuals or _is_off_by(find, 0.02, 0.02) or (_calls(find, steps) and not _any(find, other)))


def _is_stored_oddly(find: Find) -> bool:
    """Tell so by what the same calls do where entries were put in order first, if that was tried; else by the data."""
    odd = {"repeated", "unsorted"} & set(" ".join([*_used(find), *_of_data(find).values()]).split())
    chosen = any(re.search(r"filter_genes|highly_variable|adata\[|concat|\.T\b", code) for code in find["hist"][:-1])
    drawn = chosen or "sample(" in " ".join(find["hist"][:-1])
    values = r"(adata|out)\.(X|raw\.X|layers\[\w+\]): \d+/\d+ differ"
    of_columns = _calls(find, r"\.experimental\.pp\.") and "csc" in " ".join(_used(find)) and drawn
    drawn_of = _calls(find, "downsample_counts") and chosen and _all(find, values)
    if find["kind"] == "values" and ((of_columns and _all(find, r"\w+(\.var)?\[(residual|highly)_\w+\]")) or drawn_of):
        return True  # rows of columns that are in no order any more, arrays that are no rows any more
    tried = find.get("in_order", bool(odd) and "read" not in find)
    refused = "No control genes found|operands could not be broadcast|is out of bounds for axis 0|Input X contains NaN"
    alike = find["kind"] == "values" or (find["kind"].endswith("-raises") and _any(find, refused))
    return alike and (tried or "unsorted" in " ".join(_used(find)))


def _writes_through(find: Find) -> bool:
    first, *others = find["diffs"]
    to_copy = _calls(find, r"^adata\.X = ") and all(text.startswith("adata.X: format") for text in others)
    has_failed = first == "adata: is_view False vs True" and (to_copy or not others)
    of_slice = _calls(find, r"\.pp\.\w+\(adata\.X") and any(re.search(r"= adata\[", code) for code in find["hist"])
    in_part = of_slice and find["kind"] == "values" and _all(find, r"adata\.X: \d+/\d+ differ")
    writes = find["kind"] == "values" and _calls(find, r"\.pp\.(sqrt|combat|downsample_counts)\(adata")
    in_place = _all(find, r"adata: is_view|adata\.(X|layers\[counts\]): (format|dtype|\d+/\d+)")
    through = writes and in_place and _any(find, r"^adata: is_view True vs False$")
    return has_failed or in_part or through


def _is_of_both_kinds(find: Find) -> bool:
    lacks = r"^AttributeError: .*has no attribute '(nnz|toarray|getnnz|var|std)'"
    return find["kind"] == "mem-raises" and _calls(find, r"adata\.(X|layers|raw)") and _any(find, lacks)


def _is_of_odd_types(find: Find) -> bool:
    refused = r"(?s)^(ValueError|NotImplementedError|TypingError): .*(float16|non-precise type|Big-endian buffer not)|"
    no_type = "AttributeError: .*attribute 'args'"
    both = {"errtype": f"^mem (NotImplementedError: float16 |TypingError: |{no_type})", "mem-raises": refused + no_type}
    return _any(find, both.get(find["kind"], "^$"))


def _has_dropped_zeros(find: Find) -> bool:
    """Tell so of zeros that QC has dropped in memory before it failed, as there are not as many genes as it counts."""
    calls = [code for code in find["hist"][:-1] if "calculate_qc_metrics(" in code]
    tops = [re.search(r"percent_top=(?:[(\[](.*?)[)\]]|None)", code) for code in calls]
    most = max((int(n) for top in tops for n in re.findall(r"\d+", "500" if top is None else top[1] or "")), default=0)
    genes = re.findall(r"stored zeros among (\d+)", " ".join(_of_data(find).values()))
    zeros = r"(adata|out)\.(X|layers\[\w+\]): .*: np\.float\d+\(-?0\.0\) vs np\.float\d+\(nan\)$"
    return find["kind"] == "values" and any(most > int(n) for n in genes) and _all(find, zeros)


def _is_scanpys_own(find: Find) -> bool:
    """Tell so by what memory was changed to: the same."""
    if _has_dropped_zeros(find):
        return True
    first = set(re.findall(r"adata\.(obsp|uns)\[", find["op"].partition("; out =")[0]))
    of_line = "; out =" in find["op"] and _all(find, rf"adata\.({'|'.join(first)})\b|\(err |memory changed too")
    memory = "".join(text for text in find["diffs"] if text.startswith("memory changed too"))
    ours = [text for text in find["diffs"] if not text.startswith(("memory changed too", "(err"))]
    brings = r"to_memory|toarray|\.T\b|concat\(.*axis=1|combat\("
    in_memory = any(re.search(brings, code) for code in find["hist"]) or "bool" in " ".join(_used(find))
    if _any(find, r"must have as many rows as `X` has columns|is of incorrect shape"):
        return find["kind"] == "copyfail" or _any(find, "^compare fails")  # rows that pandas adds to an empty table
    alike = in_memory and bool(ours) and (ours[0].split(":")[0] in memory or "adata: shape" in memory)
    return find["kind"] == "changed-after-error" and (of_line or alike)


def _fails_by_accident(find: Find) -> bool:
    of_kind = {
        r"adata\.X\[": r"out: format (dense|matrix) vs csr",
        r"^adata = adata\[.*(::|\[\])": r"adata\.\S+: (format dense vs cs|\d+/\d+ differ)",
        r"^adata = adata\[": r"(?s)compare fails:(?!.*scanpy_oom)",  # what memory holds cannot be read
        r"^out = adata\.X\.\w+\(": r"out: format dense vs (float|u?int)\d+$",
    }
    if find["kind"] == "values":
        return any(_calls(find, op) and _all(find, found) for op, found in of_kind.items())
    midst = r"^mem (Value|Index|ZeroDivision)Error: (not enough values|Length of values|index -?\d+ is out of |"
    midst += "bool index|Input contains NaN|No objects to concatenate|integer division or modulo by zero)"
    if find["kind"] == "errtype" and _any(find, midst):
        return True
    empty = "cannot reshape array of size|apply_along_axis when any|Cannot cut empty|^ZeroDivisionError: float"
    if find["kind"] == "mem-raises" and _any(find, empty) and _any(find, r"_index\.py|_qc\.py|tile\.py|_base\.py"):
        return True
    is_sparse = not find.get("matrices") or not find["matrices"].get("X", "cs").startswith("dense")
    of_numpy = r"truth value of an array|loop of ufunc does not support|matmul: |dimension mismatch"
    return is_sparse and _calls(find, r"^out = np\.\w+\(adata\.X\)$") and _any(find, of_numpy)


def _is_of_ranks(find: Find) -> bool:
    of_missing = _calls(find, r"wilcoxon") and "nan" in " ".join(_used(find)).split()
    of_scores = _calls(find, "rank_genes") and _all(find, r"\S+\[(names|pvals|pvals_adj|logfoldchanges)\]\.")
    of_variances = _calls(find, r"\.experimental\.pp\.") and _all(find, r"\w+(\.var)?\[highly_variable_rank\]")
    of_bins = _calls(find, "cell_ranger") and _all(find, r"\w+(\.var)?\[(highly_variable|dispersions_norm)\]: 1/")
    of_trees = _calls(find, r"dendrogram\(.*cor_method=['\"](spearman|kendall)['\"]")
    of_trees = of_trees and _all(find, r"(adata\.uns\[dendrogram\w*\]|adata\.uns\[d\]|out)\[")
    if find["kind"].endswith("-raises"):
        return _calls(find, "cell_ranger") and _any(find, "^ValueError: Bin edges must be unique")
    return find["kind"] == "values" and (of_missing or of_scores or of_variances or of_bins or of_trees)


def _overflows(find: Find) -> bool:
    """Tell so of what is added up or squared; types must be the same."""
    narrow = re.search(r"\bu?int(8|16|32)\b|float16|>[iu][1248]\b", " ".join(_used(find))) is not None
    if find["kind"] != "values" or not narrow:
        return False
    if _calls(find, r"\.experimental\.pp\.highly_variable_genes"):
        return _all(find, r"(\w+\.var|out)\[variances\]")  # and not what genes are chosen by
    if _calls(find, r"filter_genes_dispersion|pp\.highly_variable_genes"):  # variances are negative, or no numbers
        negative = _any(find, r"\[dispersions\].*: (np\.float64\()?(-|nan)")
        narrow = re.search(r"\bu?int(8|16)\b", " ".join(_used(find))) is not None and "filter_genes" in find["op"]
        return (narrow or negative) and not _any(find, "dtype")
    if _calls(find, r"log1p\(.*base=1\b"):  # infinity as an integer
        return _all(find, r"(adata|out)\S*: \d+/\d+ differ")
    return _calls(
        find, r"\.(sum|mean)\(|\*\* 2|np\.(square|sum|mean)\(|aggregate\(.*['\"](var|sum|mean)['\"]|score_genes"
    ) and _all(
        find,
        r"out(\.layers\[(var|mean|sum)\])?: (\d+/\d+ differ|np\.)|\w+\.obs\[(S_|G2M_)?(score|phase)\]|\w+\.var\[",
    )


def _is_read_only(find: Find) -> bool:
    refused = find["kind"] == "mem-raises" and _any(find, r"^ValueError: .*is read-only|readonly array")
    return refused and any("combat(" in code for code in find["hist"][:-1])  # of pandas


KNOWN = (
    Known(
        "`log1p` of NaN or infinity",
        _reads_nothing,
        "Of a sparse matrix in memory scanpy looks for NaN and infinity, and refuses them; on disk a logarithm reads "
        "nothing, and gives what NumPy gives.",
    ),
    Known(
        "what is zero but for rounding",
        _is_zero_but_for_rounding,
        "Sums, residuals and variances of one cell that would be zero are what is left of rounding, which depends on "
        "the order of the steps: they differ by less than 1e-6, and so does what counts them, or divides by them.",
    ),
    Known(
        "loadings of components without variance",
        _is_undetermined,
        "With as many components as the matrix has ranks, or more, nothing determines the loadings of the last: the "
        "coordinates of cells agree. Rounding decides the sign where two cells are equally far from the centre.",
    ),
    Known(
        "`scale` and `combat` of what is constant but for rounding",
        _divides_by_rounding,
        "The deviation of a gene that is constant, or that `regress_out` or residuals leave so, is a rounding error, "
        "by which both divide in memory and here.",
    ),
    Known(
        "half precision",
        _is_half,
        "Values of three digits are rounded at every step, and steps follow each other in another order where several "
        "are one. Pearson residuals of them are in double precision.",
    ),
    Known(
        "entries stored twice or out of order",
        _is_stored_oddly,
        "In memory many functions take each part of an entry that is stored twice for an entry, draw from counts in "
        "the order in which they are stored, or drop what they draw of an array whose columns were chosen; here an "
        "entry is one, and columns are in order.",
    ),
    Known(
        "views with anndata 0.12",
        _writes_through,
        "scanpy's `sqrt`, `combat` and `downsample_counts` write through a view, or a slice of an array, into what it "
        "is of; here the view becomes an AnnData of its own, as with anndata 0.13, and stays a view if a call fails.",
    ),
    Known(
        "methods of both kinds",
        _is_of_both_kinds,
        "A matrix on disk has methods of arrays and of sparse matrices, whichever it is, so that code for either runs.",
    ),
    Known(
        "what NumPy and SciPy fail at by accident",
        _fails_by_accident,
        "NumPy takes a sparse matrix for an object; SciPy cannot take no rows, or several and reversed columns, of "
        "one. Of a matrix on disk these work, or are refused with a way out. What scanpy fails at in the midst of a "
        "computation fails here too, perhaps with another error.",
    ),
    Known(
        "types that libraries refuse",
        _is_of_odd_types,
        "In memory SciPy and numba refuse half precision, and numba and pandas bytes in the order of another machine; "
        "here these are numbers.",
    ),
    Known(
        "ranks of means",
        _is_of_ranks,
        "Means of groups, scores, or variances of genes, that are equal but for rounding are tied in memory or here, "
        "and have other ranks, or lie in other bins. Missing values each have a rank in memory; here they are tied.",
    ),
    Known(
        "sums of narrow types",
        _overflows,
        "Sums and squares of narrow integers and half precision overflow in memory, silently; here they are added up "
        "in wide types. Which integer infinity becomes is a matter of the processor.",
    ),
    Known(
        "what scanpy leaves behind when it fails",
        _is_scanpys_own,
        "Data that were brought into memory are scanpy's own affair, and of two statements in a line the first has "
        "done its work where the second fails. QC that fails has dropped stored zeros in memory.",
    ),
    Known(
        "arrays that are read-only",
        _is_read_only,
        "What scanpy's `combat` leaves in memory with pandas 3 cannot be written to: functions that work in place fail "
        "on it; here they work.",
    ),
)
"""Fewer than fifteen, or the rule is no longer that results are scanpy's."""


def known(find: Find) -> str | None:
    """Return why a difference is meant, or None if it is not."""
    return next((entry.reason for entry in KNOWN if entry.condition(find)), None)
