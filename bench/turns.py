"""Programs that take steps in turn, and the ratio of what they took."""
import json
import subprocess

import numpy


class Process:
    """A program that takes a step for each line that it is sent."""

    def __init__(self, command):
        self.command = command
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def step(self):
        self.process.stdin.write("step\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(map(str, self.command))} failed:\n{self.process.stderr.read()[-3000:]}")
        return float(line)

    def next(self):
        """On to the program's next row."""
        self.process.stdin.write("next\n")
        self.process.stdin.flush()

    def finish(self):
        self.process.stdin.close()
        text, errors = self.process.stdout.read(), self.process.stderr.read()
        if self.process.wait():
            raise RuntimeError(f"{' '.join(map(str, self.command))} failed:\n{errors[-3000:]}")
        return json.loads(text.strip().splitlines()[-1])


def ratio(above, below):
    """Median of neighbouring steps' ratios with its 95 % bootstrap interval."""
    parts = numpy.array(above) / numpy.array(below)
    draws = numpy.median(numpy.random.default_rng(1).choice(parts, (10000, len(parts))), axis=1)
    return [float(numpy.median(parts)), *map(float, numpy.percentile(draws, [2.5, 97.5]))]
