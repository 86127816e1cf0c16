"""What libraries import only when it is first used: whoever forks workers imports it before.

pyarrow looks for pandas at the first list it is given; httpx loads its transport with the first client, uvicorn its
protocols with the first server. In each forked worker anew, that is most of its life.
"""

from __future__ import annotations

import _strptime  # noqa: F401

import h2.connection  # noqa: F401
import httpcore  # noqa: F401
import pandas  # noqa: F401
import uvicorn.lifespan.on
import uvicorn.loops.auto
import uvicorn.protocols.http.h11_impl  # noqa: F401
