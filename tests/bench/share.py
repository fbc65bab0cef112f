"""Where files of the repository lie; without torch, so that what runs before it may ask."""
import os


def share(path):
    """A file of the repository or of launch/bundle.sh's archive."""
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for base in (os.environ.get("FINECLIP_SHARE", top), top, os.path.join(top, "share", "fineclip")):
        if os.path.exists(os.path.join(base, path)):
            return os.path.join(base, path)
    raise SystemExit(f"{path} is neither below {top} nor below FINECLIP_SHARE")
