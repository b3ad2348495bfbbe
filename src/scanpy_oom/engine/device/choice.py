"""The choice of the device for passes."""

from __future__ import annotations

import os

from ... import messages
from ...errors import DeviceError
from ...settings import settings
from .device import Device, NumpyDevice

__all__ = ["chosen_device"]

_found: dict[tuple[int, int], Device | DeviceError] = {}
"""Devices that were found, by process and limit: CUDA does not survive a fork."""


def chosen_device() -> Device | None:
    """Return the device of the settings; None for the CPU's threads.

    Raises
    ------
    DeviceError
        If ``settings.device`` is ``"cuda"``, and there is no GPU that can be used.
    """
    name = settings.device
    if name == "cpu":
        return None
    if name == "numpy":
        return NumpyDevice(settings.device_memory_limit)
    key = os.getpid(), settings.device_memory_limit
    if key not in _found:
        _found[key] = _look_for_gpu(key[1])
        if name == "auto" and isinstance(_found[key], DeviceError):
            messages.info(f"Passes run on the CPU: {_found[key]}")
    found = _found[key]
    if isinstance(found, Device):
        return found
    if name == "auto":
        return None
    msg = f"{found} With `scanpy_oom.settings.device = 'auto'` or `'cpu'` passes run on the CPU."
    raise DeviceError(msg)


def _look_for_gpu(limit: int) -> Device | DeviceError:
    from .cuda import CudaDevice

    try:
        return CudaDevice(limit)
    except DeviceError as error:
        return error
