"""What is done to a matrix in place is seen under all names that it has, and under no other: as in memory."""

from __future__ import annotations

import operator
import pickle
import warnings

import anndata as ad
import numpy as np
import pytest
import scanpy as sc
from scipy import sparse

from scanpy_oom import MemoryBudgetExceeded
from scanpy_oom import settings as oom_settings
from scanpy_oom.dispatch.undo import Held

from ...matrices import FORMS, annotated, counts, dense, oom

pytestmark = pytest.mark.filterwarnings("ignore")


def both(form: str, dtype: str = "float32", n_obs: int = 14, n_vars: int = 9):
    """A matrix in memory, and the same out of memory."""
    x = FORMS[form](counts(n_obs, n_vars, dtype=dtype, density=0.5))
    return x, oom(x)


def changed(x, change) -> str:
    """Change a matrix; return the type of the error, if there is one."""
    try:
        change(x)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared with what SciPy or NumPy raises
        return type(error).__name__
    return ""


def _augmented(name: str, operand):
    def change(x):
        assert getattr(operator, f"i{name}")(x, operand(x) if callable(operand) else operand) is x

    return change


CHANGES = {
    "times a number": _augmented("mul", 2),
    "times one of NumPy's": _augmented("mul", np.float64(1.5)),
    "divided": _augmented("truediv", 4.0),
    "a comparison": lambda x: operator.setitem(x, x > 2, 2),
    "a comparison that holds of zeros": lambda x: operator.setitem(x, x < 1, 5),
    "a comparison of what was computed": lambda x: operator.setitem(x, x * 2 > 3, 0),
    "a value": lambda x: operator.setitem(x, (3, 4), 7),
    "a row": lambda x: operator.setitem(x, 2, 3),
    "rows": lambda x: operator.setitem(x, slice(2, 5), 1),
    "rows by those of another": lambda x: operator.setitem(x, [1, 2], x[[5, 6]]),
    "a column": lambda x: operator.setitem(x, (slice(None), 1), 0),
    "a column by a vector": lambda x: operator.setitem(x, (slice(None), [1]), np.arange(x.shape[0])[:, None]),
    "places": lambda x: operator.setitem(x, x.nonzero(), 1),
    "a mask in memory": lambda x: operator.setitem(x, dense(x) > 2, 2),
    "a number out of range": lambda x: operator.setitem(x, (99, 0), 1),
}

OF_SPARSE = {
    "data anew": lambda x: setattr(x, "data", np.log(x.data + 1)),
    "data of another dtype": lambda x: setattr(x, "data", x.data.astype("float64")),
    "data by an array": lambda x: setattr(x, "data", np.arange(x.nnz, dtype=x.dtype)),
    "all data": lambda x: operator.setitem(x.data, slice(None), 1),
    "all data by an array": lambda x: operator.setitem(x.data, slice(None), np.arange(x.nnz)),
    "some data": lambda x: operator.setitem(x.data, x.data > 2, 2),
    "data by a mask": lambda x: operator.setitem(x.data, np.asarray(x.data) > 2, 2),
    "one of the data": lambda x: operator.setitem(x.data, 3, 9),
    "data to zero": lambda x: operator.setitem(x.data, x.data < 3, 0),
    "data into themselves": lambda x: np.negative(x.data, out=x.data),
    "data in place": lambda x: operator.iadd(x.data, 1),
    "data multiplied": lambda x: operator.imul(x.data, 3),
    "zeros that are stored": lambda x: (operator.setitem(x.data, x.data < 3, 0), x.eliminate_zeros()),
    "the diagonal": lambda x: x.setdiag(4),
    "rows by a sparse matrix": lambda x: operator.setitem(x, [3, 1], sparse.csr_matrix(np.eye(2, x.shape[1]))),
    "nothing": lambda x: (x.sort_indices(), x.sum_duplicates(), x.eliminate_zeros()),
}

OF_DENSE = {
    "plus a number": _augmented("add", 1),
    "minus a column": _augmented("sub", lambda x: np.arange(x.shape[1], dtype=x.dtype)),
    "divided by rows": _augmented("truediv", lambda x: np.arange(1, x.shape[0] + 1, dtype="float32")[:, None]),
    "plus another": _augmented("add", lambda x: x * 2),
    "to a power": _augmented("pow", 2),
    "logarithms into itself": lambda x: np.log1p(x, out=x),
    "clipped into itself": lambda x: x.clip(1, 2, out=x),
    "filled": lambda x: x.fill(3),
    "sorted": lambda x: x.sort(axis=0),
    "put": lambda x: x.put([0, 5], 3),
    "partitioned": lambda x: x.partition(2, axis=1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("what", [*CHANGES, *OF_SPARSE, *OF_DENSE])
def test_a_change_is_that_of_memory(what, form, dtype):
    if (what in OF_SPARSE and form == "dense") or (what in OF_DENSE and form != "dense"):
        pytest.skip("of the other kind of matrices")
    change = (CHANGES | OF_SPARSE | OF_DENSE)[what]
    memory, lazy = both(form, dtype)
    other = lazy.copy()
    before = dense(lazy)
    errors = changed(memory, change), changed(lazy, change)
    assert errors[0] == errors[1] or set(errors) <= {"UFuncTypeError", "UFuncOutputCastingError", "TypeError"}
    assert lazy.dtype == memory.dtype
    np.testing.assert_array_equal(dense(lazy), dense(memory))
    np.testing.assert_array_equal(dense(other), before)
    if sparse.issparse(memory) and what != "a comparison that holds of zeros":
        assert lazy.nnz == memory.nnz


def test_what_cannot_be_a_step_is_done_within_the_limit(monkeypatch):
    lazy = oom(counts(400, 300))
    monkeypatch.setattr(oom_settings, "_memory_limit", 10_000)
    lazy *= 2
    lazy[lazy > 3] = 3
    lazy[3] = 1  # a patch
    before = lazy._state
    with pytest.raises(MemoryBudgetExceeded, match=r"X\.setdiag"):
        lazy.setdiag(1)
    assert lazy._state is before


def test_what_takes_much_is_kept_in_scratch_space(monkeypatch):
    monkeypatch.setattr("scanpy_oom.engine.sources.scratch.IN_MEMORY", 100)
    memory, lazy = both("csr", n_obs=200)
    for x in (memory, lazy):
        x.setdiag(3)
    assert "changed values" in repr(lazy)
    np.testing.assert_array_equal(dense(lazy), dense(memory))


def in_library(code: str):
    """A change that code of an installed library makes, for which X.data are an array."""
    return lambda x: exec(f"import numpy as np\n{code}", {"__name__": "scanpy.some", "x": x})


def of_entries(x):
    return np.repeat(np.arange(x.indptr.size - 1), np.diff(x.indptr))


def by_rows(x) -> None:
    for i in range(x.indptr.size - 1):
        x.data[x.indptr[i] : x.indptr[i + 1]] /= 2


ODD = {
    "put": lambda x: x.data.put([0, 2], 5),
    "sorted": lambda x: x.data.sort(),
    "the same columns": lambda x: setattr(x, "indices", np.array(x.indices)),
    "offsets": lambda x: setattr(x, "indptr", np.array(x.indptr)),
    "other columns": lambda x: setattr(
        x, "indices", np.array(x.indices)[np.lexsort((-np.array(x.indices), of_entries(x)))]
    ),
    "where": lambda x: np.add(x.data, 1, out=x.data, where=np.asarray(x.data) > 2),
    "where it is lazy": lambda x: np.add(x.data, 1, out=x.data, where=x.data > 2),
    "at places": lambda x: np.add.at(x.data, [0, 0, 1], 1),
    "a complex number": lambda x: operator.setitem(x, x > 1, 1j),
    "times a complex number": lambda x: operator.imul(x, 1j),
    "a text": lambda x: operator.setitem(x, x > 1, "a"),
    "some times two": lambda x: operator.setitem(x.data, x.data > 1, x.data[x.data > 1] * 2),
    "some in place": lambda x: operator.setitem(x.data, x.data > 1, operator.imul(x.data[x.data > 1], 2)),
    "row by row": by_rows,
    "in another order": lambda x: setattr(x, "data", np.random.default_rng(0).permutation(x.data)),
    "without NaN": lambda x: setattr(x, "data", np.nan_to_num(x.data)),
    "where, in a library": in_library("d = x.data; np.divide(d, 2, out=d, where=d > 2)"),
    "into zeros, in a library": in_library("d = x.data; x.data = np.divide(d, 2, out=np.zeros_like(d), where=d > 2)"),
    "at places, in a library": in_library("np.add.at(x.data, [0, 0], 1)"),
}


@pytest.mark.parametrize("form", ["csr", "csc"])
@pytest.mark.parametrize("what", ODD)
def test_an_odd_change_of_stored_values_is_that_of_memory(what, form):
    memory, lazy = both(form)
    errors = changed(memory, ODD[what]), changed(lazy, ODD[what])
    assert errors[0].replace("UFuncTypeError", "TypeError") == errors[1].replace("UFuncTypeError", "TypeError")
    np.testing.assert_array_equal(dense(lazy), dense(memory))


def test_columns_that_do_not_fit_what_is_stored_are_refused():
    _, lazy = both("csr")
    before = lazy._state
    with pytest.raises(ValueError, match=r"X\.indices has \d+ numbers, and 1 are given"):
        lazy.indices = np.array([0])
    assert lazy._state is before


@pytest.mark.parametrize("where", [lambda x: np.asarray(x) > 2, lambda x: x > 2])
def test_a_ufunc_writes_where_it_is_to(where):
    memory, lazy = both("dense")
    for x in (memory, lazy):
        np.divide(x, 2, out=x, where=where(x))
    np.testing.assert_array_equal(dense(lazy), dense(memory))


def test_what_was_handed_over_may_change_afterwards():
    for form in ("csr", "dense"):
        _, lazy = both(form)
        by = np.arange(1.0, 10, dtype="float32")
        product = lazy.multiply(by) if form == "csr" else lazy * by
        want = dense(product)
        by[:] = 0
        np.testing.assert_array_equal(dense(product), want)


def test_a_class_of_its_own_makes_matrices_in_memory():
    for form in ("csr", "csc", "csr_array"):
        memory, lazy = both(form)
        for make in (lambda x: type(x)((3, 4)), lambda x: type(x)(dense(x)), lambda x: type(x)(x)):
            want, got = make(memory), make(lazy)
            assert type(got) is type(want)
            np.testing.assert_array_equal(dense(got), dense(want))


@pytest.mark.parametrize(
    "change", [lambda x: (operator.setitem(x.data, x.data < 3, 0), x.eliminate_zeros()), lambda x: x]
)
def test_zeros_that_are_stored_no_more_are_not_written(change, tmp_path):
    written = []
    for k, x in enumerate(both("csr")):
        change(x)
        a = annotated(x)
        a.layers["above"] = x > 2
        a.write_h5ad(tmp_path / f"{k}.h5ad")
        found = ad.read_h5ad(tmp_path / f"{k}.h5ad")
        written.append((found.X.nnz, found.layers["above"].nnz))
    assert written[0] == written[1]


# In an AnnData


def test_a_change_is_seen_under_all_names():
    for x in both("csr"):
        a = annotated(x)
        a.layers["same"], b, mine = a.X, ad.AnnData(a.X), a.X
        a.raw = a
        a.X[a.X > 2] = 2
        assert [float(m.max()) for m in (a.X, a.layers["same"], b.X, mine, a.raw.X)] == [2] * 5


def test_a_copy_and_what_was_computed_before_keep_their_values():
    _, lazy = both("csr")
    before = dense(lazy)
    others = [lazy.copy(), lazy[:], lazy * 1, lazy.T.T, lazy.astype("float32"), pickle.loads(pickle.dumps(lazy))]
    lazy[lazy > 0] = 9
    for other in others:
        np.testing.assert_array_equal(dense(other), before)


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
@pytest.mark.parametrize(
    "change",
    [
        lambda a: setattr(a, "X", a.layers["counts"]),
        lambda a: setattr(a, "X", a.X / 2),
        lambda a: setattr(a, "X", sparse.csr_matrix(dense(a.X) * 3)),
        lambda a: operator.setitem(a.X, a.X > 2, 2),
        lambda a: operator.setitem(a.layers["counts"], (0, 1), 5),
    ],
)
def test_a_view_that_is_changed_is_what_it_is_in_memory(form, change):
    found = []
    for x in both(form):
        a = annotated(x)
        a.layers["counts"] = a.X.copy()
        view = a[a.obs["kind"] == "k1"]
        change(view)
        found.append([view.is_view, dense(view.X), dense(view.layers["counts"]), dense(a.X), dense(a.layers["counts"])])
    assert found[0][0] == found[1][0]
    for want, got in zip(found[0][1:], found[1][1:], strict=True):
        np.testing.assert_array_equal(got, want)


# Many in a row


def chain(seed: int, *, lazy: bool):
    """Do what a number decides to a matrix, its other names, copies and views; yield what all of them hold."""
    rng = np.random.default_rng(seed)
    form = str(rng.choice(["csr", "csc", "dense"]))
    memory, out_of_memory = both(form, str(rng.choice(["float32", "float64", "int64"])), 20, 8)
    names = {"a": annotated(out_of_memory if lazy else memory)}
    names["a"].layers["l"] = names["a"].X if rng.random() < 0.5 else names["a"].X.copy()
    of_sparse = list((CHANGES | OF_SPARSE).values())
    changes = of_sparse if form != "dense" else list((CHANGES | OF_DENSE).values())
    for _ in range(8):
        name = str(rng.choice(list(names)))
        a, step, slot = names[name], rng.integers(9), str(rng.choice(["X", "l"]))
        change = changes[rng.integers(len(changes))]
        x = a.X if slot == "X" else a.layers[slot]
        error = ""
        if step < 4 and not a.is_view:
            if sparse.issparse(x):
                x.sort_indices()  # of rows of a column-compressed matrix that were chosen in another order
            error = changed(x, change)
            if sparse.issparse(x):
                x.sort_indices()  # which SciPy leaves in the order in which they came
        elif step == 4:
            names["copy"] = a.copy()
        elif step == 5:
            names["view"] = a[rng.permutation(a.n_obs)[:12]]
        elif step == 6:
            x = x if not a.is_view else x.copy()  # what anndata has of a view is its own kind of array
            names["other"] = ad.AnnData(x, obs=a.obs.copy(), var=a.var.copy(), layers={"l": x})
        elif (
            step == 7 and not a.is_view and np.isfinite(dense(a.X)).all()
        ):  # which memory refuses to take logarithms of
            error = changed(a, sc.pp.log1p)
        elif not a.is_view:
            a.layers["l"] = x
        yield (
            name,
            step,
            error != "",
            {f"{n}.{s}": dense(m) for n, b in names.items() for s, m in (("X", b.X), ("l", b.layers["l"]))},
        )


@pytest.mark.parametrize("first", range(0, 200, 20))
def test_whatever_is_done_in_a_row_the_values_are_those_of_memory(first):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(first, first + 20):
            for want, got in zip(chain(seed, lazy=False), chain(seed, lazy=True), strict=True):
                assert want[:3] == got[:3], seed
                assert want[3].keys() == got[3].keys()
                for name, values in want[3].items():
                    np.testing.assert_allclose(got[3][name], values, rtol=1e-6, err_msg=f"{seed} {name}")


# What is told, and undone


def test_steps_tell_what_they_change():
    _, lazy = both("csr")
    lazy[lazy > 2] = 2
    lazy.data[:] = 1
    lazy.eliminate_zeros()
    assert [str(step) for step in lazy.chain.transforms] == [
        "2 where greater 2",
        "1 where stored",
        "eliminate_zeros",
    ]


def test_what_a_library_has_written_is_undone_where_the_call_fails():
    memory, lazy = both("csr")
    adata = annotated(lazy)
    np.asarray(lazy.data)
    held = Held([adata])
    in_library("x.data[:] = 5")(adata.X)
    held.undo()
    np.testing.assert_array_equal(np.asarray(adata.X.data), memory.data)
    np.testing.assert_array_equal(dense(adata.X), dense(memory))


def test_a_dense_one_is_not_made_of_an_array():
    with pytest.raises(TypeError, match="to_oom"):
        type(both("dense")[1])(np.ones((2, 2)))
