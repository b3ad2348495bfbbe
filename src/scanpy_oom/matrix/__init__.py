"""The matrix that stays on disk: one source, one selection, a chain of transforms.

Modules here import `kernels`, `storage.sources` and what is below; passes are reached through `protocol`.
"""

from __future__ import annotations

from . import kinds as kinds
from .accessor import OOMAccessor
from .interop import fast_array_utils as fast_array_utils
from .interop.anndata import holds_oom, root_of, underlying
from .oommatrix import OOMMatrix

__all__ = ["OOMAccessor", "OOMMatrix", "holds_oom", "root_of", "underlying"]
