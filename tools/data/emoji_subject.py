#!/usr/bin/env python3
"""The subject task from tools/data/emoji.py's folders: draw the Halloween emoji, which the base has never seen.

Writes into --out, from the folders of --emoji:
  subject-train   noto-halloween without the pictures below
  subject-test    pictures whose subject training shows in another view: the other one of a man, a woman and a person, of two
                  faces with horns, of two skulls, of two sweets
  subject-prior   25 of the base's own pictures, evenly spread, to keep what it knows; none of those that colours and outlines are judged by
  prompts.json    subjects in colours and outlines that no picture of them has, for `lowrank compare --prompts`; examples of a
                  subject are its pictures of both hands, those of a colour and an outline the base's plain circles, hearts and squares
The same folders give the same bytes.
Example: python3 tools/data/emoji_subject.py --emoji build/data/emoji --out build/data/subject
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

HELD_OUT = ["1F9D9-200D-2642-FE0F", "1F9DB-200D-2640-FE0F", "1F9DF-200D-2642-FE0F", "1F608", "1F480", "1F36D"]
SUBJECTS = {"jack-o-lantern": "1F383", "ghost": "1F47B", "bat": "1F987", "spider": "1F577-FE0F", "candle": "1F56F-FE0F",
            "crystal ball": "1F52E", "coffin": "26B0-FE0F", "goblin": "1F47A"}
OWN = {"jack-o-lantern": "orange", "bat": "brown", "candle": "yellow", "crystal ball": "purple", "coffin": "brown", "goblin": "red"}
COLOURS = {  # circle, square, heart
    "red": ["1F534", "1F7E5", "2764-FE0F"], "orange": ["1F7E0", "1F7E7", "1F9E1"], "yellow": ["1F7E1", "1F7E8", "1F49B"],
    "green": ["1F7E2", "1F7E9", "1F49A"], "blue": ["1F535", "1F7E6", "1F499"], "purple": ["1F7E3", "1F7EA", "1F49C"],
    "brown": ["1F7E4", "1F7EB", "1F90E"]}
OUTLINES = ["circle", "square", "heart"]
PRIOR = 25


def prompts_of(emoji, out):
    def path(folder, code):
        file = emoji / folder / f"{code}.png"
        if not file.is_file():
            sys.exit(f"[subject] expected {file}, got no such file\n  hint: tools/data/emoji.py makes it")
        return os.path.relpath(file, out)

    subjects = {name: [path("noto-halloween", code), path("gemojione", code)] for name, code in SUBJECTS.items()}
    colours = {name: [path("noto-base", code) for code in codes] for name, codes in COLOURS.items()}
    outlines = {name: [path("noto-base", codes[i]) for codes in COLOURS.values()] for i, name in enumerate(OUTLINES)}
    prompts = []
    for name in SUBJECTS:
        for colour in ("red", "green", "blue", "purple"):
            if OWN.get(name) != colour:
                prompts.append({"prompt": f"{colour} {name}, {colour}", "subject": name, "colour": colour})
        for outline in ("heart", "square"):
            prompts.append({"prompt": f"{name} {outline}, {outline}", "subject": name, "outline": outline})
    galleries = {"subject": {"by": "features", "classes": subjects}, "colour": {"by": "colour", "classes": colours},
                 "outline": {"by": "outline", "classes": outlines}}
    return {"galleries": galleries, "prompts": prompts}


def prior_of(emoji):
    judged = {code for codes in COLOURS.values() for code in codes}
    pictures = [picture for picture in sorted((emoji / "noto-base").glob("*.png")) if picture.stem not in judged]
    return [pictures[i * len(pictures) // PRIOR] for i in range(PRIOR)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--emoji", type=Path, required=True, help="what tools/data/emoji.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    emoji, out = arguments.emoji.resolve(), arguments.out.resolve()
    prompts = prompts_of(emoji, out)
    pictures = sorted((emoji / "noto-halloween").glob("*.png"))
    missing = set(HELD_OUT) - {picture.stem for picture in pictures}
    if missing:
        sys.exit(f"[subject] expected {', '.join(sorted(missing))} in {emoji / 'noto-halloween'}, got no such pictures")
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    counts = {"subject-train": 0, "subject-test": 0, "subject-prior": 0}
    parts = [("subject-test" if picture.stem in HELD_OUT else "subject-train", picture) for picture in pictures]
    for part, picture in [*parts, *(("subject-prior", picture) for picture in prior_of(emoji))]:
        counts[part] += 1
        (fresh / part).mkdir(exist_ok=True)
        for file in (picture, picture.with_suffix(".txt")):
            shutil.copyfile(file, fresh / part / file.name)
    (fresh / "prompts.json").write_text(json.dumps(prompts, indent=1) + "\n")
    if out.exists():
        if not (out / "prompts.json").is_file():
            shutil.rmtree(fresh)
            sys.exit(f"[subject] {out} holds other files\n  hint: name a new folder with --out")
        shutil.rmtree(out)
    fresh.chmod(0o755)
    fresh.rename(out)
    for name, count in [*counts.items(), ("prompts", len(prompts["prompts"]))]:
        print(f"  {count:6} {name}")
    print(arguments.out)


if __name__ == "__main__":
    main()
