"""CyteArc, out of core: its own functions, on a store of its own, into which the counts are brought first."""

from __future__ import annotations

import os
from functools import cached_property
from shutil import rmtree
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import cytearc
import numpy as np
from cytearc import DataStore, H5adReader, H5adToZarr, inspect_h5ad, to_h5ad
from cytearc.plotting import NormalizationSpec
from cytearc.storage.budget import resolve_budget
from cytearc.storage.count_matrix import DEFAULT_COUNT_MATRIX_POLICY, CountMatrixPolicy

from . import memory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Workflow"]

FLAVORS = {"seurat_v3": "seurat_v3", "seurat_v3_paper": "seurat_v3", "pearson_residuals": "pearson_residuals"}
"""How it calls the ways of choosing variable genes that it has; without batches, both of Seurat's are one."""

PARTS = 20
"""Units of its layout in a budget: it refuses to write them where there are fewer than 12 or so."""

MANY = 10_000
"""Cells above which UMAP takes fewer epochs."""

cytearc.configure_output(level="WARNING", progress=False)


def layout() -> CountMatrixPolicy | None:
    """Return a layout of the counts that fits a budget that was set: the usual one takes five gigabytes to write."""
    if "CYTEARC_MEM_BUDGET" not in os.environ:
        return None
    unit = min(DEFAULT_COUNT_MATRIX_POLICY.unitBytes, resolve_budget().memoryBytes // PARTS)
    return CountMatrixPolicy(unit, unit // 10)  # as many chunks to a unit as it has otherwise


class Workflow(memory.Workflow):
    """The steps, as its documentation maps those of scanpy.

    Each leaves a result in the store and returns a reference to it. Nothing is cut out: cells and genes are selected.
    """

    left_out: ClassVar[Mapping[str, str]] = {"t-test": "cytearc ranks genes by the Mann-Whitney test alone"}

    @property
    def folder(self) -> Path:
        """Where the store is."""
        return self.out / "store.zarr"

    @cached_property
    def store(self) -> DataStore:
        """The store. When it is first opened, counts and genes of each cell are found."""
        return DataStore(str(self.folder), min_features_per_cell=0, mito_pattern="(?i)^MT-")

    @cached_property
    def found(self) -> dict[str, Any]:
        """References to results, by name."""
        return {}

    def read(self) -> None:
        rmtree(self.folder, ignore_errors=True)  # of an earlier benchmark: it does not write over a store
        unique = {"duplicate_cell_ids": "make_unique", "duplicate_feature_ids": "make_unique"}
        reader = H5adReader.from_inspect(inspect_h5ad(str(self.file), matrix_key="X"), **unique)
        H5adToZarr(reader, str(self.folder), assay_name="RNA", policy=layout()).dump()

    def qc(self) -> None:
        self.found["cells"] = self.store.snapshot_cell_selection()
        self.found["genes"] = self.store.features.universe()

    def filter(self) -> None:
        recipe = self.recipe
        attributes = ["RNA_nFeatures", "RNA_nCounts", "RNA_percentMito"]
        lows, highs = [recipe.min_genes, recipe.min_counts, None], [None, None, recipe.max_mt]
        if attributes[-1] not in self.store.cells.columns:  # no gene has such a name
            attributes, lows, highs = attributes[:-1], lows[:-1], highs[:-1]
        self.found["cells"] = self.store.qc.filter(attributes, lows, highs, keep_bounds=True)
        self.found["genes"] = self.store.features.detected(self.found["cells"], min_cells=recipe.min_cells)

    def normalize(self) -> None:
        self.store.RNA.sf = self.recipe.target_sum

    def log1p(self) -> None:
        """Do nothing: values are scaled and logarithms taken when variable genes are normalised."""

    def hvg(self) -> None:
        self.found["variable"] = self.store.features.hvgs(
            self.found["cells"],
            top_n=self.recipe.n_top_genes,
            min_cells=self.recipe.min_cells,
            flavor=FLAVORS.get(self.recipe.flavor, "cytearc"),
            blacklist="",  # scanpy leaves out no genes for their names
            show_plot=False,
        )

    def subset(self) -> None:
        """Write variable genes, normalised, to the store."""
        options = {"log_transform": True, "renormalize_subset": False}  # by the counts of all genes
        self.found["values"] = self.store.features.normalize(self.found["cells"], self.found["variable"], **options)

    def scale(self) -> None:
        """Do nothing: PCA scales."""

    def pca(self) -> None:
        self.found["pca"] = self.store.reduction.pca(self.found["values"], dims=self.recipe.n_comps, feat_scaling=True)

    def neighbors(self) -> None:
        index = self.store.graph.ann_index(self.found["pca"])
        # scanpy counts a cell among its own neighbours
        self.found["neighbors"] = self.store.graph.neighbors(index, k=self.recipe.n_neighbors - 1)
        self.found["graph"] = self.store.graph.connectivity(self.found["neighbors"], bandwidth=1.0)

    def umap(self) -> None:
        begin = self.store.embeddings.initialization(self.found["pca"])
        many = self._values("pca", "data").shape[0] > MANY
        # scanpy's, which decide how much work it is
        options = {"min_dist": 0.5, "spread": 1.0, "n_epochs": 200 if many else 500}
        self.found["umap"] = self.store.embeddings.umap(self.found["graph"], begin, **options)

    def leiden(self) -> None:
        self.found["leiden"] = self.store.clusters.leiden(self.found["graph"])

    def wilcoxon(self) -> None:
        self.found["markers"] = self.store.markers.search(self._labels(), features=self.found["genes"])

    def plot(self) -> None:
        named = self.store.RNA.feats.fetch_all("names")
        genes = [gene for gene in memory.MARKERS if gene in named] or list(named[:3])
        labels, plots, shown = self._labels(), self.store.plots, {"show": False}
        shown["normalization"] = NormalizationSpec(transform="log1p")
        plots.embedding(layout=self.found["umap"], color_by=[genes[0], genes[-1], labels], **shown)
        self._save_figure("umap")
        plots.distribution(genes[:3], grouping=labels, **shown)
        self._save_figure("violin")
        plots.dotplot(features=genes, groups=labels, **shown)
        self._save_figure("dotplot")

    def write(self) -> None:
        kept = {"obsm": {"X_pca": "pca", "X_umap": "umap"}, "obs": {"leiden": "leiden"}}
        results: dict[str, Any] = {
            slot: {key: self.found[name] for key, name in names.items() if name in self.found}
            for slot, names in kept.items()
        }
        to_h5ad(
            self.store.RNA,
            str(self.out / "written.h5ad"),
            cell_selection=self.found["cells"],
            graph=self.found.get("graph"),
            **results,
        )

    def notes(self) -> list[str]:
        """Tell what it does otherwise."""
        said = ["reading writes the counts as Zarr, once by cells and once by genes", *self.left_out.values()]
        said.append("scaled values are not clipped, which changes components; what is written are counts")
        if self.recipe.flavor not in FLAVORS:
            said.append(f"variable genes in its own way: it has no flavor {self.recipe.flavor}")
        return said

    def save(self, suffix: str) -> None:
        """Keep what all backends have in common, and not the store."""
        if suffix == ".npz":
            np.savez(self.out / f"result{suffix}", **self._compared())
        rmtree(self.folder, ignore_errors=True)

    def _labels(self) -> Any:
        """Return the groups: clusters, or what the file has."""
        if self.groups == "leiden":
            return self.found["leiden"]
        return self.store.snapshot_cluster_labels(self.groups, cell_selection=self.found["cells"])

    def _values(self, name: str, array: str = "values") -> Any:
        """Return an array of a result, which is still in the store."""
        return self.store.artifacts.load(self.found[name])[array]

    def _compared(self) -> dict[str, Any]:
        ids = self.store.cells.fetch_all("ids").astype(str)
        found: dict[str, Any] = {"cells": ids[self._values("cells")[:]] if "cells" in self.found else ids}
        if "variable" in self.found:
            found["genes"] = self.store.RNA.feats.fetch_all("ids").astype(str)[self._values("variable")[:]]
        if "leiden" in self.found:
            found["clusters"] = self._values("leiden")[:].astype(str)
        obsm = {}
        if "pca" in self.found:
            found["pca"] = obsm["X_pca"] = self._values("pca", "data")[:]
        if "umap" in self.found:
            obsm["X_umap"] = self._values("umap")[:]
        return found | self._of_graph(SimpleNamespace(obsm=obsm))

    def _neighbors_of(self, cells: NDArray[np.intp]) -> NDArray[np.int64] | None:
        if "neighbors" not in self.found:
            return None
        indices: NDArray[np.int64] = self._values("neighbors", "indices")[:][cells].astype(np.int64)
        return indices
