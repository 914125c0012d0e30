"""What the generators share: where the files go, how they are written, which package versions they need."""
import hashlib
import json
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent
SEED = 20250407  # the day the SmolVLM paper appeared


def path(name):
    """Absolute path of a golden file; its folder is made."""
    p = ROOT / name
    p.parent.mkdir(parents=True, exist_ok=True)
    return p


def write_json(name, value, indent=None):
    """One value per line at the top level and no blanks inside: small, and still readable in a diff."""
    def dump(v):
        return json.dumps(v, ensure_ascii=True, separators=(",", ":"), indent=indent)

    if isinstance(value, dict):
        body = "{\n" + ",\n".join(f"{json.dumps(k)}:{dump(v)}" for k, v in value.items()) + "\n}\n"
    elif isinstance(value, list):
        body = "[\n" + ",\n".join(dump(v) for v in value) + "\n]\n"
    else:
        body = dump(value) + "\n"
    path(name).write_text(body, encoding="ascii")


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def requirements():
    """The pins of requirements.txt as {package: version}."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))
