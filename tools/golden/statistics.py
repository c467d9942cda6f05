#!/usr/bin/env python3
"""Goldens of the study statistics from scipy and statsmodels: python tools/golden/statistics.py [--out tests/golden]

two_way: mean squares from statsmodels' OLS on factors seed and item; interval and p of the sum of two
Student variables by scipy's quadrature and root finder. mean: scipy's one-sample t. holm: statsmodels' multipletests.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import scipy
import scipy.integrate
import scipy.optimize
import scipy.stats
import statsmodels
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests


def two_way(values):
    seeds, items = values.shape
    frame = {"y": values.ravel(), "seed": np.repeat(np.arange(seeds), items), "item": np.tile(np.arange(items), seeds)}
    squares = anova_lm(ols("y ~ C(seed) + C(item)", data=frame).fit())["mean_sq"]
    a, b, e = squares["C(seed)"], squares["C(item)"], squares["Residual"]
    seed_error, item_error = np.sqrt(a / (seeds * items)), np.sqrt(max(b - e, 0) / (seeds * items))

    def above(x):  # P(seed_error t(S-1) + item_error t(N-1) > x)
        seed, item = scipy.stats.t(seeds - 1, scale=seed_error), scipy.stats.t(items - 1, scale=item_error)
        if item_error == 0:
            return seed.sf(x)
        return scipy.integrate.quad(lambda t: seed.pdf(t) * item.sf(x - t), -np.inf, np.inf, epsabs=1e-12, epsrel=1e-10, limit=2000)[0]

    def interval(level):
        half = scipy.optimize.brentq(lambda x: above(x) - (1 - level) / 2, 0, 200 * (seed_error + item_error))
        return [values.mean() - half, values.mean() + half]

    return {"values": values.tolist(), "ms_seed": a, "ms_item": b, "ms_residual": e, "mean": values.mean(),
            "seed_error": seed_error, "item_error": item_error, "interval": interval(0.95),
            "interval_99": interval(0.99), "p": 2 * above(abs(values.mean()))}


def mean(values):
    test = scipy.stats.ttest_1samp(values, 0)
    return {"values": values.tolist(), "mean": values.mean(), "p": test.pvalue, "interval": list(test.confidence_interval(0.95))}


def cases():
    random = np.random.default_rng(20260101)
    for seeds, items in [(3, 40), (5, 12), (2, 30)]:
        yield "two_way", two_way(random.choice([-1.0, 0.0, 1.0], p=[0.1, 0.7, 0.2], size=(seeds, items)))
    yield "two_way", two_way(0.4 + random.normal(size=(4, 1)) + random.normal(size=(1, 15)) + random.normal(size=(4, 15)))
    yield "two_way", two_way(random.normal(size=(6, 1)) * 0.1 + np.ones((1, 8)) + random.normal(size=(6, 8)))
    for count in (2, 3, 10):
        yield "mean", mean(random.normal(0.8, 0.1, size=count))
    for count in (1, 4, 10):
        p = random.uniform(size=count) ** 3
        yield "holm", {"p": p.tolist(), "adjusted": multipletests(p, method="holm")[1].tolist()}
    yield "holm", {"p": [0.01, 0.01, 0.5, 0.012], "adjusted": multipletests([0.01, 0.01, 0.5, 0.012], method="holm")[1].tolist()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "tests/golden")
    out = parser.parse_args().out
    result = {"made_by": "tools/golden/statistics.py", "numpy": np.__version__, "scipy": scipy.__version__,
              "statsmodels": statsmodels.__version__, "two_way": [], "mean": [], "holm": []}
    for kind, case in cases():
        result[kind].append(case)
    out.mkdir(parents=True, exist_ok=True)
    (out / "statistics.json").write_text(json.dumps(result, separators=(",", ":")) + "\n")
    print(f"wrote {out / 'statistics.json'}")


if __name__ == "__main__":
    main()
