"""Import TVM faster than it imports itself: import this before anything else that imports TVM.

TVM tries its module for several GPUs, ``tvm.runtime.disco``, before the library of that module is loaded. Then it
registers the GPUs' backends, and looks for operators that it does not have. It catches the errors of both, but the
first error of its C++ code in a process reads the debug information of all loaded libraries, which takes a second. The
harness compiles for processors only. And Python looks for garbage among the objects of an import again and again, where
there is none.
"""

from __future__ import annotations

import gc
import os
import sys

UNUSED = "tvm.runtime.disco"
"""The module that TVM would try in vain. Later it can be imported as usual."""
BACKENDS = "TVM_DEVICE_BACKEND_AUTOLOAD"
"""TVM's own switch for the backends. A user's setting stays."""

if "tvm" not in sys.modules:
    sys.modules[UNUSED] = None  # type: ignore[assignment]
    unset = BACKENDS not in os.environ
    os.environ.setdefault(BACKENDS, "0")
    gc.disable()
    try:
        import tvm  # noqa: F401
    finally:
        del sys.modules[UNUSED]
        if unset:
            del os.environ[BACKENDS]
        gc.enable()
    gc.freeze()
