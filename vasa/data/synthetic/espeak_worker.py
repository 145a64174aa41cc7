"""One espeak-ng session in a process of its own: run by espeak.py, never imported; standard library only.

The library keeps hidden state that only a fresh process clears, and some sentences crash it.

Argument: JSON {library, data, voice, seed, parameters: [[number, value], ...]}. Standard input: a JSON string
a line, the text. Standard output: first a line {"rate": Hz, "voice": true if the library has it}; then for
each text a JSON line {bytes, events: [[ms, ipa], ...]} and that many bytes of 16-bit samples.
"""

import ctypes
import json
import os
import sys

AUDIO_OUTPUT_SYNCHRONOUS = 2
PHONEME_EVENTS, PHONEME_IPA, DONT_EXIT = 1, 2, 0x8000
EVENT_END, EVENT_PHONEME = 0, 7
TEXT_UTF8 = 1


class EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", EventId),
    ]


Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


def serve(request: dict) -> None:
    """Speaks until standard input ends."""
    library = ctypes.CDLL(request["library"])
    options = PHONEME_EVENTS | PHONEME_IPA | DONT_EXIT
    rate = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, request["data"].encode(), options)
    library.espeak_ng_SetRandSeed(ctypes.c_long(request["seed"]))
    blocks: list[bytes] = []
    events: list[tuple[int, str]] = []

    def receive(samples: ctypes._Pointer, count: int, found: ctypes._Pointer) -> int:
        if count > 0:
            blocks.append(ctypes.string_at(samples, 2 * count))
        index = 0
        while found[index].type != EVENT_END:
            if found[index].type == EVENT_PHONEME:
                events.append((found[index].audio_position, found[index].id.string.decode("utf8", "ignore")))
            index += 1
        return 0

    callback = Callback(receive)
    library.espeak_SetSynthCallback(callback)
    known = library.espeak_SetVoiceByName(request["voice"].encode()) == 0
    for parameter, value in request["parameters"]:
        library.espeak_SetParameter(parameter, value, 0)
    out = sys.stdout.buffer
    out.write(json.dumps({"rate": rate, "voice": known}).encode() + b"\n")
    out.flush()
    for line in sys.stdin.buffer:
        blocks.clear()
        events.clear()
        text = json.loads(line).encode()
        library.espeak_Synth(text, len(text) + 1, 0, 1, 0, TEXT_UTF8, None, None)
        sound = b"".join(blocks)
        out.write(json.dumps({"bytes": len(sound), "events": events}).encode() + b"\n" + sound)
        out.flush()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
    sys.stdout.flush()
    os._exit(0)  # without the library's own clean-up, which can crash too
