"""How far a server's clock may be from ours."""

from __future__ import annotations

from app.doctor.finding import Finding, fail, ok, warn

# Ends of validity and of tokens are kept to the second; minutes let people in who should be out.
_NOTED_S, _WRONG_S = 2.0, 30.0


def judge_clock(subject: str, theirs_s: float, before_s: float, after_s: float) -> Finding:
    """Return what to think of a clock that read `theirs_s` at some time between the two others.

    All three in seconds since 1970; the last two are of this machine.
    """
    ahead = theirs_s - after_s if theirs_s > after_s else min(0.0, theirs_s - before_s)
    if abs(ahead) < _NOTED_S:
        return ok("clock", subject, "agrees with this machine's")
    told = f"is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's"
    mend = "set both by NTP: ends of validity and of tokens go by them"
    judge = warn if abs(ahead) < _WRONG_S else fail
    return judge("clock", subject, told, mend)
