"""Where turns are kept between requests and restarts; one contract (`base`), one file a backend."""

from rewrite_service.store.base import Store, TurnFeedback, merged
from rewrite_service.store.embedded import EmbeddedStore

__all__ = ["EmbeddedStore", "Store", "TurnFeedback", "merged"]
