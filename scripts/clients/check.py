"""Two words for the Python clients of scripts/clients.sh: what has to be equal, and what has to be refused."""


def equal(what, found, wanted):
    """Ends the program unless both are equal."""
    if found != wanted:
        raise SystemExit(f"{what}: expected {wanted!r}, found {found!r}")


def refused(what, kind, call, says=None):
    """Ends the program unless the call raises an exception of this kind, whose text holds `says`; returns it."""
    try:
        answer = call()
    except kind as error:
        if says is not None and says not in str(error):
            raise SystemExit(f"{what}: expected {says!r} in {error!r}") from error
        return error
    raise SystemExit(f"{what}: expected {kind.__name__}, but it answered {answer!r}")
