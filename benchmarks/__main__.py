"""Speed, measured side by side in one run, every process on one thread.

Contestants take turns, and a ratio compares times of the same round, so ratios hold on a busy machine too, where milliseconds do not.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.race import ROOT, environment
from benchmarks.steps import PUBLISHED

ALONE = {  # modules that also run by themselves
    "text": "language models: a step beside plain PyTorch and Keras, writing beside Hugging Face's GPT-2",
    "sampling": "images drawn pixel by pixel, beside a pass of the whole network a pixel",
    "racing": "CarRacing beside gymnasium's own and envpool's, alone and in a world model's loop",
}
START = "start"


def main() -> None:
    lines = [f"  {START:12s} how long the train stage takes to begin", f"  {', '.join(PUBLISHED)}"]
    lines += ["               a training step beside a plain PyTorch loop and Keras; diffusion also beside other libraries' U-Nets"]
    lines += [f"  {name:12s} {meaning}" for name, meaning in ALONE.items()]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        epilog="What there is to measure:\n" + "\n".join(lines) + "\nThe whole catalogue: python -m benchmarks.catalogue",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    everything = [START, *PUBLISHED, *ALONE]
    parser.add_argument("what", nargs="*", default=everything, metavar="WHAT", help="all of it, if none is named")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    arguments = parser.parse_args()
    what = arguments.what
    if unknown := sorted(set(what) - set(everything)):
        parser.error(f"expected some of {', '.join(everything)}; got {', '.join(unknown)}")
    steps = [name for name in what if name not in ALONE]
    for module, names in [("steps", steps), *((name, []) for name in what if name in ALONE)]:
        if names or module != "steps":
            command = [sys.executable, "-m", f"benchmarks.{module}", *names, "--rounds", str(arguments.rounds)]
            subprocess.run(command, cwd=ROOT, env=environment(), check=True)


if __name__ == "__main__":
    main()
