"""The tables of unet.py as Markdown."""
import numpy

from report import STEP_TARGETS, TITLES, interval, table, verdict

TARGETS = {"lora attention": 1.4, "dora attention": 1.4, "lokr attention": 1.8, "lora wide": 1.4, "dora wide": 3.5, "lokr wide": 8.0}
MEMORY_TARGET, SAMPLING_TARGET = 0.75, 1.2
GROUPS = {"attention": "attention, rank 16", "wide": "attention, feed-forward and 3×3 convolutions, rank 8"}
PARTS = ["convolutions", "frozen products", "adapter products", "attention", "norms and activations", "optimiser", "other"]


def title(name):
    method, rest = name.split(" ", 1)
    return TITLES[method] + (" against LyCORIS" if "LyCORIS" in rest else "")


def parity_line(result):
    own = f"; the peer's own {result['peer']['whole']:.1e}" if "peer" in result else ""
    return f"gradients within {result['whole']:.1e} (worst {result['gradient_of']}: {result['gradient']:.1e}), loss {result['loss']:.1e}{own}"


def row_line(row):
    part = row["fastest"]
    return f"{numpy.median(part['ours']):.2f} s against {numpy.median(part['peer']):.2f} s ({row['way']}): {interval(part['ratio'])}"


def speeds(rows):
    lines = []
    for name, row in rows.items():
        fastest, shipped = row["fastest"], row.get("shipped")
        limit = TARGETS.get(name)
        lines.append([title(name), f"{numpy.median(fastest['ours']):.3f}", f"{numpy.median(fastest['peer']):.3f}", row["way"],
                      interval(fastest["ratio"]), verdict(fastest["ratio"][0], limit, True) if limit else "–",
                      f"{numpy.median(shipped['peer']):.2f}, {interval(shipped['ratio'])}" if shipped else "–",
                      *(f"{size / 2**30:.2f}" for size in fastest["peak_bytes"]),
                      f"{fastest['memory']:.2f}, {verdict(fastest['memory'], MEMORY_TARGET, False)}"])
    return table(["method", "ours s", "peer's fastest s", "its setting", "ratio", "wanted", "as shipped s, ratio", "our peak GiB", "peer's",
                  "ratio"], lines)


def sampling_line(row):
    return (f"{numpy.median(row['ours']):.2f} s against {numpy.median(row['peer']):.2f} s ({row['way']}): {interval(row['ratio'])}, "
            f"{verdict(row['ratio'][0], SAMPLING_TARGET, True)}; peak {row['peak_bytes'][0] / 2**30:.2f} GiB against "
            f"{row['peak_bytes'][1] / 2**30:.2f}; latents of two steps in float32 within {row['float32']:.1e}")


def own(ratios):
    parts = [f"{TITLES[method]} {interval(value)}, {verdict(value[0], STEP_TARGETS[method], False)}"
             for method, value in ((name.split()[0], value) for name, value in ratios.items()) if method in STEP_TARGETS]
    return "Our step over our LoRA's: " + "; ".join(parts) + ".\n"


def parities(result):
    lines = []
    for name, parity in result["parity"].items():
        peer = parity.get("peer")
        lines.append([name, parity["tensors"], f"{parity['loss']:.1e}", f"{parity['gradient']:.1e}", f"{parity['whole']:.1e}",
                      f"{peer['whole']:.1e}, loss {peer['loss']:.1e}" if peer else "–", "yes" if parity["passed"] else "NO"])
    return table(["run", "tensors", "loss", "worst gradient", "all gradients", "the peer's own", "passed"], lines)


def profiles(result):
    lines, text = [], ""
    for name, profile in result["profile"].items():
        shares = [profile["groups"].get(part, {"seconds": 0})["seconds"] / profile["seconds"] for part in PARTS]
        lines.append([name, f"{1000 * profile['seconds'] / profile['steps']:.0f}", *(f"{100 * share:.0f} %" for share in shares),
                      f"{100 * (1 - sum(shares)):.0f} %"])
        largest = sorted(profile["operators"].items(), key=lambda item: -item[1]["seconds"])[:12]
        text += f"\n{name}: " + ", ".join(f"{operator.removeprefix('aten::')} {100 * sums['seconds'] / profile['seconds']:.1f} %"
                                          f" ({sums['calls'] // profile['steps']})" for operator, sums in largest) + "\n"
    return table(["run", "ms a step", *PARTS, "outside operators"], lines) + text


def markdown(result):
    text = f"# Image training steps against diffusers: {result.get('machine', '')}, {result['date']}\n\n"
    if result["quick"]:
        text += "A quick look: three turns a row.\n\n"
    on_cpu = result.get("device", "cpu") == "cpu"
    unet = "SD1.5's full-size UNet (860 M random weights)" if result["model"] == "sd15" else f"The UNet of {result['model']}"
    text += (f"{unet}, latents {result['side']}×{result['side']}, batch {result['batch']}, LoKr factor 8, "
             "gradient clipping, AdamW. Ratios are medians of neighbouring steps' ratios with 95 % bootstrap intervals; peaks are of "
             f"{'the whole process' if on_cpu else 'what the allocator gave out on the GPU'}.\n\n")
    for dtype in ("float32", "bfloat16"):
        for group, words in GROUPS.items():
            rows = {name.removesuffix(" " + dtype): row for name, row in result["rows"].items()
                    if name.endswith(dtype) and name.split()[1].rstrip(",") == group}
            if rows:
                text += f"## {words[0].upper()}{words[1:]}, {dtype}\n\n{speeds(rows)}\n"
            if f"{group} {dtype}" in result["own"]:
                text += own(result["own"][f"{group} {dtype}"]) + "\n"
    for dtype, row in result["sampling"].items():
        text += f"## Sampling, {row['steps']} guided DDIM steps, {dtype}\n\n{sampling_line(row)}.\n\n"
    if result["parity"]:
        sides = {parity.get("side", result["side"]) for parity in result["parity"].values()}
        of_side = "" if sides == {result["side"]} else f"; on latents of {max(sides)}×{max(sides)}, where a program was checked first"
        text += ("## Parity of step 1\n\nRelative distances from the peer's float32; for bfloat16 beside the distance of the peer's own"
                 f"{of_side}.\n\n"
                 f"{parities(result)}\n")
    if not result["profile"]:
        return text
    return text + f"## Where our step goes\n\nThe largest operators with their calls a step.\n\n{profiles(result)}"
