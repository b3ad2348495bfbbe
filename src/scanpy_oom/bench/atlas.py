"""A realistic matrix of counts, written to an h5ad block by block in bounded memory.

Counts are gamma-Poisson (negative binomial) around the profile of a cell's type in its batch, scaled to the cell's
library size. Types differ by named markers and by some hundred others; some cells are empty or dying.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numba
import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MIN_CELLS", "MIN_GENES", "write_atlas"]

MIN_CELLS, MIN_GENES = 300, 2500
BLOCK = 2000  # cells drawn and written at once
DISPERSION = 0.15  # variance of a count is mean + DISPERSION * mean²
UMIS = 2400  # median of the library sizes

MITOCHONDRIAL = [
    f"MT-{i}" for i in ("ND1", "ND2", "CO1", "CO2", "ATP8", "ATP6", "CO3", "ND3", "ND4L", "ND4", "ND5", "ND6", "CYB")
]
RIBOSOMAL = [f"RPL{i}" for i in range(3, 42)] + [f"RPS{i}" for i in range(2, 30)]
# Types that stand together share a lineage, which sets them apart from others more than they differ among themselves
CELL_TYPES = {
    "CD4 naive T": "CD3D CD3E IL7R CCR7 LEF1",
    "CD4 memory T": "CD3D CD3E IL7R S100A4 LTB",
    "CD8 T": "CD3D CD3E CD8A CD8B GZMK",
    "NK": "NKG7 GNLY KLRD1 PRF1 GZMB",
    "B naive": "MS4A1 CD79A CD79B TCL1A IGHD",
    "B memory": "MS4A1 CD79A CD79B CD27 TNFRSF13B",
    "Plasma": "MZB1 JCHAIN SDC1 XBP1 IGHG1",
    "CD14 monocyte": "CD14 LYZ CST3 S100A8 S100A9",
    "FCGR3A monocyte": "FCGR3A MS4A7 CST3 LST1 CDKN1C",
    "Dendritic": "FCER1A CST3 CLEC10A CD1C HLA-DQA1",
    "Plasmacytoid dendritic": "LILRA4 IL3RA GZMB IRF8 CLEC4C",
    "Megakaryocyte": "PPBP PF4 GP9 ITGA2B TUBB1",
}
LINEAGES = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4])
SHARES = np.array([20, 15, 12, 9, 7, 5, 2, 15, 6, 3, 2, 4], dtype=float)
BATCHES = ["donor 1", "donor 2", "donor 3"]


@dataclass(frozen=True)
class Atlas:
    """The model of the counts: one gene profile per type and batch, and the cells' properties."""

    genes: list[str]
    profiles: NDArray[np.float64]  # (types * batches, genes), rows sum to 1
    cell_type: NDArray[np.int64]
    batch: NDArray[np.int64]
    library: NDArray[np.float64]  # expected counts of a cell
    excess: NDArray[np.float64]  # share of its counts in mitochondrial genes beyond the usual: high in dying cells


def design_atlas(n_cells: int, n_genes: int, rng: np.random.Generator) -> Atlas:
    """Draw profiles, cell types, batches and library sizes."""
    markers = list(dict.fromkeys(" ".join(CELL_TYPES.values()).split()))
    named = [*MITOCHONDRIAL, *RIBOSOMAL, *markers]
    genes = [*named, *(f"GENE{i:05d}" for i in range(n_genes - len(named)))]
    n_types, n_batches, n_mt = len(CELL_TYPES), len(BATCHES), len(MITOCHONDRIAL)

    mean = rng.lognormal(0, 2.1, n_genes)
    mean[:n_mt] = np.quantile(mean, 0.997)
    mean[n_mt : n_mt + len(RIBOSOMAL)] = np.quantile(mean, 0.99)
    mean[len(named) - len(markers) : len(named)] = np.quantile(mean, 0.6)
    batch_effect = rng.lognormal(0, 0.12, (n_batches, n_genes))
    lineages = [_fold_changes(n_genes, len(named), 0.015, rng) for _ in range(LINEAGES.max() + 1)]
    profiles = np.empty((n_types, n_batches, n_genes))
    for i, own in enumerate(CELL_TYPES.values()):
        profile = mean * lineages[LINEAGES[i]] * _fold_changes(n_genes, len(named), 0.005, rng)
        profile[[genes.index(gene) for gene in own.split()]] *= 40
        profiles[i] = profile * batch_effect
    profiles /= profiles.sum(axis=2, keepdims=True)

    library = rng.lognormal(np.log(UMIS), 0.4, n_cells)
    empty = rng.random(n_cells) < 0.02
    library[empty] = rng.uniform(50, 250, empty.sum())
    excess = np.where(rng.random(n_cells) < 0.03, rng.uniform(0.2, 0.6, n_cells), rng.exponential(0.01, n_cells))
    return Atlas(
        genes=genes,
        profiles=profiles.reshape(-1, n_genes),
        cell_type=rng.choice(n_types, n_cells, p=SHARES / SHARES.sum()),
        batch=rng.integers(0, n_batches, n_cells),
        library=library,
        excess=excess,
    )


def _fold_changes(n_genes: int, n_named: int, share: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw how a type or a lineage differs from the mean: a little in all genes, a lot in a share of the nameless."""
    change = rng.lognormal(0, 0.1, n_genes)
    strong = rng.choice(np.arange(n_named, n_genes), int(n_genes * share), replace=False)
    change[strong] *= rng.lognormal(1.2, 0.6, strong.size)
    return change


@numba.njit(nogil=True, cache=True)
def _alias_table(p: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:  # pragma: no cover
    """Walker's table, for drawing a gene from the probabilities `p` in constant time."""
    keep, alias = p * p.size, np.arange(p.size).astype(np.int32)
    small = [i for i in range(p.size) if keep[i] < 1]
    large = [i for i in range(p.size) if keep[i] >= 1]
    while len(small) > 0 and len(large) > 0:
        low, high = small.pop(), large[-1]
        alias[low] = high
        keep[high] -= 1 - keep[low]
        if keep[high] < 1:
            small.append(large.pop())
    return keep, alias


@numba.njit(nogil=True, cache=True)
def _draw_cells(  # noqa: PLR0913
    profile: NDArray[np.int64],
    library: NDArray[np.float64],
    excess: NDArray[np.float64],
    profiles: NDArray[np.float64],
    keep: NDArray[np.float64],
    alias: NDArray[np.int32],
    n_mt: int,
    dispersion: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Draw cells as (row lengths, indices, counts), gene by gene as they turn up.

    A negative binomial is a Poisson number of clusters whose sizes follow the logarithmic distribution. There are
    log(1 + dispersion * mean) / dispersion clusters of a gene on average: genes are proposed at the rate of their mean
    and thinned to that.
    """
    n_genes = profiles.shape[1]
    lengths = np.zeros(profile.size, np.int64)
    indices = np.empty(profile.size * 256, np.int32)
    counts = np.empty(indices.size, np.float32)
    total, found, end = np.zeros(n_genes, np.int32), np.empty(n_genes, np.int32), 0
    for cell in range(profile.size):
        row, n_found = profile[cell], 0
        for _ in range(rng.poisson(library[cell])):
            gene = int(rng.random() * n_genes)
            if rng.random() >= keep[row, gene]:
                gene = alias[row, gene]
            if rng.random() < excess[cell]:
                gene = int(rng.random() * n_mt)
            mean = library[cell] * profiles[row, gene] * (1 - excess[cell])
            if gene < n_mt:
                mean += library[cell] * excess[cell] / n_mt
            odds = dispersion * mean
            if rng.random() * odds >= np.log1p(odds):
                continue
            if total[gene] == 0:
                found[n_found] = gene
                n_found += 1
            total[gene] += rng.logseries(odds / (1 + odds))
        if end + n_found > indices.size:
            indices = np.concatenate((indices, np.empty(indices.size + n_found, np.int32)))
            counts = np.concatenate((counts, np.empty(counts.size + n_found, np.float32)))
        for gene in np.sort(found[:n_found]):
            indices[end], counts[end] = gene, total[gene]
            total[gene] = 0
            end += 1
        lengths[cell] = n_found
    return lengths, indices[:end], counts[:end]


def write_atlas(
    path: Path, *, n_cells: int, n_genes: int, seed: int = 0, progress: Callable[[int], object] = lambda _: None
) -> None:
    """Write an h5ad of `n_cells` x `n_genes` counts (CSR, float32, gzip).

    Parameters
    ----------
    path
        File to write.
    n_cells, n_genes
        Size of the matrix.
    seed
        Seed of the random draws: the same seed and size give the same file.
    progress
        Called with the number of cells that were written since the last call.

    Raises
    ------
    ValueError
        If the matrix would be too small for the workflow.
    """
    if n_cells < MIN_CELLS or n_genes < MIN_GENES:
        msg = f"The demo's matrix needs at least {MIN_CELLS} cells and {MIN_GENES} genes, not {n_cells} and {n_genes}."
        raise ValueError(msg)
    atlas = design_atlas(n_cells, n_genes, np.random.default_rng(seed))
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical.from_codes(atlas.cell_type, pd.Index(list(CELL_TYPES))),
            "batch": pd.Categorical.from_codes(atlas.batch, pd.Index(BATCHES)),
        },
        index=[f"cell{i}" for i in range(n_cells)],
    )
    ad.AnnData(obs=obs, var=pd.DataFrame(index=atlas.genes)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        _write_counts(file, atlas, seed, progress)


def _write_counts(file: h5py.File, atlas: Atlas, seed: int, progress: Callable[[int], object]) -> None:
    n_cells, n_genes = atlas.library.size, len(atlas.genes)
    tables = [_alias_table(profile) for profile in atlas.profiles]
    keep, alias = np.stack([table[0] for table in tables]), np.stack([table[1] for table in tables])

    if "X" in file:
        del file["X"]
    group = file.create_group("X")
    group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0"})
    group.attrs["shape"] = np.array([n_cells, n_genes])
    options = {"maxshape": (None,), "chunks": (100_000,), "compression": "gzip", "compression_opts": 4}
    indices = group.create_dataset("indices", (0,), np.int32, **options)
    data = group.create_dataset("data", (0,), np.float32, **options)
    indptr = np.zeros(n_cells + 1, np.int64)
    for start in range(0, n_cells, BLOCK):
        rows = slice(start, min(start + BLOCK, n_cells))
        lengths, columns, counts = _draw_cells(
            atlas.cell_type[rows] * len(BATCHES) + atlas.batch[rows],
            atlas.library[rows],
            atlas.excess[rows],
            atlas.profiles,
            keep,
            alias,
            len(MITOCHONDRIAL),
            DISPERSION,
            np.random.default_rng([seed, start]),
        )
        begin = indptr[start]
        indptr[start + 1 : rows.stop + 1] = begin + np.cumsum(lengths)
        for dataset, values in ((indices, columns), (data, counts)):
            dataset.resize((begin + values.size,))
            dataset[begin:] = values
        progress(lengths.size)
    # SciPy wants both index arrays in one width
    group.create_dataset("indptr", data=indptr.astype(np.int32) if indptr[-1] <= np.iinfo(np.int32).max else indptr)
