"""CuPy's part, played by NumPy: arrays that mix with NumPy's only when copied up or down, and every copy counted."""

from __future__ import annotations

from typing import Any

import numpy as np

copies: dict[str, int] = {"up": 0, "down": 0}  # bytes since the last reset
limit: list[int] = []  # bytes that one allocation may have at most; empty: any
kernels: list[str] = []  # what CuPy would have launched kernels of its own for, since somebody emptied it

# What CuPy does without a kernel: views, memory that is filled with zeros, arrays that are what is asked for already.
_VIEWS = {"reshape", "ravel", "transpose", "view", "squeeze", "diagonal", "moveaxis", "broadcast_to", "get", "tobytes"}


class DeviceArray:
    """An array as CuPy has it: only explicit copies cross, functions take it by its own module or its methods."""

    __module__ = "fakecupy"

    def __init__(self, host: Any) -> None:
        if limit and host.nbytes > limit[-1]:
            raise MemoryError(f"{host.nbytes} bytes")
        self.host = host

    def get(self) -> Any:
        """Copy down."""
        copies["down"] += self.host.nbytes
        return self.host.copy()

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("implicit conversion to a NumPy array is not allowed; use .get()")

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return dict(self.host.__array_interface__, version=3)

    def __dlpack__(self, **options: Any) -> Any:
        options.pop("stream", None)
        return self.host.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.host.__dlpack_device__()

    def __getattr__(self, name: str) -> Any:
        if name in {"shape", "ndim", "size", "dtype", "flags", "nbytes"}:
            return getattr(self.host, name)
        method = getattr(self.host, name)

        def call(*arguments: Any, **options: Any) -> Any:
            made = method(*map(_unwrapped, arguments), **options)
            if name not in _VIEWS and made is not self.host:
                kernels.append(name)
            return _wrapped(made)

        return call

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        kernels.append(ufunc.__name__)
        options["out"] = tuple(map(_unwrapped, options["out"])) if "out" in options else None
        return _wrapped(getattr(ufunc, method)(*map(_unwrapped, inputs), **{k: v for k, v in options.items() if v}))

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, DeviceArray | list) for part in parts):
            kernels.append("take")
        found = self.host[tuple(map(_unwrapped, parts))]
        return DeviceArray(np.asarray(found))

    def __setitem__(self, index: Any, value: Any) -> None:
        kernels.append("put")
        parts = index if isinstance(index, tuple) else (index,)
        self.host[tuple(map(_unwrapped, parts))] = _unwrapped(value)

    def __len__(self) -> int:
        return len(self.host)

    def __iter__(self) -> Any:
        return (DeviceArray(np.asarray(part)) for part in self.host)

    def __bool__(self) -> bool:
        copies["down"] += self.host.nbytes
        return bool(self.host)

    def __int__(self) -> int:
        copies["down"] += self.host.nbytes
        return int(self.host)


def _operator(name: str) -> Any:
    def operation(self: DeviceArray, *others: Any) -> Any:
        kernels.append(name)
        return _wrapped(getattr(self.host, name)(*map(_unwrapped, others)))

    return operation


def _in_place(name: str) -> Any:
    def operation(self: DeviceArray, other: Any) -> DeviceArray:
        kernels.append(name)
        getattr(self.host, name)(_unwrapped(other))
        return self

    return operation


for _name in (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "radd", "rsub", "rmul", "rtruediv", "neg", "and", "or",
    "lt", "le", "gt", "ge", "eq", "ne",
):  # fmt: skip
    setattr(DeviceArray, f"__{_name}__", _operator(f"__{_name}__"))
for _name in ("iadd", "isub", "imul"):
    setattr(DeviceArray, f"__{_name}__", _in_place(f"__{_name}__"))

ndarray = DeviceArray


def _unwrapped(value: Any) -> Any:
    if isinstance(value, DeviceArray):
        return value.host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")  # CuPy's own words
    return value


def _wrapped(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_wrapped, value))
    return DeviceArray(np.asarray(value)) if isinstance(value, np.ndarray | np.generic) else value


def asarray(value: Any, dtype: Any = None) -> DeviceArray:
    """Copy up what is not there."""
    if isinstance(value, DeviceArray):
        return value
    host = np.array(value, dtype)
    copies["up"] += host.nbytes
    return DeviceArray(host)


def stack(parts: Any, **options: Any) -> Any:
    """As NumPy's, of device arrays."""
    kernels.append("stack")
    return _wrapped(np.stack([_unwrapped(part) for part in parts], **options))


def concatenate(parts: Any, **options: Any) -> Any:
    """As NumPy's, of device arrays."""
    kernels.append("concatenate")
    return _wrapped(np.concatenate([_unwrapped(part) for part in parts], **options))


def empty(shape: Any, dtype: Any = np.float64) -> DeviceArray:
    """Filled with what nobody should rely on."""
    host = np.empty(shape, dtype)
    if host.dtype.kind == "f":
        host[...] = np.nan  # which shows, where 0xA5A5A5A5 is as good as 0
    else:
        host.view(np.uint8)[...] = 0xA5
    return DeviceArray(host)


def empty_like(other: DeviceArray) -> DeviceArray:
    """See :func:`empty`."""
    return empty(other.shape, other.dtype)


def _function(name: str) -> Any:
    def function(*arguments: Any, **options: Any) -> Any:
        given = [*map(_unwrapped, arguments)]
        made = getattr(np, name)(*given, **options)
        if name not in _VIEWS | {"zeros"} and not any(made is one for one in given):
            kernels.append(name)
        return _wrapped(made)

    return function


def __getattr__(name: str) -> Any:
    if name.startswith("__") or not hasattr(np, name):
        raise AttributeError(name)
    return _function(name)
