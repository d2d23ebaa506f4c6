"""Damages files at random and has the project read them: `python damage.py COUNT KIND...` in an empty folder.

Prints as JSON how many of each kind were read all the same and how many refused, and the most memory that it took.
"""

from __future__ import annotations

import gzip
import json
import random
import resource
import signal
import sys
from pathlib import Path

import damageable
import damageable_scores
from damageable import Kind

from generative.errors import UsageError

KINDS = damageable.KINDS | damageable_scores.KINDS
PATIENCE = 10  # seconds for one file
TEXT = b"0123456789-.,\"'[]{}:eE \n\r\t\0\xff\xc3\xa9nul"


class HungError(BaseException): ...


def damage(content: bytes, chance: random.Random) -> bytes:
    """The content with one to three faults."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 3)):
        i = chance.randrange(len(data) + 1)
        j = min(len(data), i + chance.choice([1, 2, 4, 8, 64, 1024]))
        n = j - i
        text, noise = bytes(chance.choices(TEXT, k=n)), chance.randbytes(n)
        size = chance.choice([b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x40", b"9999"])
        match chance.randrange(3):
            case 0:
                data[i:j] = chance.choice([b"", data[i:j] * 2, bytes(n), b"\xff" * n, noise, text, size])
            case 1:
                del data[i:]
            case _:
                for place in chance.sample(range(len(data)), min(len(data), chance.randint(1, 20))):
                    data[place] ^= 1 << chance.randrange(8)
    return bytes(data)


def try_all(name: str, kind: Kind, count: int) -> dict[str, int]:
    """Damages the file `count` times over; ends with an AssertionError at the first that is not read or refused by name."""
    place = Path(name.replace(" ", "_").replace(".", "_"))
    place.mkdir()
    kind.make(place)
    kind.read(place)  # the sound one is read
    sound, chance, outcome = (place / kind.file).read_bytes(), random.Random(name), {"read": 0, "refused": 0}
    for number in range(count):
        inside = kind.packed and number % 2
        bad = gzip.compress(damage(gzip.decompress(sound), chance), 1) if inside else damage(sound, chance)
        (place / kind.file).write_bytes(bad)
        signal.alarm(PATIENCE)
        try:
            kind.read(place)
            outcome["read"] += 1
        except UsageError as error:
            assert place.name in str(error) or "params.yaml: data.x" in str(error) or str(error).startswith("validation: "), error
            outcome["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"{name}: damaged file {number}: {type(error).__name__}: {error}") from error
        finally:
            signal.alarm(0)
    return outcome


def hung(*_: object) -> None:
    raise HungError(f"more than {PATIENCE} seconds")


def main() -> None:
    signal.signal(signal.SIGALRM, hung)
    kinds = {name: try_all(name, KINDS[name], int(sys.argv[1])) for name in sys.argv[2:]}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts kilobytes
    print(json.dumps({"kinds": kinds, "gigabytes": round(most / 2**30, 2)}))


if __name__ == "__main__":
    main()
