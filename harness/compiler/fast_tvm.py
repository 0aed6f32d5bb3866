"""Import TVM faster than it imports itself: import this before anything else that imports TVM.

TVM tries its module for several GPUs, ``tvm.runtime.disco``, before the library of that module is loaded. It catches
the error, but the first error of its C++ code in a process reads the debug information of all loaded libraries, which
takes a second. And Python looks for garbage among the objects of an import again and again, where there is none.
"""

from __future__ import annotations

import gc
import sys

UNUSED = "tvm.runtime.disco"
"""The module that TVM would try in vain. Later it can be imported as usual."""

if "tvm" not in sys.modules:
    sys.modules[UNUSED] = None  # type: ignore[assignment]
    gc.disable()
    try:
        import tvm  # noqa: F401
    finally:
        del sys.modules[UNUSED]
        gc.enable()
    gc.freeze()
