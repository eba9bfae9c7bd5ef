"""Where users' turns are kept between requests and restarts; one contract (`base`), one file a backend."""

from rewrite_service.store.base import Forgotten, Store, TurnFeedback, UserRecord, merged, user_key
from rewrite_service.store.embedded import EmbeddedStore

__all__ = ["EmbeddedStore", "Forgotten", "Store", "TurnFeedback", "UserRecord", "merged", "user_key"]
