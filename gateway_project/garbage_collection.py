"""When Python's garbage collector runs. It stops all threads, and so the event loop, for as long as it runs."""

import atexit
import gc
from typing import Final

LOADING_THRESHOLD: Final = 500_000
"""The threshold of the youngest generation while modules are imported, which takes 350,000 allocations; Python's
default is 700.
"""
THRESHOLDS: Final = (5_000, 100, 50)
"""As `gc.set_threshold` takes them."""
THRESHOLDS_AFTER_PAGES: Final = (2, 100)
"""How often each of the first two generations is collected after pages until the next older one is too.

What survives a collection are the requests in progress. Collected every third time they take 0.4 ms, and every
hundredth time 7 ms.
"""


def begin_loading() -> None:
    """Collect nothing while modules are imported, nor when the interpreter ends.

    Importing Django and the gateway creates 350,000 objects and hardly any garbage. With the defaults that causes 500
    collections, a quarter of the time of the imports, and one for each 50,000 objects still takes a tenth. At its end
    the interpreter would collect several times over all of them, which takes longer than most management commands.
    """
    gc.set_threshold(LOADING_THRESHOLD, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)


def before_fork() -> None:
    """Exempt what is loaded from garbage collection: a collection in a worker would write to its pages, and so copy
    them.
    """
    gc.freeze()


def tune() -> None:
    """Exempt what was loaded at startup from garbage collection, and collect less often.

    With the defaults, collections took a third of the time of hits in Redis, which allocate and free tens of thousands
    of cache entries without any garbage.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


def collect_after_page(thresholds: tuple[int, int] = THRESHOLDS_AFTER_PAGES) -> None:
    """Collect the youngest generation, and the older ones by their thresholds.

    Python looks at those only when the youngest generation has reached its own, which it never does if it is collected
    after each page: the garbage of requests that were in progress during a collection would be kept.
    """
    _, young, middle = gc.get_count()
    gc.collect(2 if middle > thresholds[1] else 1 if young > thresholds[0] else 0)
