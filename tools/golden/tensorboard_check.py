#!/usr/bin/env python3
"""Event files against the real tensorboard package.

Without arguments: writes tests/golden/train/events.out.tfevents.golden, the file its own protobufs and record framing give.
With folders: reads each with TensorBoard's EventAccumulator and compares every scalar with metrics.jsonl beside it.
"""
import argparse
import json
import struct
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

GOLDEN = Path(__file__).resolve().parents[2] / "tests/golden/train/events.out.tfevents.golden"


def write_golden():
    def scalars(step, time, **values):
        summary = Summary(value=[Summary.Value(tag=tag.replace("__", "/"), simple_value=v) for tag, v in values.items()])
        return Event(wall_time=time, step=step, summary=summary)

    events = [Event(wall_time=1700000000.25, file_version="brain.Event:2"),
              scalars(1, 1700000001.5, train__loss=0.5),
              scalars(300, 1700000002.0, train__loss=1e-3, validation__accuracy=0.875)]
    with GOLDEN.open("wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())
        writer.flush()


def check(folder):
    board = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    board.Reload()
    expected = {}
    for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()):
        prefix = "validation/" if line["event"] == "validation" else "train/"
        for name, value in line.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool) and name not in ("step", "time"):
                tag = line["score_name"] if prefix == "validation/" and name == "score" else name
                expected.setdefault(prefix + tag, []).append((line["step"], struct.unpack("f", struct.pack("f", value))[0]))
    found = {tag: [(e.step, e.value) for e in board.Scalars(tag)] for tag in board.Tags()["scalars"]}
    assert found == expected, f"{folder}: TensorBoard read {found.keys()}, metrics.jsonl says {expected.keys()}"
    print(f"{folder}: {len(found)} tags, {sum(map(len, found.values()))} scalars, all equal")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="run folders with metrics.jsonl and tensorboard/")
    folders = parser.parse_args().folders
    if folders:
        for folder in folders:
            check(folder)
    else:
        write_golden()


if __name__ == "__main__":
    main()
