"""VizDoom's take cover as dodgers meet it: fireballs come, one moves left, right or not at all, and a tic survived is a reward of 1.

ViZDoom: Wydmuch, Kempka and Jaśkowski 2019, arXiv:1809.03470. The scenario is the package's own, at its own skill, 4.
"""

from __future__ import annotations

import shlex
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from generative.errors import UsageError

TICS = 2100  # one minute at Doom's 35 tics a second: the end of an episode, as in Ha and Schmidhuber
SIDE, SEEN = 64, (40, 92)  # of the picture, and the rows of Doom's 120 where fireballs fly


class Episode:
    """One game; `start` gives it the monsters of a seed.

    Args:
        repeat: tics for which a decision holds.
        official: taken as every environment does; there is no other game than the unmodified one.
    """

    controls: ClassVar[tuple[str, ...]] = ("choice",)
    held: ClassVar[dict[str, tuple[float, ...]]] = {"nothing": (0.0,), "left": (-1.0,), "right": (1.0,)}
    frames_per_second: ClassVar[int] = 35
    end: ClassVar[float] = 0.0  # what an end costs in itself

    def __init__(self, repeat: int, official: bool) -> None:  # noqa: ARG002
        self.repeat, self.tics = repeat, 0
        self.game = _game()

    def start(self, seed: int) -> NDArray[np.uint8]:
        """What is seen first, (64, 64, 3)."""
        self.tics = 0
        self.game.set_seed(seed % 2**31)
        self.game.new_episode()
        self.frame = self._picture()
        return self.frame

    def advance(self, action: NDArray[np.float64]) -> tuple[NDArray[np.uint8], float, bool]:
        """(what is seen, tics survived, whether it ended) after the decision (1,): -1 left, 0 nothing, 1 right."""
        tics = min(self.repeat, TICS - self.tics)
        self.tics += tics
        reward = self.game.make_action([bool(action[0] < 0), bool(action[0] > 0)], tics)
        dead = self.game.is_episode_finished()
        if not dead:  # the dead see nothing: the last picture stays
            self.frame = self._picture()
        return self.frame, float(reward), dead or self.tics == TICS

    def close(self) -> None:
        """Ends the game's own process."""
        self.game.close()

    def _picture(self) -> NDArray[np.uint8]:
        picture = Image.fromarray(self.game.get_state().screen_buffer[slice(*SEEN)])
        return np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.BOX))


def _game() -> Any:
    try:
        import vizdoom  # pyright: ignore[reportMissingImports] - an extra
    except ImportError:
        raise UsageError("take cover needs vizdoom: expected it to be installed; `pip install '.[doom]'` does that") from None
    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path) / "take_cover.cfg"))
    game.set_window_visible(False)
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
    game.set_screen_format(vizdoom.ScreenFormat.RGB24)
    with tempfile.TemporaryDirectory() as folder, chdir(tempfile.gettempdir()):  # the game leaves files where it is started
        game.set_vizdoom_path(str(_leashed(Path(vizdoom.scenarios_path).parent / "vizdoom", Path(folder))))
        game.init()
    return game


def _leashed(program: Path, folder: Path) -> Path:
    """What starts the game so that it dies with the process that plays it (Linux only): it heeds no other signal, and nobody's death."""
    if sys.platform != "linux":
        return program
    code = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"  # PR_SET_PDEATHSIG, SIGKILL
    starter = folder / "vizdoom"
    starter.write_text(f'#!/bin/sh\nexec {shlex.join([sys.executable, "-SE", "-c", code, str(program)])} "$@"\n')
    starter.chmod(0o700)
    return starter
