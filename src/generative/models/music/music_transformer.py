"""The music Transformer of notes and durations (Foster 2023, chapter 11; the network is that of Vaswani et al. 2017, decoder only).

A melody is two streams, one of notes (with rests, START, keys and metres among them) and one of durations. Each is embedded and gets the
sine code of its position; both side by side pass through causal attention, and two heads tell the next note and the next duration. The
loss is the sum of their cross-entropies, in nats an event.

Departures: windows do not join pieces of different splits; a note and its duration are drawn so that they fit (what takes no time gets
the duration 0, all else a longer one); queries, keys and values start with Glorot's weights of their joint matrix.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam

from generative.data.music.notation.tokens import EVENTS, NO_TIME, SILENCE, START, is_pitch, piece_of
from generative.data.store import Batch, Info
from generative.errors import UsageError
from generative.models.exhibit import Exhibit, Heatmap, Music
from generative.models.model import Loss, Model, Objective
from generative.nn.initialise import glorot
from generative.nn.temperature import tempered
from generative.nn.transformer import Decoder, sine_positions
from generative.params import Fraction, Positive, Training, Width

ATTENDED = 20  # events of the attention matrix
Temperature = Annotated[float, Field(gt=0, le=10)]


class Params(Training):
    embedding: Width  # of a note, and of a duration
    blocks: Positive
    heads: Positive
    head_size: Width
    hidden: Width  # of the feed-forward net
    dropout: Fraction
    note_temperature: Temperature
    duration_temperature: Temperature
    pieces: Positive  # that are written down for a person
    longest: Positive  # events of such a piece


class Temperatures(NamedTuple):
    note: float
    duration: float


class MusicTransformer(Model):
    figure = "loss"

    def __init__(self, params: Params, info: Info) -> None:
        super().__init__()
        if list(info.vocabulary) != EVENTS:
            raise UsageError(f"data: music_transformer expects streams of {' and '.join(EVENTS)}, {info.name} has {list(info.vocabulary)}")
        self.params, self.info = params, info
        notes, durations = (info.vocabulary[stream] for stream in EVENTS)
        self.window = info.shape[0] - 1
        self.notes, self.durations = nn.Embedding(len(notes), params.embedding), nn.Embedding(len(durations), params.embedding)
        width = 2 * params.embedding
        self.decoder = Decoder(params.blocks, width, params.heads, params.head_size, params.hidden, params.dropout)
        self.next_note, self.next_duration = nn.Linear(width, len(notes)), nn.Linear(width, len(durations))
        self.positions = nn.Buffer(sine_positions(self.window, params.embedding), persistent=False)
        self.timed = nn.Buffer(torch.tensor([is_pitch(note) or note == SILENCE for note in notes]), persistent=False)
        self.lasting = nn.Buffer(torch.tensor([duration != NO_TIME for duration in durations]), persistent=False)
        glorot(self)
        for embedding in (self.notes, self.durations):
            nn.init.uniform_(embedding.weight, -0.05, 0.05)

    def objectives(self) -> list[Objective]:
        optimizer = Adam(self.parameters(), lr=self.params.learning_rate, eps=1e-7, fused=True)
        return [Objective("events", self._loss, optimizer)]

    def _loss(self, batch: Batch) -> Loss:
        given, wanted = batch["x"][:, :-1], batch["x"][:, 1:]
        hidden = self.decoder(self.embed(given))
        note = F.cross_entropy(self.next_note(hidden).float().flatten(0, 1), wanted[..., 0].flatten())
        duration = F.cross_entropy(self.next_duration(hidden).float().flatten(0, 1), wanted[..., 1].flatten())
        return note + duration, {"loss": note + duration, "note": note, "duration": duration}

    def embed(self, x: Tensor, start: int = 0) -> Tensor:
        """(B, T, 2) tokens, the first at position `start`, to (B, T, D)."""
        positions = self.positions[start : start + x.shape[1]]
        return torch.cat([self.notes(x[..., 0]) + positions, self.durations(x[..., 1]) + positions], dim=-1)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        return self._loss(batch)[1]

    def sample(
        self,
        n: int,
        condition: Tensor | None = None,
        *,
        note_temperature: float | None = None,
        duration_temperature: float | None = None,
    ) -> Tensor:
        """(n, T, 2) from START; or, with the tokens `condition` (T', 2), they and as many more as an example has."""
        begun = self._start(n) if condition is None else condition.expand(n, -1, -1)
        block = self.params.asked(note_temperature=note_temperature, duration_temperature=duration_temperature)
        heat = Temperatures(block.note_temperature, block.duration_temperature)
        return self.extend(begun, self.window, heat)[0]

    def extend(self, x: Tensor, count: int, heat: Temperatures) -> tuple[Tensor, Tensor]:
        """`count` more events after x (B, T, 2), T > 0: the tokens (B, T + count, 2) and the notes' probabilities (B, count, K).

        Keys and values are kept until the window is full; then its newer half is read anew, so that 25 to 50 events of 50 are in sight.
        """
        probabilities: list[Tensor] = []
        caches, place = self.decoder.caches(self.window), 0
        unread = x[:, -self.window :]
        for _ in range(count):
            if place + unread.shape[1] > self.window:
                caches, place, unread = self.decoder.caches(self.window), 0, x[:, -(self.window + 1) // 2 :]
            hidden = self.decoder(self.embed(unread, place), caches)[:, -1]
            place += unread.shape[1]
            likely = tempered(self.next_note(hidden), heat.note)
            note = likely.multinomial(1)[:, 0]
            duration = self._duration(self.next_duration(hidden), heat.duration, note)
            unread = torch.stack([note, duration], dim=-1)[:, None]
            x = torch.cat([x, unread], dim=1)
            probabilities.append(likely)
        return x, torch.stack(probabilities, dim=1) if probabilities else x.new_zeros(len(x), 0, len(self.timed)).float()

    def _duration(self, logits: Tensor, temperature: float, note: Tensor) -> Tensor:
        """A duration that fits each note: 0 for START, keys and metres, else one above 0."""
        fits = self.lasting[None] == self.timed[note][:, None]
        return tempered(logits.masked_fill(~fits, -torch.inf), temperature).multinomial(1)[:, 0]

    def _start(self, n: int) -> Tensor:
        start = [self.info.vocabulary["notes"].index(START), self.info.vocabulary["durations"].index(NO_TIME)]
        return torch.tensor(start, device=self.timed.device).expand(n, 1, 2)

    def exhibits(self, batch: Batch) -> list[Exhibit]:
        params, vocabulary = self.params, self.info.vocabulary
        heat = Temperatures(params.note_temperature, params.duration_temperature)
        made, likely = self.extend(self._start(params.pieces), params.longest, heat)
        begun = self._beginnings(batch["x"], params.pieces)
        continued = [self.extend(x[None], params.longest // 2, heat)[0][0] for x in begun]
        pieces = [piece_of(x.cpu().numpy(), vocabulary, f"Piece {i + 1}") for i, x in enumerate(made)]
        longer = [piece_of(x.cpu().numpy(), vocabulary, f"Continuation {i + 1}") for i, x in enumerate(continued)]
        return [
            Music("pieces", "Made from nothing but START, up to the next START.", pieces),
            Music("continuations", f"The first {len(begun[0])} events are those of held-out pieces; the model goes on from there.", longer),
            self._heatmap(likely[0], made[0, 1:]),
            self._attention(batch["x"][:1, : min(ATTENDED, self.window)]),
        ]

    def _beginnings(self, x: Tensor, count: int) -> list[Tensor]:
        """The first half window of pieces that begin within x (N, T, 2), or of the examples themselves where too few do."""
        half = max(1, self.window // 2)
        start = self._start(1)[0, 0, 0]
        rows, places = (x[:, : half + 1, 0] == start).nonzero(as_tuple=True)
        whole = [x[row, place : place + half] for row, place in zip(rows.tolist(), places.tolist(), strict=True)]
        return [*whole, *(example[:half] for example in x)][:count]

    def _heatmap(self, likely: Tensor, chosen: Tensor) -> Heatmap:
        notes = self.info.vocabulary["notes"]
        end = next((place for place, note in enumerate(chosen[:, 0].tolist()) if notes[note] == START and place), len(chosen))
        end = min(end, self.window)
        pitches = [i for i, note in enumerate(notes) if is_pitch(note)][::-1]
        return Heatmap(
            "note_probabilities",
            "How likely each pitch was at each step of the first piece; the column is named by what was drawn.",
            likely[:end, pitches].T,
            [notes[i] for i in pitches],
            [notes[i] for i in chosen[:end, 0].tolist()],
            "pitch",
            "event",
        )

    def _attention(self, x: Tensor) -> Heatmap:
        names = [self.info.vocabulary["notes"][i] for i in x[0, :, 0].tolist()]
        weights = self.decoder.attention(self.embed(x))[-1][0].mean(0)
        return Heatmap(
            "attention",
            "Where the model looks when it has read the event of a row, in a held-out piece: mean of the last block's heads.",
            weights,
            names,
            names,
            "having read",
            "looks at",
        )
