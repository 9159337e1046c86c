"""What went wrong, in words for a person: what happened, and on the next line what to do."""

import errno


def explain(error: BaseException) -> str:
    """What happened in one line, and on the next what to do."""
    text = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    name = type(error).__name__
    if name == "OutOfMemoryError" or isinstance(error, MemoryError):
        return (
            f"out of memory: {text[:200]}\nset training.micro_batch_size lower (the curve stays the same), then Resume"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full\nfree some space, then Resume"
    if isinstance(error, ValueError):  # ours say what to do, and so do those of the libraries for bad input
        return str(error).strip() or name
    return f"{name}: {text[:300]}\nengine.log has the details"
