"""Names that users choose, as something else allows them: what differs stays different."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable

_HASH = 8  # digits


def distinct(names: Iterable[str], clean: Callable[[str], str], limit: int) -> dict[str, str]:
    """Returns allowed names by the names that were chosen.

    Where cleaning or shortening makes two names equal, but for upper and lower case, a short hash is appended
    to those that it has changed.

    Args:
        names: that were chosen.
        clean: replaces what is not allowed; it is given one name.
        limit: characters of an allowed name, more than 9.
    """
    cleaned = {name: clean(name)[:limit] for name in names}
    alike = Counter(map(str.casefold, cleaned.values()))
    exact = Counter(name.casefold() for name, allowed in cleaned.items() if name == allowed)
    return {
        name: allowed
        if alike[allowed.casefold()] == 1 or (name == allowed and exact[name.casefold()] == 1)
        else f"{allowed[: limit - _HASH - 1]}-{hashlib.sha256(name.encode()).hexdigest()[:_HASH]}"
        for name, allowed in cleaned.items()
    }
