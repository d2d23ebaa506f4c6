"""A piece of music as notes in voices, and its ways in and out: ABC, MusicXML, MIDI, tokens."""
