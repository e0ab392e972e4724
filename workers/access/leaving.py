"""What is left of somebody's access on a server; pure."""

from __future__ import annotations

from workers.access.model import Door, UserState


def ways_in(state: UserState | None, queries: int) -> tuple[str, ...]:
    """Return what somebody who left still has there, in words; nothing for one who is out.

    `queries`: how many of the user's are running. An open session of somebody without roles and
    privileges can do nothing; `HOST NONE` alone or an end alone is no lock (see `Door`).
    """
    left = []
    if state is not None:
        if state.door is Door.OPEN:
            left.append("can log in")
        elif not state.door.is_shut:
            left.append("is locked in one way of two only")
        if state.roles:
            left.append(f"holds {', '.join(sorted(state.roles))}")
        if state.has_privileges:
            left.append("holds privileges")
    if queries:
        left.append(f"runs {queries} quer{'y' if queries == 1 else 'ies'}")
    return tuple(left)
