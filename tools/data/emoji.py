#!/usr/bin/env python3
"""Builds the emoji picture sets: two hands that drew the same things, with captions.

From Debian packages: the Noto colour emoji (PNGs in the font, 136x128), gemojione (PNGs, 64x64), names and keywords from
CLDR, order and groups from emoji-test.txt. Folders under --out, each with <code points>.png, .txt beside it and
metadata.jsonl (file_name, text, code_points, name, keywords, group, subgroup, skin_tone):
  noto, gemojione            all emoji of each set
  noto-base                  noto without the held-out ones (--held-out) and without skin tones
  noto-halloween             the held-out ones, without skin tones
  style-train, style-test    gemojione pictures of things that noto-base has too: 40 and 200, chosen by the seed, no flags
  classes-noto       train, validation and test, in each a folder a subgroup (no captions): subgroups with enough things in both hands
  classes-all        the same things in the same parts, of every subgroup: what a model may learn pictures from before it learns classes
  classes-gemojione  the same classes in the other hand: few pictures a class in train (--few); validation; and a test of
                     things that classes-noto has in train (classes-gemojione-known), and of others (classes-gemojione-new)
  classes-gemojione-known, classes-gemojione-new   the two halves of that test
A thing is an emoji without skin tone, sex and direction: its pictures lie in one part of every set. Skin tones are in train alone. Flags
are left out: a seventh of all, and told by their shape.
and about.json: settings, counts, sources, hash. The same packages give the same bytes.
Example: tools/bootstrap.sh images && python3 tools/data/emoji.py --out build/data/emoji
"""
import argparse
import collections
import hashlib
import json
import re
import shutil
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path

from color_font import ColorFont

FONT = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
TEST = "usr/share/unicode/emoji/emoji-test.txt"
NAMES = [f"usr/share/unicode/cldr/common/{folder}/en.xml" for folder in ("annotations", "annotationsDerived")]
GEMOJIONE = "usr/share/rubygems-integration/all/gems"
PARTS = ("train", "validation", "test")
MAN, WOMAN, PERSON = 0x1F468, 0x1F469, 0x1F9D1
TONES = range(0x1F3FB, 0x1F400)
JOINERS = (0xFE0F, 0x200D)
HINT = "\n  hint: tools/bootstrap.sh images installs the packages"
Emoji = collections.namedtuple("Emoji", "code_points name keywords group subgroup")


def stop(problem, hint=HINT):
    sys.exit(f"[emoji] {problem}{hint}")


def read(root, name):
    path = root / name
    if not path.is_file():
        stop(f"expected {path}, got no such file")
    return path.read_bytes()


def code(points):
    return "-".join(f"{point:X}" for point in points)


def bare(points, dropped):
    return tuple(point for point in points if point not in dropped)


def has_tone(emoji):
    return any(point in TONES for point in emoji.code_points)


def read_names(root):
    """({text: name}, {text: keywords}); text without FE0F."""
    names, keywords = {}, {}
    for source in NAMES:
        for item in xml.etree.ElementTree.fromstring(read(root, source)).iter("annotation"):
            text = (item.text or "").strip()
            key = item.get("cp").replace("\ufe0f", "")
            if item.get("type") == "tts":
                names[key] = text
            else:
                keywords[key] = [word.strip() for word in text.split("|")]
    return names, keywords


def read_emoji(root):
    """Every fully qualified emoji of emoji-test.txt, in its order."""
    names, keywords = read_names(root)
    emoji, group, subgroup = [], "", ""
    for line in read(root, TEST).decode().splitlines():
        if line.startswith("# group: "):
            group = line[9:].strip()
        elif line.startswith("# subgroup: "):
            subgroup = line[12:].strip()
        found = re.match(r"([0-9A-F ]+?)\s*; fully-qualified\s*# \S+ E\S+ (.+)", line)
        if found:
            points = tuple(int(point, 16) for point in found.group(1).split())
            text = "".join(map(chr, bare(points, (0xFE0F,))))
            name = names.get(text, found.group(2))
            words = [word for word in keywords.get(text, []) if word.lower() != name.lower()]
            emoji.append(Emoji(points, name, words, group, subgroup))
    return emoji


def read_held_out(path):
    """Beginnings of sequences: tuples of code points."""
    lines = (line.split("#")[0] for line in path.read_text(encoding="utf-8").splitlines())
    found = [tuple(int(word, 16) for word in re.match(r"(?:[0-9A-F]{4,6}\s)+", line + " ").group(0).split())
             for line in lines if line.strip()]
    if not found:
        stop(f"expected code points in {path}, got none", "")
    return found


def read_gemojione(root):
    """{code points without joiners: PNG}."""
    folders = sorted((root / GEMOJIONE).glob("gemojione-*/assets/png"))
    if len(folders) != 1:
        stop(f"expected one gemojione-*/assets/png below {root / GEMOJIONE}, got {len(folders)}")
    found = {}
    for path in sorted(folders[0].glob("*.png")):
        points = tuple(int(point, 16) for point in path.stem.split("-")) if re.fullmatch(r"[0-9A-Fa-f-]+", path.stem) else ()
        if points:
            found[bare(points, JOINERS)] = path.read_bytes()
    return found


def chosen(emoji, seed, purpose):
    """In an order that depends on the seed and each emoji alone."""
    return sorted(emoji, key=lambda e: hashlib.sha256(f"{seed} {purpose} {code(e.code_points)}".encode()).hexdigest())


def captioned(emoji, pictures):
    """{file: bytes} of one folder."""
    files, rows = {}, []
    for e in emoji:
        name = code(e.code_points)
        text = ", ".join([e.name, *e.keywords])
        rows.append({"file_name": f"{name}.png", "text": text, "code_points": name, "name": e.name, "keywords": e.keywords,
                     "group": e.group, "subgroup": e.subgroup, "skin_tone": has_tone(e)})
        files[f"{name}.png"] = pictures[e.code_points]
        files[f"{name}.txt"] = text.encode() + b"\n"
    files["metadata.jsonl"] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    return files


def thing(emoji):
    """The code points of an emoji without skin tone, sex and direction; a man or woman who is or does something is a person."""
    points = bare(emoji.code_points, (0xFE0F, *TONES))
    if len(points) > 1:
        points = tuple(PERSON if point in (MAN, WOMAN) else point for point in points)
    text = "".join(map(chr, points))
    for end in ("\u2640", "\u2642", "\u27a1"):
        text = text.replace("\u200d" + end, "")
    return tuple(map(ord, text))


def part_of(emoji, drawn, seed, shares):
    """{thing: "train", "validation" or "test"}: of each subgroup the same shares, of things drawn in both hands and of others alike."""
    both = {thing(e) for e in emoji if e.code_points in drawn}
    strata = collections.defaultdict(dict)
    for e in emoji:
        strata[e.subgroup, thing(e) in both].setdefault(thing(e), e._replace(code_points=thing(e)))
    parts = {}
    for members in strata.values():
        order = chosen(members.values(), seed, "part")
        test, validation = (round(share * len(order)) for share in shares)
        names = ["test"] * test + ["validation"] * validation + ["train"] * (len(order) - test - validation)
        parts |= {e.code_points: name for e, name in zip(order, names)}
    return parts


def classed(emoji, pictures, part=lambda e: None):
    """A folder a subgroup, below one a part where the emoji has any."""
    return {"/".join(filter(None, (part(e), e.subgroup, f"{code(e.code_points)}.png"))): pictures[e.code_points] for e in emoji}


def class_sets(emoji, noto, gemojione, arguments):
    """({folder: {file: bytes}}, {subgroup: its things that both hands drew})."""
    drawn = {noto[e.code_points]: e for e in reversed(emoji) if e.code_points in noto and e.group != "Flags"}  # the first of equal pictures
    drawn = [e for e in emoji if drawn.get(noto.get(e.code_points)) is e]
    parts = part_of(drawn, gemojione, arguments.seed, arguments.shares)
    first, both = {}, {}  # {thing: the first emoji of it}, of all and of those drawn in both hands
    for e in drawn:
        first.setdefault(thing(e), e)
        if e.code_points in gemojione and not has_tone(e):
            both.setdefault(thing(e), e)
    sizes = collections.Counter(e.subgroup for e in both.values())
    classes = {name: count for name, count in sorted(sizes.items()) if count >= arguments.per_class}

    shown = [e for e in drawn if parts[thing(e)] == "train" or first[thing(e)] is e]
    files = {"classes-all": classed(shown, noto, lambda e: parts[thing(e)]),
             "classes-noto": classed([e for e in shown if e.subgroup in classes], noto, lambda e: parts[thing(e)])}
    few = set()
    for name in classes:
        known = [e for e in both.values() if e.subgroup == name and parts[thing(e)] == "train"]
        few |= {e.code_points for e in chosen(known, arguments.seed, "few")[:arguments.few]}

    def other_part(e):
        part = parts[thing(e)]
        return "train" if e.code_points in few else "test" if part == "train" else part

    other = [e for e in both.values() if e.subgroup in classes]
    files["classes-gemojione"] = classed(other, gemojione, other_part)
    tested = [e for e in other if other_part(e) == "test"]
    for name, part in (("known", "train"), ("new", "test")):
        files[f"classes-gemojione-{name}"] = classed([e for e in tested if parts[thing(e)] == part], gemojione)
    return files, classes


def build(arguments):
    """({folder: {file: bytes}}, {folder: emoji})."""
    emoji = read_emoji(arguments.root)
    font = ColorFont(read(arguments.root, FONT))
    noto = {e.code_points: font.png(e.code_points) for e in emoji}
    noto = {points: png for points, png in noto.items() if png}
    drawn = read_gemojione(arguments.gemojione)
    gemojione = {e.code_points: drawn[key] for e in emoji if (key := bare(e.code_points, JOINERS)) in drawn}
    beginnings = read_held_out(arguments.held_out)

    def held_out(e):
        plain = bare(e.code_points, (0xFE0F, *TONES))
        return any(plain[:len(begin)] == begin for begin in beginnings)

    plain = [e for e in emoji if e.code_points in noto and not has_tone(e)]
    base = [e for e in plain if not held_out(e)]
    both = [e for e in base if e.code_points in gemojione and e.group != "Flags"]
    order = chosen(both, arguments.seed, "style")
    needed = sum(arguments.style)
    if len(order) < needed:
        stop(f"expected {needed} emoji drawn in both hands, got {len(order)}")
    style = order[:arguments.style[0]], order[arguments.style[0]:needed]
    in_classes, classes = class_sets(emoji, noto, gemojione, arguments)

    sets = {"noto": ([e for e in emoji if e.code_points in noto], noto),
            "gemojione": ([e for e in emoji if e.code_points in gemojione], gemojione), "noto-base": (base, noto),
            "noto-halloween": ([e for e in plain if held_out(e)], noto),
            "style-train": (style[0], gemojione), "style-test": (style[1], gemojione)}
    files = {name: captioned(members, pictures) for name, (members, pictures) in sets.items()}
    counts = {name: len(members) for name, (members, _) in sets.items()} | {"classes": len(classes)}
    for name, members in in_classes.items():
        tops = [file.split("/")[0] for file in members]
        counts |= {f"{name} {part}": tops.count(part) for part in PARTS if part in tops} or {name: len(members)}
    files |= in_classes
    missing = {"noto": [code(e.code_points) for e in emoji if e.code_points not in noto],
               "gemojione": sum(e.code_points not in gemojione for e in emoji)}
    return files, counts, missing, classes


def verify(files):
    """The promises of this file's first lines, whatever the code above did."""
    def names(folder):
        return {name for name in files[folder] if name.endswith(".png")}

    assert names("noto-halloween") and not names("noto-halloween") & names("noto-base")
    assert not names("style-train") & names("style-test")
    for folder in ("style-train", "style-test"):
        assert names(folder) <= names("noto-base") and names(folder) <= names("gemojione"), folder
    parts = {}
    for folder in ("classes-all", "classes-noto"):
        for name in files[folder]:
            part, subgroup, picture = name.split("/")
            key = thing(Emoji(tuple(int(point, 16) for point in picture[:-4].split("-")), "", [], "", subgroup))
            assert parts.setdefault(key, part) == part, f"{folder}/{name} is in two parts"
    for folder in ("classes-all", "classes-noto", "classes-gemojione"):
        pictures = collections.Counter(files[folder].values())
        assert max(pictures.values()) == 1, f"equal pictures in {folder}"
    known, new = (names(f"classes-gemojione-{name}") for name in ("known", "new"))
    tested = {name.removeprefix("test/") for name in names("classes-gemojione") if name.startswith("test/")}
    assert not known & new and known | new == tested
    assert {name.split("/")[1] for name in names("classes-gemojione")} == {name.split("/")[1] for name in names("classes-noto")}
    for folder in files.values():
        for name, data in folder.items():
            assert not name.endswith(".png") or data.startswith(b"\x89PNG"), name


def on_disk(out):
    """{folder: {file: bytes}} as an earlier run left it."""
    found = collections.defaultdict(dict)
    for path in sorted(out.rglob("*")):
        if path.is_file() and path.parent != out:
            folder, name = path.relative_to(out).as_posix().split("/", 1)
            found[folder][name] = path.read_bytes()
    return found


def write(out, files, about):
    """All folders or none: a new tree beside the old one takes its place. An equal one is left alone."""
    record = out / "about.json"
    if record.is_file() and json.loads(record.read_text()) == about and digest(on_disk(out)) == about["sha256"]:
        return "unchanged"
    if out.exists() and not record.is_file() and any(out.iterdir()):
        stop(f"{out} holds other files", "\n  hint: name a new folder with --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        for folder, members in files.items():
            for name, data in members.items():
                path = fresh / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        (fresh / "about.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n")
        fresh.chmod(0o755)
        if out.exists():
            old = fresh.with_name(fresh.name + "-old")
            out.rename(old)
            shutil.rmtree(old)
        fresh.rename(out)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return "written"


def digest(files):
    total = hashlib.sha256()
    for folder in sorted(files):
        for name in sorted(files[folder]):
            data = files[folder][name]
            total.update(f"{folder}/{name} {len(data)}\n".encode() + data)
    return total.hexdigest()


def main():
    here = Path(__file__).resolve()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where the packages are installed (default /)")
    parser.add_argument("--gemojione", type=Path, default=here.parents[2] / "build/data/ruby-gemojione",
                        help="the unpacked package ruby-gemojione (default build/data/ruby-gemojione)")
    parser.add_argument("--held-out", type=Path, default=here.with_name("halloween.txt"), help="list of emoji kept from the base")
    parser.add_argument("--seed", type=int, default=42, help="which emoji are style-train and style-test (default 42)")
    parser.add_argument("--style", type=int, nargs=2, default=(40, 200), metavar=("TRAIN", "TEST"), help="default 40 200")
    parser.add_argument("--per-class", type=int, default=12, help="least things of a class, drawn in both hands (default 12)")
    parser.add_argument("--few", type=int, default=5, help="training pictures a class in the other hand (default 5)")
    parser.add_argument("--shares", type=float, nargs=2, default=(0.2, 0.1), metavar=("TEST", "VALIDATION"), help="default 0.2 0.1")
    arguments = parser.parse_args()

    files, counts, missing, classes = build(arguments)
    verify(files)
    about = {"sha256": digest(files), "seed": arguments.seed, "counts": counts, "classes": classes,
             "not_in_noto": missing["noto"], "not_in_gemojione": missing["gemojione"],
             "sources": {"noto": "fonts-noto-color-emoji: SIL Open Font License 1.1",
                         "gemojione": "ruby-gemojione: CC-BY-SA-4.0", "names": "unicode-cldr-core, unicode-data: Unicode licence"}}
    state = write(arguments.out, files, about)
    for name, count in counts.items():
        print(f"  {count:6} {name}")
    print("classes: " + ", ".join(f"{name} {count}" for name, count in classes.items()))
    print(f"not drawn in noto: {len(missing['noto'])}, in gemojione: {missing['gemojione']} (newer emoji and skin tones)")
    print(f"{arguments.out} ({state})\nsha256 {about['sha256']}")


if __name__ == "__main__":
    main()
