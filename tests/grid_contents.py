"""Hand-made results of a grid."""

from rsr_tf.evaluation import Score

SCORES = {name: Score((0.5, 0.6), 100).as_dict() for name in ("clean", "fgsm", "pgd")}
BELOW = {"gamma": [1e-4, 1e-2, 1e-1], "share": [0.1, 0.4, 0.9]}


def value(mean, low, high, **reference):
    return {"mean": mean, "interval": [low, high], "runs": [mean], **reference}


def row(cell, network, **values):
    return {
        **{"cell": cell, "labels": {"scheme": cell.upper()}, "note": f"About {cell}.", "network": network},
        **{"seeds": [0, 1], "num_images": 100, "scheme": "RSR", "source": ""},
        **{"values": values, "failed_checks": []},
    }


def grid_content(**others):
    far = value(0.4, 0.35, 0.45, reference=0.48, difference=-0.08, within=False)
    near = value(0.84, 0.8, 0.88, reference=0.85, difference=-0.01, within=True)
    return {
        **{"title": "Table <1>", "note": "", "axes": ["scheme"], "seeds": [0, 1], "configs": {"rsr": {"seed": 0}}},
        **{"columns": ["clean", "pgd", "sparsity", "parameters"], "suite": {"name": "", "num_images": None}},
        "attack": {"epsilon": 8 / 255, "steps": 7, "num_images": 100},
        "rows": [
            row("rsr", "trained", clean=near, pgd=far, sparsity=value(0.0, 0.0, 0.0)),
            row(
                "rsr", "pruned", clean=near, sparsity=value(0.6, 0.6, 0.6), parameters=value(11000.4, 11000.4, 11000.4)
            ),
        ],
        **{"missing": [], "failures": {}, "curves": {}, "weights": {}, "transfer": {}, "zoo": {}},
    } | others


def figures():
    """The part of the content that Fig. 1 and 2 show, for `grid_content`."""
    points = [
        {"sparsity": share, "scores": {"noise_off": SCORES}, "target": "sparsity", "value": share} for share in (0, 0.9)
    ]
    lambdas = [
        {"lambda": value, "networks": {"pruned": {"sparsity": 0.5, "scores": {"noise_off": SCORES}}}}
        for value in (0.0, 1e-4)
    ]
    weights = {
        name: {
            "labels": {"scheme": name.upper()},
            "share_below": BELOW,
            "histogram": {"edges": [-1.0, 0.0, 1.0], "counts": [3, 4]},
        }
        for name in ("pgd", "rsr")
    }
    curves = {"rsr": {"labels": {"scheme": "RSR"}, "points": points, "lambdas": lambdas}}
    return {"curves": curves, "weights": weights}
